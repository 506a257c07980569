//! y = x Wᵀ + b.
//!
//! A weight in fewer bits has its own product: [`crate::quantised`].
//!
//! The bias is added to each piece of y while it is in cache, so it costs no pass over memory. Bound by flops.

use crate::cuda;
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
    if let Some(cuda) = cuda::of(&[x, w]) {
        return cuda::gemm::linear(cuda, x, w, b);
    }
    match w.weight() {
        Some(w) => quantised::linear(engine, x, w, b),
        None => for_real!(x, run(engine, x, w, b)),
    }
}

/// x as rows, and W as it lies.
#[track_caller]
pub(super) fn factors<'a, T: Real>(x: &'a Tensor, w: &'a Tensor) -> [Mat<'a, T>; 2] {
    [x, w].map(|t| Mat::new(t.data(), t.shape().rows(), t.shape().last()))
}

#[track_caller]
fn run<T: Real>(engine: &Engine, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
    let [x_mat, w_mat] = factors(x, w);
    let mut y = engine.buffer::<T>(x_mat.rows() * w_mat.rows());
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
    Tensor::from_buf(x.shape().with_last(w_mat.rows()), y)
}
