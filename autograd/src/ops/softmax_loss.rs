//! Softmax cross-entropy of rows of scores: the one kernel behind in-batch negatives, sampled softmax, false-negative
//! masks, hardness weights, label smoothing and distillation.
//!
//! ```text
//! s [n, m] scores, scale = 1/τ, k keep mask, ω ≥ 0 partition weights, β shifts, t target distribution (Σ_j t_ij = 1)
//!
//! forward    z_ij = s_ij/τ + β_ij
//!            Z_i  = Σ_j k_ij ω_ij e^{z_ij}                over the columns that compete
//!            ℓ_i  = log Z_i − Σ_j t_ij z_ij
//! backward   p_ij = k_ij ω_ij e^{z_ij}/Z_i
//!            s̄_ij = ℓ̄_i (p_ij − t_ij)/τ
//! ```
//! Everything but s is a constant. Row weights are applied outside, to the losses.
//! - The largest logit *of the columns that compete* is subtracted before the exponential; a masked column has exactly
//!   zero gradient, however large its score, and −∞ is compared with, never multiplied by 0.
//! - A target is never masked, whatever the mask says: it would turn the loss upside down.
//! - A row in which fewer than two columns compete has nothing to learn: its loss and its gradient are exactly 0. So a
//!   query whose negatives are all masked drops out instead of adding rounding errors or a NaN.
//!
//! p is not stored: backward keeps s, saves log Z of each row, and takes one exponential a column again, which costs
//! less than writing and reading `[n, m]` numbers does when m is the size of a large batch.

use super::Entry;
use crate::gradcheck::{Case, In, constant};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
pub use engine::kernels::softmax_loss::{SoftmaxLoss, Target};
use engine::kernels::softmax_loss::{gradient, softmax_loss};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The loss of every row of scores: `[n, m]` → `[n]`.
    #[track_caller]
    pub fn softmax_loss(self, loss: SoftmaxLoss) -> Var<'t> {
        self.tape().apply(loss, &[self])
    }
}

/// The rule that the constants of a loss on scores of this shape break, if any.
fn broken(loss: &SoftmaxLoss, s: Shape) -> Option<&'static str> {
    if s.rank() != 2 || s.dim(1) == 0 {
        return Some("scores are [n, m], m > 0");
    }
    if loss.keep.as_ref().is_some_and(|keep| keep.len() != s.len()) {
        return Some("the mask has one entry for every score");
    }
    if [&loss.omega, &loss.beta].into_iter().flatten().any(|x| x.shape() != s) {
        return Some("weights and shifts have the shape of the scores");
    }
    match &loss.target {
        Target::Column(c) if c.len() != s.dim(0) || c.iter().any(|&c| c as usize >= s.dim(1)) => {
            Some("every row has one target column below m")
        }
        Target::Distribution(t) if t.shape() != s => {
            Some("target probabilities have the shape of the scores")
        }
        _ => None,
    }
}

impl Op for SoftmaxLoss {
    fn name(&self) -> &'static str {
        "softmax_loss"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match broken(self, inputs[0]) {
            Some(rule) => Err(ShapeError::new(rule, inputs)),
            None => Ok(Shape::from([inputs[0].dim(0)])),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let weighed = [&self.omega, &self.beta].into_iter().flatten().count() as u64;
        let spread = u64::from(matches!(self.target, Target::Distribution(_)));
        // ·, max, −, e, Σ, and ·, Σ with a distribution; backward ·, −, e, ·, −, ·
        Flops::each(n.of(0), 5 + weighed + 2 * spread, 6 + weighed)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (losses, log_z) = softmax_loss(cx.engine, &cx.inputs[0], self);
        cx.save(log_z);
        losses
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, gradient(cx.engine, cx.input(0), cx.saved(0), cx.grad, self));
    }
}

/// Targets in columns 1, 0 and 3, and nothing else.
fn plain(scale: f64) -> SoftmaxLoss {
    let target = Target::Column([1, 0, 3].into());
    SoftmaxLoss { scale, keep: None, omega: None, beta: None, target }
}

/// Row 0: columns 1 (the target, wrongly masked) and 2. Row 1: all but one. Row 2: the target alone.
const KEEP: [bool; 12] = [false, false, true, false, true, true, false, true, false, false, false, true];

/// What has no gradient under [`KEEP`]: masked columns that are no target, and all of row 2.
fn is_masked(i: usize) -> bool {
    i / 4 == 2 || !KEEP[i] && i != 1
}

const SCORES: In = In::normal(&[3, 4]);

pub(super) const ENTRY: Entry = Entry {
    name: "softmax_loss",
    cases: &[
        Case::new("target columns", &[SCORES], |x| x[0].softmax_loss(plain(1.0))),
        Case::new("temperature", &[SCORES], |x| x[0].softmax_loss(plain(2.5))),
        Case::new("masked", &[SCORES.blocked(is_masked)], |x| {
            x[0].softmax_loss(SoftmaxLoss { keep: Some(KEEP.into()), ..plain(0.7) })
        }),
        Case::new("weights and shifts", &[SCORES.blocked(|i| i == 6)], |x| {
            let omega = [1.0, 2.0, 0.5, 3.0, 1.0, 1.0, 0.0, 2.0, 0.3, 0.3, 1.0, 1.0];
            let beta = [0.1, 0.2, -1.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, -1.0, 0.0, 0.4];
            let [omega, beta] = [omega, beta].map(|values| Some(constant(x[0], &[3, 4], &values)));
            x[0].softmax_loss(SoftmaxLoss { omega, beta, ..plain(1.5) })
        }),
        Case::new("target distribution, masked", &[SCORES.blocked(|i| [3, 4, 8].contains(&i))], |x| {
            let t = [0.2, 0.8, 0.0, 0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0, 0.5, 0.5];
            let target = Target::Distribution(constant(x[0], &[3, 4], &t));
            // Column 0 of row 0 has mass and stays although it is masked.
            let keep = [0, 3, 4, 8].iter().fold([true; 12], |mut k, &i| {
                k[i] = false;
                k
            });
            x[0].softmax_loss(SoftmaxLoss { keep: Some(keep.into()), target, ..plain(1.0) })
        }),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::{Engine, Stream};

    /// Losses and gradients for seeds 1, in f32.
    fn run(m: usize, scores: &[f32], loss: SoftmaxLoss) -> (Vec<f64>, Vec<f64>) {
        let tape = Tape::new(&Engine::poisoned(2));
        let n = scores.len() / m;
        let s = tape.leaf(Tensor::from_vec([n, m], scores.to_vec()));
        let losses = s.softmax_loss(loss);
        let grads = tape.backward(vec![(losses, Tensor::from_vec([n], vec![1.0f32; n]))]);
        (losses.value().to_f64(), grads.of(s).to_f64())
    }

    #[test]
    fn the_loss_of_known_probabilities_is_their_logarithm() {
        // e^s = 1, 2, 5: p of the target is 2/8; with the last one masked 2/3.
        let scores = [0.0f32, 2f32.ln(), 5f32.ln()];
        let target = || Target::Column([1].into());
        let (loss, grad) = run(3, &scores, SoftmaxLoss { target: target(), ..plain(1.0) });
        assert!((loss[0] - 4f64.ln()).abs() < 1e-6);
        let close = |got: &[f64], want: [f64; 3]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6);
        assert!(close(&grad, [0.125, -0.75, 0.625]));
        let keep = Some([true, true, false].into());
        let (loss, grad) = run(3, &scores, SoftmaxLoss { keep, target: target(), ..plain(1.0) });
        assert!((loss[0] - 1.5f64.ln()).abs() < 1e-6 && close(&grad, [1.0 / 3.0, -1.0 / 3.0, 0.0]));
    }

    #[test]
    fn many_columns_equal_the_plain_sum() {
        let (n, m) = (70, 301);
        let scores: Vec<f32> =
            (0..(n * m) as u64).map(|i| Stream::new(4, 4).uniform(i) as f32 * 2.0 - 1.0).collect();
        let keep: Vec<bool> = (0..n * m).map(|i| i % 7 != 3).collect();
        let columns: Vec<u32> = (0..n as u32).map(|i| i * 4 % m as u32).collect();
        let target = Target::Column(columns.clone().into());
        let (losses, grads) =
            run(m, &scores, SoftmaxLoss { keep: Some(keep.clone().into()), target, ..plain(20.0) });
        for i in 0..n {
            let c = columns[i] as usize;
            let open = |j: usize| keep[i * m + j] || j == c;
            let e = |j: usize| f64::exp(20.0 * f64::from(scores[i * m + j]));
            let z: f64 = (0..m).filter(|&j| open(j)).map(e).sum();
            assert!((losses[i] - (z.ln() - e(c).ln())).abs() < 1e-4, "row {i}");
            for j in 0..m {
                let t = f64::from(u8::from(j == c));
                let want = if open(j) { 20.0 * (e(j) / z - t) } else { 0.0 };
                assert!((grads[i * m + j] - want).abs() < 2e-4, "row {i}, column {j}");
            }
        }
    }

    #[test]
    fn a_row_without_negatives_and_infinite_scores_give_exact_zeros() {
        let inf = f32::INFINITY;
        let keep: [bool; 8] = [false, false, false, false, true, true, true, false];
        let target = Target::Column([2, 0].into());
        let loss = SoftmaxLoss { keep: Some(keep.into()), target, ..plain(50.0) };
        let scores = [inf, 0.1, 0.3, 1e30, 0.0, -inf, 0.0, f32::NAN];
        let (losses, grads) = run(4, &scores, loss);
        assert_eq!((losses[0], &grads[..4]), (0.0, &[0.0; 4][..]));
        assert!((losses[1] - 2f64.ln()).abs() < 1e-6);
        assert_eq!(grads[4..], [-25.0, 0.0, 25.0, 0.0], "−∞ and a masked NaN have no gradient");
    }

    #[test]
    fn a_lone_target_with_a_weight_is_still_exactly_zero() {
        let omega = Some(Tensor::from_vec([1, 2], vec![3.0f32, 0.0]));
        let loss = SoftmaxLoss { omega, target: Target::Column([0].into()), ..plain(1.0) };
        assert_eq!(run(2, &[0.3, 0.7], loss), (vec![0.0], vec![0.0, 0.0]));
    }

    #[test]
    #[should_panic(expected = "softmax_loss: every row has one target column below m; got [[3, 2]]")]
    fn a_target_beyond_the_columns_is_refused() {
        run(2, &[0.0; 6], plain(1.0));
    }
}
