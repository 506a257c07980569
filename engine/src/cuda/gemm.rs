//! Products on a device, by `kernels/{gemm,staged}.cu` or by cuBLAS: the arms of
//! `kernels/{matmul,linear,feed_forward}.rs`.

use super::cublas::{Factors, Operand};
use super::launch::{Arg, ToArg};
use super::{Block, Cuda, Function1, Function2, args};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Rows and columns of C that one block makes.
const TILE: usize = 64;
/// The same of larger tiles, which are taken where every multiprocessor has one at least. All add up in the same order.
const LARGE: usize = 128;
/// Numbers of bf16 at whose multiples lines begin for `staged.cu`: 16 bytes.
const LINE: usize = 8;

/// A matrix in memory, or a batch of them: its size, how far its rows and its columns lie apart, and its batch.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    of: &'a Tensor,
    batch: usize,
    rows: usize,
    columns: usize,
    strides: [usize; 2],
    /// Whether it is used in many products before it is written: what is rounded of it is kept until then.
    is_weight: bool,
}

impl<'a> Matrix<'a> {
    /// The last two dimensions of a tensor of rank 2 or 3.
    pub(crate) fn new(of: &'a Tensor, transposed: bool) -> Matrix<'a> {
        let shape = of.shape();
        let (rows, columns) = (shape.dim(shape.rank() - 2), shape.last());
        let batch = if shape.rank() == 3 { shape.dim(0) } else { 1 };
        let lies = Matrix { of, batch, rows, columns, strides: [columns, 1], is_weight: false };
        if transposed { lies.t() } else { lies }
    }
    /// All leading dimensions as rows.
    pub(crate) fn by_rows(of: &'a Tensor) -> Matrix<'a> {
        let (rows, columns) = (of.shape().rows(), of.shape().last());
        Matrix { of, batch: 1, rows, columns, strides: [columns, 1], is_weight: false }
    }
    /// The weight of a layer.
    pub(crate) fn weight(of: &'a Tensor) -> Matrix<'a> {
        Matrix { is_weight: true, ..Matrix::by_rows(of) }
    }
    pub(crate) fn as_weight(self, is_weight: bool) -> Matrix<'a> {
        Matrix { is_weight, ..self }
    }
    pub(crate) fn rows(self) -> usize {
        self.rows
    }
    pub(crate) fn columns(self) -> usize {
        self.columns
    }
    pub(crate) fn t(self) -> Matrix<'a> {
        let [down, right] = self.strides;
        Matrix { rows: self.columns, columns: self.rows, strides: [right, down], ..self }
    }
    /// Its transpose as a factor of cuBLAS, which reads by columns, at this address. The library wants columns to lie
    /// apart by their length at least, even where there is one.
    fn operand(self, at: u64) -> Operand {
        let ([down, right], stride) = (self.strides, self.rows * self.columns);
        let (transposed, apart) = if right == 1 { (false, down.max(self.columns)) } else { (true, right) };
        Operand { at, transposed, apart, stride }
    }
}

/// What follows a product; in the order of `kernels/finish.cuh`. Where a layer multiplies in bf16, what is bent is made
/// in bf16: it lies between two products and is read by them alone, and by sums.
enum Then<'a> {
    Nothing,
    Bias(&'a Tensor),
    Bent(&'a Tensor, Function1),
    Both(&'a Tensor, Function1),
    Back(&'a Tensor, Function1, Function2),
}

/// C of a layer, in the numbers that the device was asked for, and the second output where there is one.
fn layer(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>, to: Shape, then: Then<'_>) -> (Tensor, Option<Tensor>) {
    run(cuda, if cuda.is_bf16() { Factors::Bf16 } else { Factors::F32 }, [a, b], to, then)
}

fn run(
    cuda: &Cuda,
    factors: Factors,
    [a, b]: [Matrix<'_>; 2],
    to: Shape,
    then: Then<'_>,
) -> (Tensor, Option<Tensor>) {
    assert!(a.columns == b.rows && a.batch == b.batch, "a product of matrices that do not fit");
    let here = |of: &Tensor| cuda.here(of);
    let [x, y] = [here(a.of), here(b.of)];
    let are_rounded = [&x, &y].iter().any(|factor| factor.address_of_bf16().is_some());
    let factors = if are_rounded { Factors::Bf16 } else { factors };
    let (code, phi, slope, bias, u) = match then {
        Then::Nothing => (0u32, 0, 0, None, None),
        Then::Bias(bias) => (1, 0, 0, Some(bias), None),
        Then::Bent(bias, phi) => (2, phi.code().0, 0, Some(bias), None),
        Then::Both(bias, phi) => (3, phi.code().0, 0, Some(bias), None),
        Then::Back(u, phi, slope) => (4, phi.code().0, slope as u32, None, Some(u)),
    };
    let is_narrow = factors == Factors::Bf16 && code >= 2;
    assert!(u.is_none_or(|u| u.address_of_bf16().is_some() == is_narrow), "u is as its product made it");
    let output = || match is_narrow {
        true => Either(cuda.bf16_of(to, cuda.block(2 * to.len()))),
        false => Either(cuda.floats(to)),
    };
    let product = Product {
        cuda,
        factors: [(a, x), (b, y)],
        c: output(),
        other: (code >= 3).then(output),
        bias: bias.map(here),
        before: u.map(|u| Either(here(u))),
        ending: [u32::from(is_narrow), code, phi, slope],
    };
    match factors {
        // A matrix without numbers, and a sum of none, are our own's.
        _ if cuda.cublas().is_some() && to.len() * a.columns > 0 => product.by_cublas(factors),
        Factors::F32 => product.by_tiles(factors),
        Factors::Bf16 => match Staged::of(cuda, a, b) {
            Some(staged) => product.by_staged(&staged),
            None => product.by_tiles(factors),
        },
    }
    (product.c.0, product.other.map(|other| other.0))
}

/// A product that is to be made, and what follows it.
struct Product<'a> {
    cuda: &'a Cuda,
    /// Each with its numbers on the device.
    factors: [(Matrix<'a>, Tensor); 2],
    c: Either,
    other: Option<Either>,
    bias: Option<Tensor>,
    /// u.
    before: Option<Either>,
    /// `narrow`, `epilogue`, `phi` and `slope` of `kernels/finish.cuh`.
    ending: [u32; 4],
}

impl Product<'_> {
    /// Rows and columns of C, and terms of a number.
    fn size(&self) -> [usize; 3] {
        let [(a, _), (b, _)] = &self.factors;
        [a.rows, b.columns, a.columns]
    }
    fn by_cublas(&self, factors: Factors) {
        let (Product { cuda, c, other, bias, before, ending, .. }, [_, n, _]) = (self, self.size());
        let ([narrow, code, phi, slope], to) = (*ending, c.0.shape());
        // The library gives f32.
        let product = if narrow == 1 { cuda.floats(to) } else { c.0.clone() };
        let [(a, x), (b, y)] = &self.factors;
        by_cublas(cuda, factors, [(*a, x), (*b, y)], &product);
        if code > 0 {
            let args = args![c, other, product, bias, before, to.len(), n, narrow, code, phi, slope];
            cuda.each("after_product", to.len(), args);
        }
    }
    fn by_staged(&self, staged: &Staged) {
        let (Product { cuda, c, other, bias, before, ending, .. }, [m, n, k]) = (self, self.size());
        let [narrow, code, phi, slope] = *ending;
        let [(a, x), (b, y)] = &self.factors;
        let (x, y, [a_apart, b_apart]) = (InBf16::new(cuda, *a, x), InBf16::new(cuda, *b, y), staged.apart);
        assert!(
            (x.at | y.at).is_multiple_of(16),
            "a factor begins inside of 16 bytes, which are copied at once"
        );
        let grid = [m.div_ceil(staged.wide), n.div_ceil(staged.wide), a.batch];
        #[rustfmt::skip]
        let args = args![
            c, other, x, y, bias, before, m, n, k, a_apart, b_apart, m * k, k * n, narrow, code, phi, slope,
        ];
        cuda.launch(staged.kernel, grid, 2 * staged.wide as u32, args);
    }
    fn by_tiles(&self, factors: Factors) {
        let (Product { cuda, c, other, bias, before, ending, .. }, [m, n, k]) = (self, self.size());
        let [narrow, code, phi, slope] = *ending;
        // These read f32 and round on their way.
        let [x, y] = self.factors.each_ref().map(|(_, of)| match of.address_of_bf16() {
            Some(_) => widened(cuda, of),
            None => of.clone(),
        });
        let [a, b] = self.factors.each_ref().map(|(matrix, _)| *matrix);
        let (kernel, tile) = match factors {
            Factors::Bf16 => ("gemm_bf16", TILE),
            Factors::F32 if is_large(cuda, [m, n], a.batch) => ("gemm_large", LARGE),
            Factors::F32 => ("gemm", TILE),
        };
        let ([a_down, a_right], [b_down, b_right]) = (a.strides, b.strides);
        #[rustfmt::skip]
        let args = args![
            c, other, x, y, bias, before, m, n, k, a_down, a_right, b_down, b_right, m * k, k * n, narrow, code,
            phi, slope,
        ];
        cuda.launch(kernel, [m.div_ceil(tile), n.div_ceil(tile), a.batch], 256, args);
    }
}

/// Whether C is large enough for large tiles.
fn is_large(cuda: &Cuda, [m, n]: [usize; 2], batch: usize) -> bool {
    m.div_ceil(LARGE) * n.div_ceil(LARGE) * batch >= cuda.found().multiprocessors
}

/// A kernel of `staged.cu`.
struct Staged {
    kernel: &'static str,
    /// Rows and columns of C that one block makes.
    wide: usize,
    /// How far the lines of A and of B lie apart.
    apart: [usize; 2],
}

impl Staged {
    /// The one for these factors; none where a line does not begin at a multiple of 16 bytes, or nobody multiplies
    /// matrices that lie so.
    fn of(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>) -> Option<Staged> {
        let b = b.t();
        let across = [a, b].map(|factor| factor.strides[1] != 1);
        let apart = [a, b].map(|factor| factor.strides[0].max(factor.strides[1]));
        // Matrices of a batch follow each other: they begin where lines do.
        if a.batch * a.rows * b.rows * a.columns == 0 || apart.iter().any(|lines| !lines.is_multiple_of(LINE))
        {
            return None;
        }
        let is_large = is_large(cuda, [a.rows, b.rows], a.batch);
        let kernel = match (across, is_large) {
            ([false, false], true) => "staged_along_128",
            ([false, true], true) => "staged_mixed_128",
            ([true, true], true) => "staged_across_128",
            ([false, false], false) => "staged_along_64",
            ([false, true], false) => "staged_mixed_64",
            ([true, true], false) => "staged_across_64",
            // No layer has such a product.
            ([true, false], _) => return None,
        };
        Some(Staged { kernel, wide: if is_large { LARGE } else { TILE }, apart })
    }
}

/// C = A·B by cuBLAS. What lies row by row is, read column by column, transposed: Cᵀ = Bᵀ·Aᵀ is asked for.
fn by_cublas(cuda: &Cuda, factors: Factors, [(a, x), (b, y)]: [(Matrix<'_>, &Tensor); 2], c: &Tensor) {
    let device = &*cuda.0;
    let blas = device.blas.as_ref().expect("the caller has asked");
    // The library takes f32 or bf16 as they lie in memory, so what is rounded has a place of its own meanwhile.
    let rounded = |a: Matrix<'_>, x: &Tensor| (factors == Factors::Bf16).then(|| InBf16::new(cuda, a, x));
    let (x16, y16) = (rounded(a, x), rounded(b, y));
    let at = |x: &Tensor, x16: &Option<InBf16>| x16.as_ref().map_or_else(|| x.address(), |x16| x16.at);
    let (left, right) = (b.operand(at(y, &y16)), a.operand(at(x, &x16)));
    let size = [b.columns, a.rows, a.columns];
    blas.multiply(&device.driver, factors, size, [left, right], c.address(), a.batch);
}

/// A tensor of f32 or of bf16, for a kernel that is told which.
struct Either(Tensor);

impl ToArg for Either {
    fn arg(&self) -> Arg {
        self.0.address_of_either().arg()
    }
}

/// A factor's numbers in bf16: its own, or rounded ones, of a weight until it is written, else for as long as the
/// product takes.
struct InBf16 {
    at: u64,
    _rounded: Tensor,
}

impl InBf16 {
    /// Of a matrix whose numbers are these.
    fn new(cuda: &Cuda, matrix: Matrix<'_>, x: &Tensor) -> InBf16 {
        let rounded = match (x.address_of_bf16(), matrix.is_weight) {
            (Some(_), _) => x.clone(),
            (None, true) => x.rounded_once(|| rounded(cuda, x)),
            (None, false) => rounded(cuda, x),
        };
        InBf16 { at: rounded.address_of_bf16().expect("it is rounded"), _rounded: rounded }
    }
}

impl ToArg for InBf16 {
    fn arg(&self) -> Arg {
        self.at.arg()
    }
}

/// A tensor of f32 in bf16.
pub(crate) fn rounded(cuda: &Cuda, x: &Tensor) -> Tensor {
    let pairs = x.len().div_ceil(2);
    let block = cuda.block(4 * pairs);
    cuda.each("to_bf16", pairs, args![block, x, x.len()]);
    cuda.bf16_of(x.shape(), block)
}

/// A tensor of bf16 in f32.
pub(crate) fn widened(cuda: &Cuda, x: &Tensor) -> Tensor {
    let (y, n, at) = (cuda.floats(x.shape()), x.len(), x.address_of_bf16().expect("numbers of bf16"));
    // A table of rows of one number, all of them.
    cuda.each("table_read", n, args![y, at, 1u32, None::<Block>, 0usize, n, 1usize]);
    y
}

/// A·B in f32.
pub(crate) fn product(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>, to: Shape) -> Tensor {
    run(cuda, Factors::F32, [a, b], to, Then::Nothing).0
}

/// A·B as a layer multiplies.
pub(crate) fn product_of_layer(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>, to: Shape) -> Tensor {
    layer(cuda, a, b, to, Then::Nothing).0
}

/// x Wᵀ + b.
pub(crate) fn linear(cuda: &Cuda, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
    let to = x.shape().with_last(w.shape().rows());
    let then = b.map_or(Then::Nothing, Then::Bias);
    layer(cuda, Matrix::by_rows(x), Matrix::weight(w).t(), to, then).0
}

/// φ(x Wᵀ + b).
pub(crate) fn bent(cuda: &Cuda, x: &Tensor, w: &Tensor, b: &Tensor, phi: Function1) -> Tensor {
    let to = x.shape().with_last(w.shape().rows());
    layer(cuda, Matrix::by_rows(x), Matrix::weight(w).t(), to, Then::Bent(b, phi)).0
}

/// u = x Wᵀ + b and φ(u).
pub(crate) fn both(cuda: &Cuda, x: &Tensor, w: &Tensor, b: &Tensor, phi: Function1) -> [Tensor; 2] {
    let to = x.shape().with_last(w.shape().rows());
    let (u, y) = layer(cuda, Matrix::by_rows(x), Matrix::weight(w).t(), to, Then::Both(b, phi));
    [u, y.expect("there are two outputs")]
}

/// ū = (ȳ W) ∘ φ′(u) and φ(u).
pub(crate) fn back(
    cuda: &Cuda,
    grad: &Tensor,
    w: &Tensor,
    u: &Tensor,
    (phi, slope): (Function1, Function2),
) -> [Tensor; 2] {
    let then = Then::Back(u, phi, slope);
    let (du, inner) = layer(cuda, Matrix::by_rows(grad), Matrix::weight(w), u.shape(), then);
    [du, inner.expect("there are two outputs")]
}
