//! Rows of length 1 (equations: `autograd/src/ops/normalise.rs`). Bound by bytes.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::real::Real;
use crate::tensor::Tensor;

/// Rows in one parallel chunk.
const ROWS: usize = 64;
/// The least length by which a row is divided.
const FLOOR: f64 = 1e-12;

/// e = y/max(‖y‖, 1e-12) for rows y, and the lengths by which they were divided: `[n]`.
///
/// # Panics
/// If y holds no floats.
#[track_caller]
pub fn normalise(engine: &Engine, y: &Tensor) -> (Tensor, Tensor) {
    if let Some(cuda) = y.cuda() {
        return cuda::rows::normalise(cuda, y, FLOOR);
    }
    for_real!(y, forward(engine, y))
}

fn forward<T: Real>(engine: &Engine, y: &Tensor) -> (Tensor, Tensor) {
    let (n, d, data) = (y.shape().rows(), y.shape().last(), y.data::<T>());
    let (mut e, mut lengths) = (engine.buffer::<T>(n * d), engine.buffer::<T>(n));
    engine.chunks2(
        (&mut e, ROWS * d),
        (&mut lengths, ROWS),
        #[inline(always)]
        |chunk, e, lengths| {
            let rows = data[chunk * ROWS * d..].chunks(d);
            for ((e, length), y) in e.chunks_mut(d).zip(lengths).zip(rows) {
                // The floor goes second: the maximum with a NaN is its second number, and a NaN must stay one.
                *length = T::of(FLOOR).max(lanes::sum([y], |[y]| y * y).sqrt());
                let scale = T::ONE / *length;
                e.iter_mut().zip(y).for_each(|(e, &y)| *e = y * scale);
            }
        },
    );
    (Tensor::from_buf(y.shape(), e), Tensor::from_buf([n], lengths))
}

/// The gradient ȳ = (g − e(e·g))/‖y‖ from the gradient `g` of e.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn gradient(engine: &Engine, e: &Tensor, lengths: &Tensor, g: &Tensor) -> Tensor {
    if let Some(cuda) = e.cuda() {
        return cuda::rows::normalise_back(cuda, e, lengths, g, FLOOR);
    }
    for_real!(e, backward(engine, e, lengths, g))
}

fn backward<T: Real>(engine: &Engine, e: &Tensor, lengths: &Tensor, g: &Tensor) -> Tensor {
    let (shape, d) = (e.shape(), e.shape().last());
    let (e, lengths, g) = (e.data::<T>(), lengths.data::<T>(), g.data::<T>());
    let mut dy = engine.buffer::<T>(e.len());
    engine.chunks(
        &mut dy,
        ROWS * d,
        #[inline(always)]
        |chunk, dy| {
            let rows = e[chunk * ROWS * d..].chunks(d).zip(g[chunk * ROWS * d..].chunks(d));
            for ((dy, &length), (e, g)) in dy.chunks_mut(d).zip(&lengths[chunk * ROWS..]).zip(rows) {
                let along = lanes::sum([e, g], |[e, g]| e * g);
                let scale = if length > T::of(FLOOR) { T::ONE / length } else { T::ZERO };
                for ((dy, &e), &g) in dy.iter_mut().zip(e).zip(g) {
                    *dy = (g - e * along) * scale;
                }
            }
        },
    );
    Tensor::from_buf(shape, dy)
}
