//! Element by element, on a device (`kernels/map.cu`): the arms of `kernels/{map,broadcast,mean,squares}.rs`.

use super::{Cuda, args};
use crate::shape::{RANK_MAX, Shape};
use crate::tensor::Tensor;

/// The functions of one number that devices have. In the order of `kernels/functions.cuh`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function1 {
    /// p x + q.
    Linear(f64, f64),
    /// x / p.
    Over(f64),
    /// eˣ.
    Exp,
    /// ln x.
    Log,
    /// tanh x.
    Tanh,
    /// σ(x).
    Sigmoid,
    /// ln(1 + eˣ).
    Softplus,
    /// max(x, 0).
    Relu,
    /// x Φ(x).
    Gelu,
    /// The same by tanh.
    GeluTanh,
    /// ln(1 + e⁻ˣ).
    SoftplusOfMinus,
    /// −σ(−x).
    MinusSigmoidOfMinus,
}

/// The functions of two numbers that devices have. In the order of `kernels/functions.cuh`. Of those for backward the
/// first number is x or y, the second ȳ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Function2 {
    /// a + b.
    Plus,
    /// a − b.
    Minus,
    /// a b.
    Times,
    /// a / b.
    Quotient,
    /// −a b.
    MinusTimes,
    /// ȳ / x.
    LogBack,
    /// ȳ (1 − y²).
    TanhBack,
    /// ȳ y (1 − y).
    SigmoidBack,
    /// ȳ σ(x).
    SoftplusBack,
    /// ȳ where y > 0, else 0.
    ReluBack,
    /// ȳ (Φ(x) + x φ(x)).
    GeluBack,
    /// The same by tanh.
    GeluTanhBack,
}

impl Function1 {
    /// The number of the function, and its constants.
    pub(crate) fn code(self) -> (u32, f32, f32) {
        let plain = |f| (f, 0.0, 0.0);
        match self {
            Function1::Linear(p, q) => (0, p as f32, q as f32),
            Function1::Over(p) => (1, p as f32, 0.0),
            Function1::Exp => plain(2),
            Function1::Log => plain(3),
            Function1::Tanh => plain(4),
            Function1::Sigmoid => plain(5),
            Function1::Softplus => plain(6),
            Function1::Relu => plain(7),
            Function1::Gelu => plain(8),
            Function1::GeluTanh => plain(9),
            Function1::SoftplusOfMinus => plain(10),
            Function1::MinusSigmoidOfMinus => plain(11),
        }
    }
}

/// y = f(x).
pub(crate) fn map1(cuda: &Cuda, x: &Tensor, f: Function1) -> Tensor {
    let (y, (code, p, q)) = (cuda.floats(x.shape()), f.code());
    cuda.each("map1", x.len(), args![y, x, x.len(), code, p, q]);
    y
}

/// x ← f(x), which nobody shares.
pub(crate) fn map1_in_place(cuda: &Cuda, x: &mut Tensor, f: Function1) {
    let (code, p, q) = f.code();
    cuda.each("map1", x.len(), args![&*x, &*x, x.len(), code, p, q]);
}

/// y = f(a, b), of one shape.
pub(crate) fn map2(cuda: &Cuda, a: &Tensor, b: &Tensor, f: Function2) -> Tensor {
    let (a, b, y) = (cuda.here(a), cuda.here(b), cuda.floats(a.shape()));
    cuda.each("map2", y.len(), args![y, a, b, y.len(), f as u32]);
    y
}

/// a ← a + b; nobody shares `a`.
pub(crate) fn add_to(cuda: &Cuda, a: &mut Tensor, b: &Tensor) {
    let b = cuda.here(b);
    cuda.each("map2", a.len(), args![&*a, &*a, b, a.len(), Function2::Plus as u32]);
}

/// Four dimensions, ones in front.
fn four(shape: Shape) -> [u32; RANK_MAX] {
    let mut dims = [1; RANK_MAX];
    let free = RANK_MAX - shape.rank();
    dims[free..].iter_mut().zip(shape.dims()).for_each(|(d, &n)| *d = n as u32);
    dims
}

/// The strides of a tensor of these dimensions, 0 where a dimension is 1.
fn strides(dims: [u32; RANK_MAX]) -> [u32; RANK_MAX] {
    let (mut strides, mut step) = ([0; RANK_MAX], 1);
    for d in (0..RANK_MAX).rev() {
        strides[d] = if dims[d] == 1 { 0 } else { step };
        step *= dims[d];
    }
    strides
}

/// y = f(a, b), broadcast to the shape `to`.
pub(crate) fn broadcast(cuda: &Cuda, a: &Tensor, b: &Tensor, to: Shape, f: Function2) -> Tensor {
    let (a, b, y) = (cuda.here(a), cuda.here(b), cuda.floats(to));
    let dims = cuda.send(&[four(to), strides(four(a.shape())), strides(four(b.shape()))].concat());
    cuda.each("broadcast", y.len(), args![y, a, b, dims, y.len(), f as u32]);
    y
}

/// Numbers that one block adds, and rows that one thread adds.
const NUMBERS: usize = 16 * 1024;
const ROWS: usize = 128;
/// The most blocks along the second dimension of a grid.
const PARTS: usize = 65_535;

/// The sum of x over the dimensions that `shape` repeats.
pub(crate) fn sum_to(cuda: &Cuda, x: &Tensor, shape: Shape) -> Tensor {
    let (from, to) = (four(x.shape()), four(shape));
    let (y, steps) = (cuda.floats(shape), strides(from));
    let kept: [bool; RANK_MAX] = std::array::from_fn(|d| from[d] == to[d]);
    let repeats: usize = (0..RANK_MAX).filter(|&d| !kept[d]).map(|d| from[d] as usize).product();
    let by_columns = kept[RANK_MAX - 1] && (0..RANK_MAX - 1).all(|d| !kept[d] || from[d] == 1);
    let per = if by_columns { ROWS } else { NUMBERS }.max(repeats.div_ceil(PARTS));
    let parts = repeats.div_ceil(per);
    let partial = cuda.floats([parts, y.len()]);
    if by_columns {
        let grid = [y.len().div_ceil(64), parts, 1];
        let bf16 = u32::from(x.address_of_bf16().is_some());
        cuda.launch(
            "sum_columns",
            grid,
            64,
            args![partial, x.address_of_either(), bf16, repeats, y.len(), per],
        );
    } else {
        let only = |values: [u32; RANK_MAX], keep: bool, other: u32| {
            std::array::from_fn::<u32, RANK_MAX, _>(|d| if kept[d] == keep { values[d] } else { other })
        };
        let dims = [only(from, true, 1), only(steps, true, 0), only(from, false, 1), only(steps, false, 0)];
        let dims = cuda.send(&dims.concat());
        cuda.launch("sum_parts", [y.len(), parts, 1], 128, args![partial, x, dims, repeats, per]);
    }
    cuda.each("sum_total", y.len(), args![y, partial, y.len(), parts]);
    y
}

/// y[i, j] = factor · x[i], `width` numbers for each of x.
pub(crate) fn spread(cuda: &Cuda, x: &Tensor, to: Shape, width: usize, factor: f64) -> Tensor {
    let y = cuda.floats(to);
    cuda.each("spread", y.len(), args![y, x, y.len(), width, factor as f32]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `GELU_TANH` is `GeluTanh`.
    fn names(list: &str) -> Vec<String> {
        let word = |w: &str| w[..1].to_owned() + &w[1..].to_lowercase();
        list.split(',').map(|name| name.trim().split('_').map(word).collect()).collect()
    }

    #[test]
    fn functions_have_the_numbers_that_the_kernels_know() {
        let header = include_str!("kernels/functions.cuh");
        let list = |of: &str| {
            let (_, rest) = header.split_once(of).expect("the header has the list");
            names(rest.split_once('}').expect("it ends").0)
        };
        use Function1 as F;
        let ones =
            [F::Linear(0.0, 0.0), F::Over(1.0), F::Exp, F::Log, F::Tanh, F::Sigmoid, F::Softplus, F::Relu];
        let rest = [F::Gelu, F::GeluTanh, F::SoftplusOfMinus, F::MinusSigmoidOfMinus];
        let known = list("enum Function1 {");
        assert_eq!(known.len(), ones.len() + rest.len());
        for (f, name) in ones.into_iter().chain(rest).zip(0..) {
            assert_eq!(f.code().0, name);
            assert!(format!("{f:?}").starts_with(&known[name as usize]), "{f:?}, {known:?}");
        }
        use Function2 as G;
        let twos = [G::Plus, G::Minus, G::Times, G::Quotient, G::MinusTimes, G::LogBack, G::TanhBack];
        let rest = [G::SigmoidBack, G::SoftplusBack, G::ReluBack, G::GeluBack, G::GeluTanhBack];
        let known = list("enum Function2 {");
        assert_eq!(known.len(), twos.len() + rest.len());
        for (f, name) in twos.into_iter().chain(rest).zip(known) {
            assert_eq!((f as u32, format!("{f:?}")), (f as u32, name));
        }
    }
}
