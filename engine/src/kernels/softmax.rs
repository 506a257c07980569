//! Softmax over rows.
//!
//! ```text
//! forward   y_j = e^(x_j − m) / Σ_k e^(x_k − m),  m = max x
//! backward  x̄_j = y_j (ȳ_j − Σ_k ȳ_k y_k)
//! ```
//! Without m, e^x would overflow in f32 from 89 on. Bound by flops where a row lies in the cache: one exponential an
//! element.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::kernels::map::CHUNK;
use crate::real::Real;
use crate::tensor::Tensor;

/// The softmax of every row of `x`: any leading dimensions.
///
/// # Panics
/// If `x` holds no floats.
#[track_caller]
pub fn softmax(engine: &Engine, x: &Tensor) -> Tensor {
    if let Some(cuda) = x.cuda() {
        return cuda::rows::softmax(cuda, x);
    }
    for_real!(x, forward(engine, x))
}

/// x̄ from the output `y` of [`softmax`] and its gradient, both in the same shape.
///
/// # Panics
/// If shapes or types differ.
#[track_caller]
pub fn softmax_back(engine: &Engine, y: &Tensor, grad: &Tensor) -> Tensor {
    assert_eq!(y.shape(), grad.shape(), "softmax: the gradient has a wrong shape");
    if let Some(cuda) = y.cuda() {
        return cuda::rows::softmax_back(cuda, y, grad);
    }
    for_real!(y, backward(engine, y, grad))
}

fn forward<T: Real>(engine: &Engine, x: &Tensor) -> Tensor {
    let (width, data) = (x.shape().last().max(1), x.data::<T>());
    let (mut y, block) = (engine.buffer::<T>(x.len()), (CHUNK / width).max(1) * width);
    engine.chunks(
        &mut y,
        block,
        #[inline(always)]
        |i, y| {
            let x = &data[i * block..][..y.len()];
            for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
                softmax_row(x, y);
            }
        },
    );
    Tensor::from_buf(x.shape(), y)
}

/// y ← softmax x.
#[inline(always)]
pub fn softmax_row<T: Real>(x: &[T], y: &mut [T]) {
    let max = lanes::max(x);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = (x - max).exp();
    }
    let scale = T::ONE / lanes::sum([&*y], |[y]| y);
    y.iter_mut().for_each(|y| *y *= scale);
}

fn backward<T: Real>(engine: &Engine, y: &Tensor, grad: &Tensor) -> Tensor {
    let (width, data, grad) = (y.shape().last().max(1), y.data::<T>(), grad.data::<T>());
    let (mut x, block) = (engine.buffer::<T>(y.len()), (CHUNK / width).max(1) * width);
    engine.chunks(
        &mut x,
        block,
        #[inline(always)]
        |i, x| {
            let (y, grad) = (&data[i * block..][..x.len()], &grad[i * block..][..x.len()]);
            for ((x, y), grad) in x.chunks_mut(width).zip(y.chunks(width)).zip(grad.chunks(width)) {
                let mean = lanes::sum([y, grad], |[y, g]| y * g);
                x.iter_mut().zip(y).zip(grad).for_each(|((x, &y), &g)| *x = y * (g - mean));
            }
        },
    );
    Tensor::from_buf(y.shape(), x)
}
