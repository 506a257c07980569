//! x Wᵀ + b, the sum onto the bias.
//!
//! ```text
//! y ← b, repeated for every row;  y ← x Wᵀ + y
//! ```
//! A weight in fewer bits has its own product: [`crate::quantised`].
//!
//! The product reads y once while it writes it, so the bias costs one fill of y and no pass after. Bound by flops.

use crate::engine::Engine;
use crate::gemm::{Mat, gemm};
use crate::kernels::map::CHUNK;
use crate::quantised;
use crate::real::Real;
use crate::tensor::Tensor;

/// x Wᵀ + b: x `[.., in]`, w `[out, in]`, b `[out]` → `[.., out]`.
///
/// # Panics
/// If shapes do not fit or types differ.
#[track_caller]
pub fn linear(engine: &Engine, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
    match w.weight() {
        Some(w) => quantised::linear(engine, x, w, b),
        None => for_real!(x, run(engine, x, w, b)),
    }
}

#[track_caller]
fn run<T: Real>(engine: &Engine, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
    let (rows, out) = (x.shape().rows(), w.shape().dim(0));
    let mut y = engine.buffer::<T>(rows * out);
    if let Some(b) = b {
        let b = b.data::<T>();
        let block = (CHUNK / out.max(1)).max(1) * out;
        engine.chunks(&mut y, block, |_, y| y.chunks_mut(out).for_each(|y| y.copy_from_slice(b)));
    }
    let beta = if b.is_some() { T::ONE } else { T::ZERO };
    let (x_mat, w_mat) =
        (Mat::new(x.data(), rows, x.shape().last()), Mat::new(w.data(), out, w.shape().last()));
    gemm(engine, T::ONE, x_mat, w_mat.t(), beta, &mut y);
    Tensor::from_buf(x.shape().with_last(out), y)
}
