//! A linear map with an element-wise function behind it, and the way back through both (equations:
//! `autograd/src/ops/feed_forward.rs`). The function and its derivative meet the pieces of a product while they are in
//! cache, so they cost their arithmetic and no pass over memory. Bound by flops.

use crate::cuda;
use crate::engine::Engine;
use crate::gemm::{gemm_beside, gemm_then};
use crate::kernels::linear::factors;
use crate::kernels::map::{CHUNK, Map1, Map2, on_device};
use crate::quantised;
use crate::real::Real;
use crate::tensor::Tensor;

/// φ(x Wᵀ + b): x `[.., in]`, w `[out, in]`, b `[out]` → `[.., out]`. A weight may be one in fewer bits.
///
/// # Panics
/// If shapes do not fit or types differ.
#[track_caller]
pub fn bent(engine: &Engine, x: &Tensor, w: &Tensor, b: &Tensor, phi: impl Map1) -> Tensor {
    if let Some(cuda) = cuda::of(&[x, w]) {
        return cuda::gemm::bent(cuda, x, w, b, on_device(&phi, phi.on_device()));
    }
    match w.weight() {
        Some(w) => {
            let mut y = quantised::linear(engine, x, w, Some(b));
            engine.chunks(
                y.data_mut::<f32>(),
                CHUNK,
                #[inline(always)]
                |_, y| y.iter_mut().for_each(|y| *y = phi.at(*y)),
            );
            y
        }
        None => for_real!(x, bent_real(engine, x, w, b, phi)),
    }
}

#[track_caller]
fn bent_real<T: Real>(engine: &Engine, x: &Tensor, w: &Tensor, b: &Tensor, phi: impl Map1) -> Tensor {
    let ([x_mat, w_mat], bias) = (factors(x, w), b.data::<T>());
    let mut y = engine.buffer::<T>(x_mat.rows() * w_mat.rows());
    gemm_then(
        engine,
        T::ONE,
        x_mat,
        w_mat.t(),
        T::ZERO,
        &mut y,
        #[inline(always)]
        |_, first, y| {
            for (y, &b) in y.iter_mut().zip(&bias[first..]) {
                *y = phi.at(*y + b);
            }
        },
    );
    Tensor::from_buf(x.shape().with_last(w_mat.rows()), y)
}

/// As [`bent`], with what backward reads: u = x Wᵀ + b and φ(u).
///
/// # Panics
/// If shapes do not fit or types differ.
#[track_caller]
pub fn bent_and_straight(engine: &Engine, x: &Tensor, w: &Tensor, b: &Tensor, phi: impl Map1) -> [Tensor; 2] {
    if let Some(cuda) = cuda::of(&[x, w]) {
        return cuda::gemm::both(cuda, x, w, b, on_device(&phi, phi.on_device()));
    }
    for_real!(x, both_real(engine, x, w, b, phi))
}

#[track_caller]
fn both_real<T: Real>(engine: &Engine, x: &Tensor, w: &Tensor, b: &Tensor, phi: impl Map1) -> [Tensor; 2] {
    let ([x_mat, w_mat], bias) = (factors(x, w), b.data::<T>());
    let [mut u, mut y] = [0, 1].map(|_| engine.buffer::<T>(x_mat.rows() * w_mat.rows()));
    gemm_beside(
        engine,
        T::ONE,
        x_mat,
        w_mat.t(),
        T::ZERO,
        &mut u,
        &mut y,
        #[inline(always)]
        |_, first, u, y| {
            for ((u, y), &b) in u.iter_mut().zip(y).zip(&bias[first..]) {
                *u += b;
                *y = phi.at(*u);
            }
        },
    );
    [u, y].map(|y| Tensor::from_buf(x.shape().with_last(w_mat.rows()), y))
}

/// ū = (ȳ W) ∘ φ′(u) and φ(u), which the gradient of W reads: ȳ `[n, out]`, w `[out, in]`, u `[n, in]`. `phi` at one
/// number is φ, at (u, g) it is g φ′(u).
///
/// # Panics
/// If shapes do not fit or types differ.
#[track_caller]
pub fn back_through(
    engine: &Engine,
    grad: &Tensor,
    w: &Tensor,
    u: &Tensor,
    phi: impl Map1 + Map2,
) -> [Tensor; 2] {
    if let Some(cuda) = cuda::of(&[grad, w]) {
        let forms = (Map1::on_device(&phi), Map2::on_device(&phi));
        let forms = (on_device(&phi, forms.0), on_device(&phi, forms.1));
        return cuda::gemm::back(cuda, grad, w, u, forms);
    }
    for_real!(grad, back_real(engine, grad, w, u, phi))
}

#[track_caller]
fn back_real<T: Real>(
    engine: &Engine,
    grad: &Tensor,
    w: &Tensor,
    u: &Tensor,
    phi: impl Map1 + Map2,
) -> [Tensor; 2] {
    let ([grad_mat, w_mat], before, width) = (factors(grad, w), u.data::<T>(), u.shape().last());
    let [mut du, mut inner] = [0, 1].map(|_| engine.buffer::<T>(before.len()));
    gemm_beside(
        engine,
        T::ONE,
        grad_mat,
        w_mat,
        T::ZERO,
        &mut du,
        &mut inner,
        #[inline(always)]
        |row, first, du, inner| {
            let u = &before[row * width + first..];
            for ((du, inner), &u) in du.iter_mut().zip(inner).zip(u) {
                *du = Map2::at(&phi, u, *du);
                *inner = Map1::at(&phi, u);
            }
        },
    );
    [du, inner].map(|x| Tensor::from_buf(u.shape(), x))
}
