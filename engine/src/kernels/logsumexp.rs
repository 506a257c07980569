//! The logarithm of a sum of exponentials over the kept entries of a row.
//!
//! ```text
//! forward   y = m + ln Σ_j keep_j e^(x_j − m),  m = max over the kept x
//! backward  x̄_j = ȳ keep_j e^(x_j − y)
//! ```
//! y is −∞ for a row in which nothing is kept (the sum of nothing is 0), and so is it where all that is kept is −∞; x̄
//! is 0 there. Bound by flops: one exponential an element.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::map::CHUNK;
use crate::kernels::{lanes, rows_with_scratch};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// One number for each row of `x` (`[.., m]` → `[..]`). `keep`, row-major, has one flag for each element.
///
/// # Panics
/// If `x` is a scalar or holds no floats, or `keep` has another length.
#[track_caller]
pub fn logsumexp(engine: &Engine, x: &Tensor, keep: Option<&[bool]>) -> Tensor {
    assert!(keep.is_none_or(|k| k.len() == x.len()), "logsumexp: one flag for each element");
    if let Some(cuda) = x.cuda() {
        return cuda::rows::logsumexp(cuda, x, keep);
    }
    for_real!(x, forward(engine, x, keep))
}

/// x̄ from the input, the output `y` of [`logsumexp`] and its gradient.
///
/// # Panics
/// If lengths or types differ.
#[track_caller]
pub fn logsumexp_back(
    engine: &Engine,
    x: &Tensor,
    keep: Option<&[bool]>,
    y: &Tensor,
    grad: &Tensor,
) -> Tensor {
    assert_eq!(y.shape(), grad.shape(), "logsumexp: the gradient has a wrong shape");
    if let Some(cuda) = x.cuda() {
        return cuda::rows::logsumexp_back(cuda, x, keep, y, grad);
    }
    for_real!(x, backward(engine, x, keep, y, grad))
}

fn forward<T: Real>(engine: &Engine, x: &Tensor, keep: Option<&[bool]>) -> Tensor {
    let dims = x.shape();
    let (width, data) = (dims.last(), x.data::<T>());
    let (mut y, rows) = (engine.buffer::<T>(dims.rows()), rows_with_scratch(dims.rows(), width, CHUNK));
    let mut scratch = engine.buffer::<T>(dims.rows().div_ceil(rows) * width.max(1));
    engine.chunks2(
        (&mut y, rows),
        (&mut scratch, width.max(1)),
        #[inline(always)]
        |i, y, scratch| {
            let terms = &mut scratch[..width];
            for (row, y) in (i * rows..).zip(y) {
                let x = &data[row * width..][..width];
                match keep {
                    Some(keep) => only_kept(x, &keep[row * width..][..width], terms),
                    None => terms.copy_from_slice(x),
                }
                *y = logsumexp_row(terms);
            }
        },
    );
    Tensor::from_buf(Shape::new(&dims.dims()[..dims.rank() - 1]), y)
}

#[inline(always)]
fn only_kept<T: Real>(x: &[T], keep: &[bool], terms: &mut [T]) {
    for ((t, &x), &keep) in terms.iter_mut().zip(x).zip(keep) {
        *t = if keep { x } else { T::NEG_INFINITY };
    }
}

/// ln Σ e^x; −∞ when all x are −∞. Leaves e^(x − max) in `x`.
#[inline(always)]
fn logsumexp_row<T: Real>(x: &mut [T]) -> T {
    let max = lanes::max(x);
    if max == T::NEG_INFINITY {
        // Nothing but −∞; a NaN, which `max` passes over, must not be lost.
        return lanes::sum([&*x], |[x]| x) + T::NEG_INFINITY;
    }
    for x in x.iter_mut() {
        *x = (*x - max).exp();
    }
    max + lanes::sum([&*x], |[x]| x).ln()
}

fn backward<T: Real>(
    engine: &Engine,
    x: &Tensor,
    keep: Option<&[bool]>,
    y: &Tensor,
    grad: &Tensor,
) -> Tensor {
    let (width, data) = (x.shape().last().max(1), x.data::<T>());
    let (y, grad) = (y.data::<T>(), grad.data::<T>());
    let (mut back, rows) = (engine.buffer::<T>(x.len()), (CHUNK / width).max(1));
    engine.chunks(
        &mut back,
        rows * width,
        #[inline(always)]
        |i, back| {
            for (row, back) in (i * rows..).zip(back.chunks_mut(width)) {
                let (x, y, grad) = (&data[row * width..][..width], y[row], grad[row]);
                if y == T::NEG_INFINITY {
                    back.fill(T::ZERO);
                    continue;
                }
                for (b, &x) in back.iter_mut().zip(x) {
                    *b = grad * (x - y).exp();
                }
                if let Some(keep) = keep {
                    let keep = &keep[row * width..][..width];
                    back.iter_mut().zip(keep).for_each(|(b, &keep)| *b = if keep { *b } else { T::ZERO });
                }
            }
        },
    );
    Tensor::from_buf(x.shape(), back)
}
