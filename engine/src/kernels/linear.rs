//! y = x Wᵀ + b.
//!
//! A weight in fewer bits has its own product: [`crate::quantised`].
//!
//! The bias is added to each piece of y while it is in cache, so it costs no pass over memory. Bound by flops.

use crate::engine::Engine;
use crate::gemm::{Mat, gemm_then};
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
    let (x_mat, w_mat) =
        (Mat::new(x.data(), rows, x.shape().last()), Mat::new(w.data(), out, w.shape().last()));
    let b = b.map(|b| b.data::<T>());
    gemm_then(
        engine,
        T::ONE,
        x_mat,
        w_mat.t(),
        T::ZERO,
        &mut y,
        #[inline(always)]
        |_, first, y| b.iter().for_each(|b| y.iter_mut().zip(&b[first..]).for_each(|(y, &b)| *y += b)),
    );
    Tensor::from_buf(x.shape().with_last(out), y)
}
