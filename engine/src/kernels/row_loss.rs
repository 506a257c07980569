//! What losses over rows of logits share: the walks over the rows, and the exponentials of a partition sum.

use crate::engine::{Engine, parts};
use crate::kernels::rows_with_scratch;
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Exponentials of one parallel task.
const EXPONENTIALS: usize = 8192;

/// What `f(i, z)` gives for each row `i` of scores `[n, m]`: its loss, and a number that its gradient will read; `[n]`
/// each. z is scratch for m logits. Mark `f` `#[inline(always)]`, so that it becomes vector code.
pub(super) fn losses<T: Real>(
    engine: &Engine,
    scores: Shape,
    f: impl Fn(usize, &mut [T]) -> (T, T) + Sync,
) -> (Tensor, Tensor) {
    let (n, m) = (scores.rows(), scores.last());
    let (mut losses, mut kept) = (engine.buffer::<T>(n), engine.buffer::<T>(n));
    let rows = rows_with_scratch(n, m, EXPONENTIALS);
    let cuts: Vec<usize> = (0..=n.div_ceil(rows)).map(|task| (task * rows).min(n)).collect();
    let mut scratch = engine.buffer::<T>((cuts.len() - 1) * m);
    engine.each(
        parts([&mut losses, &mut kept], &cuts).into_iter().zip(scratch.chunks_mut(m)).collect(),
        #[inline(always)]
        |task, ([losses, kept], z)| {
            for (i, (to_loss, to_kept)) in losses.iter_mut().zip(kept).enumerate() {
                (*to_loss, *to_kept) = f(task * rows + i, z);
            }
        },
    );
    (Tensor::from_buf([n], losses), Tensor::from_buf([n], kept))
}

/// The gradient of scores `[n, m]`, of which `f(i, row)` fills in row `i`. `f` as for [`losses`].
pub(super) fn gradients<T: Real>(
    engine: &Engine,
    scores: Shape,
    f: impl Fn(usize, &mut [T]) + Sync,
) -> Tensor {
    let m = scores.last();
    let (mut ds, rows) = (engine.buffer::<T>(scores.len()), (EXPONENTIALS / m).max(1));
    engine.chunks(
        &mut ds,
        rows * m,
        #[inline(always)]
        |chunk, ds| {
            for (i, ds) in ds.chunks_mut(m).enumerate() {
                f(chunk * rows + i, ds);
            }
        },
    );
    Tensor::from_buf(scores, ds)
}

/// z_j becomes ω_j exp(z_j − shift), and exactly 0 where z_j is −∞; without ω all are 1.
#[inline(always)]
pub(super) fn exponentials<T: Real>(z: &mut [T], omega: Option<&[T]>, shift: T) {
    for z in z.iter_mut() {
        let out = *z == T::NEG_INFINITY;
        let e = (if out { T::ZERO } else { *z - shift }).exp();
        *z = if out { T::ZERO } else { e };
    }
    if let Some(omega) = omega {
        z.iter_mut().zip(omega).for_each(|(z, &w)| *z *= w);
    }
}
