//! A number for each row, spread over the row. Bound by bytes.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::map::CHUNK;
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// y[i, j] = factor · x[i]: x has one number for each of `rows` equal parts of the new shape `to`.
///
/// # Panics
/// If `x` holds no floats, or the parts are not equal.
#[track_caller]
pub fn spread(engine: &Engine, x: &Tensor, to: Shape, factor: f64) -> Tensor {
    if let Some(cuda) = x.cuda() {
        return cuda::map::spread(cuda, x, to, width_of(x, to), factor);
    }
    for_real!(x, spread_real(engine, x, to, factor))
}

/// How many numbers of `to` fall on one of `x`.
#[track_caller]
fn width_of(x: &Tensor, to: Shape) -> usize {
    let width = to.len().checked_div(x.len()).unwrap_or(0).max(1);
    assert_eq!(x.len() * width, to.len(), "spread: {:?} over {to:?}", x.shape());
    width
}

#[track_caller]
fn spread_real<T: Real>(engine: &Engine, x: &Tensor, to: Shape, factor: f64) -> Tensor {
    let (data, width) = (x.data::<T>(), width_of(x, to));
    let (mut y, rows) = (engine.buffer::<T>(to.len()), (CHUNK / width).max(1));
    engine.chunks(
        &mut y,
        rows * width,
        #[inline(always)]
        |i, y| {
            y.chunks_mut(width).zip(&data[i * rows..]).for_each(|(y, &x)| y.fill(T::of(factor) * x));
        },
    );
    Tensor::from_buf(to, y)
}
