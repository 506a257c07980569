//! Softmax cross-entropy of rows with masked, weighted and shifted columns (equations:
//! `autograd/src/ops/softmax_loss.rs`). Bound by the exponentials: one a column in each direction.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::kernels::row_loss::{exponentials, gradients, losses};
use crate::real::Real;
use crate::tensor::Tensor;
use std::sync::Arc;

/// What turns a row of scores into a loss. All of it is constant for the tape. Sizes are those of the scores, `[n, m]`,
/// if nothing else is said.
#[derive(Clone, Debug)]
pub struct SoftmaxLoss {
    /// 1/τ, the reciprocal of the temperature.
    pub scale: f64,
    /// k: false where a column is masked. The target never is.
    pub keep: Option<Arc<[bool]>>,
    /// ω ≥ 0: the weight of a column in the partition sum, say 1/(probability of having been sampled).
    pub omega: Option<Tensor>,
    /// β: added to the logits.
    pub beta: Option<Tensor>,
    /// t: what the probabilities should be.
    pub target: Target,
}

/// The target of a row.
#[derive(Clone, Debug)]
pub enum Target {
    /// Probability 1 in one column: `[n]`.
    Column(Arc<[u32]>),
    /// Probabilities that add up to 1.
    Distribution(Tensor),
}

/// The losses `[n]` of scores `[n, m]`, and log Z of each row: `[n]`, +∞ for a row in which nothing competes.
///
/// # Panics
/// If sizes or types differ, or a target column is out of range.
#[track_caller]
pub fn softmax_loss(engine: &Engine, s: &Tensor, loss: &SoftmaxLoss) -> (Tensor, Tensor) {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::softmax_loss(cuda, s, loss);
    }
    for_real!(s, forward(engine, s, loss))
}

/// The gradient of the scores from the gradient `g` of the losses.
///
/// # Panics
/// As [`softmax_loss`].
#[track_caller]
pub fn gradient(engine: &Engine, s: &Tensor, log_z: &Tensor, g: &Tensor, loss: &SoftmaxLoss) -> Tensor {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::softmax_loss_back(cuda, s, log_z, g, loss);
    }
    for_real!(s, backward(engine, s, log_z, g, loss))
}

/// One row of everything.
struct Row<'a, T> {
    scores: &'a [T],
    scale: T,
    keep: Option<&'a [bool]>,
    omega: Option<&'a [T]>,
    beta: Option<&'a [T]>,
    target: Aim<'a, T>,
}

#[derive(Clone, Copy)]
enum Aim<'a, T> {
    Column(usize),
    Distribution(&'a [T]),
}

impl SoftmaxLoss {
    #[inline(always)]
    fn row<'a, T: Real>(&'a self, scores: &'a Tensor, i: usize) -> Row<'a, T> {
        let m = scores.shape().last();
        let row = |x: &'a Tensor| &x.data::<T>()[i * m..][..m];
        Row {
            scores: row(scores),
            scale: T::of(self.scale),
            keep: self.keep.as_ref().map(|keep| &keep[i * m..][..m]),
            omega: self.omega.as_ref().map(row),
            beta: self.beta.as_ref().map(row),
            target: match &self.target {
                Target::Column(columns) => Aim::Column(columns[i] as usize),
                Target::Distribution(t) => Aim::Distribution(row(t)),
            },
        }
    }
}

impl<T: Real> Row<'_, T> {
    /// z_j = s_j/τ + β_j, and −∞ in the columns that do not compete. Gives Σ_j t_j z_j.
    #[inline(always)]
    fn logits(&self, z: &mut [T]) -> T {
        z.iter_mut().zip(self.scores).for_each(|(z, &s)| *z = s * self.scale);
        if let Some(beta) = self.beta {
            z.iter_mut().zip(beta).for_each(|(z, &b)| *z += b);
        }
        let (aim, at_target) = match self.target {
            Aim::Column(c) => (z[c], z[c]),
            // Where t is 0 the logit may be −∞, and 0·∞ must not be formed.
            Aim::Distribution(t) => {
                (lanes::sum([t, z], |[t, z]| if t > T::ZERO { t * z } else { T::ZERO }), T::ZERO)
            }
        };
        if let Some(keep) = self.keep {
            match self.target {
                Aim::Column(c) => {
                    let masked = z.iter_mut().zip(keep);
                    masked.for_each(|(z, &keep)| *z = if keep { *z } else { T::NEG_INFINITY });
                    z[c] = at_target;
                }
                Aim::Distribution(t) => {
                    for ((z, &keep), &t) in z.iter_mut().zip(keep).zip(t) {
                        *z = if keep || t > T::ZERO { *z } else { T::NEG_INFINITY };
                    }
                }
            }
        }
        if let Some(omega) = self.omega {
            let weighted = z.iter_mut().zip(omega);
            weighted.for_each(|(z, &w)| *z = if w == T::ZERO { T::NEG_INFINITY } else { *z });
        }
        aim
    }
    /// The loss and log Z. With fewer than two columns in competition there is nothing to learn: exactly 0 and +∞.
    #[inline(always)]
    fn loss(&self, z: &mut [T]) -> (T, T) {
        let aim = self.logits(z);
        let compete = |z: T| if z == T::NEG_INFINITY { T::ZERO } else { T::ONE };
        if lanes::sum([&*z], |[z]| compete(z)) < T::of(2.0) {
            return (T::ZERO, -T::NEG_INFINITY);
        }
        let largest = lanes::max(z);
        exponentials(z, self.omega, largest);
        let log_sum = lanes::sum([&*z], |[e]| e).ln();
        (log_sum + (largest - aim), log_sum + largest)
    }
    /// z becomes (p − t)·g/τ.
    #[inline(always)]
    fn gradient(&self, z: &mut [T], log_z: T, g: T) {
        if log_z == -T::NEG_INFINITY {
            return z.fill(T::ZERO);
        }
        self.logits(z);
        exponentials(z, self.omega, log_z);
        match self.target {
            Aim::Column(c) => z[c] -= T::ONE,
            Aim::Distribution(t) => z.iter_mut().zip(t).for_each(|(z, &t)| *z -= t),
        }
        let scale = g * self.scale;
        z.iter_mut().for_each(|z| *z *= scale);
    }
}

fn forward<T: Real>(engine: &Engine, s: &Tensor, loss: &SoftmaxLoss) -> (Tensor, Tensor) {
    losses(
        engine,
        s.shape(),
        #[inline(always)]
        |i, z| loss.row::<T>(s, i).loss(z),
    )
}

fn backward<T: Real>(engine: &Engine, s: &Tensor, log_z: &Tensor, g: &Tensor, loss: &SoftmaxLoss) -> Tensor {
    let (log_z, g) = (log_z.data::<T>(), g.data::<T>());
    gradients(
        engine,
        s.shape(),
        #[inline(always)]
        |i, ds| loss.row(s, i).gradient(ds, log_z[i], g[i]),
    )
}
