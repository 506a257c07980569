//! Products on a device (`kernels/gemm.cu`): the arms of `kernels/{matmul,linear,feed_forward}.rs`.

use super::{Cuda, Function1, Function2, args};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Rows and columns of C that one block makes.
const TILE: usize = 64;

/// A matrix in memory, or a batch of them: its size, how far its rows and its columns lie apart, and its batch.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    of: &'a Tensor,
    batch: usize,
    rows: usize,
    columns: usize,
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// The last two dimensions of a tensor of rank 2 or 3.
    pub(crate) fn new(of: &'a Tensor, transposed: bool) -> Matrix<'a> {
        let shape = of.shape();
        let (rows, columns) = (shape.dim(shape.rank() - 2), shape.last());
        let batch = if shape.rank() == 3 { shape.dim(0) } else { 1 };
        let lies = Matrix { of, batch, rows, columns, strides: [columns, 1] };
        if transposed { lies.t() } else { lies }
    }
    /// All leading dimensions as rows.
    pub(crate) fn by_rows(of: &'a Tensor) -> Matrix<'a> {
        let (rows, columns) = (of.shape().rows(), of.shape().last());
        Matrix { of, batch: 1, rows, columns, strides: [columns, 1] }
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
}

/// What follows a product; in the order of `kernels/gemm.cu`.
enum Then<'a> {
    Nothing,
    Bias(&'a Tensor),
    Bent(&'a Tensor, Function1),
    Both(&'a Tensor, Function1),
    Back(&'a Tensor, Function1, Function2),
}

/// C of a layer, in the numbers that the device was asked for, and the second output where there is one.
fn layer(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>, to: Shape, then: Then<'_>) -> (Tensor, Option<Tensor>) {
    run(cuda, if cuda.is_bf16() { "gemm_bf16" } else { "gemm" }, [a, b], to, then)
}

fn run(
    cuda: &Cuda,
    kernel: &str,
    [a, b]: [Matrix<'_>; 2],
    to: Shape,
    then: Then<'_>,
) -> (Tensor, Option<Tensor>) {
    assert!(a.columns == b.rows && a.batch == b.batch, "a product of matrices that do not fit");
    let (m, n, k, c) = (a.rows, b.columns, a.columns, cuda.floats(to));
    let (code, phi, slope, bias, u) = match then {
        Then::Nothing => (0u32, 0, 0, None, None),
        Then::Bias(bias) => (1, 0, 0, Some(bias), None),
        Then::Bent(bias, phi) => (2, phi.code().0, 0, Some(bias), None),
        Then::Both(bias, phi) => (3, phi.code().0, 0, Some(bias), None),
        Then::Back(u, phi, slope) => (4, phi.code().0, slope as u32, None, Some(u)),
    };
    let other = (code >= 3).then(|| cuda.floats(to));
    let (bias, u) = (bias.map(|x| cuda.here(x)), u.map(|x| cuda.here(x)));
    let (x, y) = (cuda.here(a.of), cuda.here(b.of));
    let ([a_down, a_right], [b_down, b_right]) = (a.strides, b.strides);
    let grid = [m.div_ceil(TILE), n.div_ceil(TILE), a.batch];
    cuda.launch(
        kernel,
        grid,
        256,
        args![
            c,
            other,
            x,
            y,
            bias,
            u,
            m,
            n,
            k,
            a_down,
            a_right,
            b_down,
            b_right,
            m * k,
            k * n,
            code,
            phi,
            slope
        ],
    );
    (c, other)
}

/// A·B in f32.
pub(crate) fn product(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>, to: Shape) -> Tensor {
    run(cuda, "gemm", [a, b], to, Then::Nothing).0
}

/// A·B as a layer multiplies.
pub(crate) fn product_of_layer(cuda: &Cuda, a: Matrix<'_>, b: Matrix<'_>, to: Shape) -> Tensor {
    layer(cuda, a, b, to, Then::Nothing).0
}

/// x Wᵀ + b.
pub(crate) fn linear(cuda: &Cuda, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
    let to = x.shape().with_last(w.shape().rows());
    let then = b.map_or(Then::Nothing, Then::Bias);
    layer(cuda, Matrix::by_rows(x), Matrix::by_rows(w).t(), to, then).0
}

/// φ(x Wᵀ + b).
pub(crate) fn bent(cuda: &Cuda, x: &Tensor, w: &Tensor, b: &Tensor, phi: Function1) -> Tensor {
    let to = x.shape().with_last(w.shape().rows());
    layer(cuda, Matrix::by_rows(x), Matrix::by_rows(w).t(), to, Then::Bent(b, phi)).0
}

/// u = x Wᵀ + b and φ(u).
pub(crate) fn both(cuda: &Cuda, x: &Tensor, w: &Tensor, b: &Tensor, phi: Function1) -> [Tensor; 2] {
    let to = x.shape().with_last(w.shape().rows());
    let (u, y) = layer(cuda, Matrix::by_rows(x), Matrix::by_rows(w).t(), to, Then::Both(b, phi));
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
    let (du, inner) = layer(cuda, Matrix::by_rows(grad), Matrix::by_rows(w), u.shape(), then);
    [du, inner.expect("there are two outputs")]
}
