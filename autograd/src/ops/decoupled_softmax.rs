//! The decoupled softmax (Gupta et al., "Dual-encoders for extreme multi-label classification", ICLR 2024): each
//! positive competes with the negatives of its row and not with the other positives.
//!
//! ```text
//! s [n, m] scores, z = s/τ, P positives and N negatives of a row, ω_j > 0 what a column weighs as a negative
//!
//! forward    log N = log Σ_{j∈N} ω_j e^{z_j}
//!            ℓ     = (1/|P|) Σ_{p∈P} [log(e^{z_p} + N) − z_p]  =  (1/|P|) Σ_p log(1 + e^{log N − z_p})
//! backward   σ_p   = N/(e^{z_p} + N)
//!            z̄_p   = −ℓ̄ σ_p/|P|              z̄_j = (ℓ̄/|P|) (Σ_p σ_p) ω_j e^{z_j}/N            s̄ = z̄/τ
//! ```
//! A softmax over all columns with several positives pushes down positives that are certain already; this one does not.
//! A row without a positive, or without a negative, has nothing to learn: its loss and its gradient are exactly 0.

use super::Entry;
use crate::gradcheck::{Case, In, constant};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
pub use engine::kernels::decoupled_softmax::DecoupledSoftmax;
use engine::kernels::decoupled_softmax::{decoupled_softmax, gradient};
use engine::kernels::relevance::Relevance;
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The loss of every row of scores: `[n, m]` → `[n]`.
    #[track_caller]
    pub fn decoupled_softmax(self, loss: DecoupledSoftmax) -> Var<'t> {
        self.tape().apply(loss, &[self])
    }
}

impl Op for DecoupledSoftmax {
    fn name(&self) -> &'static str {
        "decoupled_softmax"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let s = inputs[0];
        let rule = if s.rank() != 2 || s.dim(1) == 0 {
            "scores are [n, m], m > 0"
        } else if !self.relevance.fits(s.len()) {
            "positives and negatives have one entry for every score"
        } else if self.omega.as_ref().is_some_and(|omega| omega.shape().dims() != [s.dim(1)]) {
            "there is one weight for every column"
        } else {
            return Ok(Shape::from([s.dim(0)]));
        };
        Err(ShapeError::new(rule, inputs))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // A negative: ·, max, −, e, ·, Σ; backward ·, −, e, ·, ·. A positive takes about as many.
        Flops::each(n.of(0), 6, 5)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (losses, log_n) = decoupled_softmax(cx.engine, &cx.inputs[0], self);
        cx.save(log_n);
        losses
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, gradient(cx.engine, cx.input(0), cx.saved(0), cx.grad, self));
    }
}

/// Row 0: two positives, one masked column. Row 1: one positive. Row 2: no negative. Row 3: no positive.
fn case(omega: Option<Tensor>) -> DecoupledSoftmax {
    let rows = [[1, 1, 2, 2, 0], [2, 2, 2, 1, 2], [1, 0, 0, 1, 0], [2, 2, 0, 2, 2]];
    let marks = |of: u8| rows.map(|r| r.map(|m| m == of)).concat();
    let relevance = Relevance { positive: marks(1).into(), negative: marks(2).into() };
    DecoupledSoftmax { scale: 1.5, relevance, omega }
}

const SCORES: In = In::normal(&[4, 5]).blocked(|i| i == 4 || i >= 10);

pub(super) const ENTRY: Entry = Entry {
    name: "decoupled_softmax",
    cases: &[
        Case::new("several positives, masked", &[SCORES], |x| x[0].decoupled_softmax(case(None))),
        Case::new("weighted negatives", &[SCORES], |x| {
            let omega = constant(x[0], &[5], &[1.0, 2.0, 0.5, 1.0, 3.0]);
            x[0].decoupled_softmax(case(Some(omega)))
        }),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    fn loss(scores: [f32; 5], positives: &[usize], omega: Option<Vec<f32>>) -> f64 {
        let positive: Vec<bool> = (0..5).map(|j| positives.contains(&j)).collect();
        let relevance = Relevance { positive: positive.into(), negative: [true; 5].into() };
        let omega = omega.map(|w| Tensor::from_vec([5], w));
        let tape = Tape::inference(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([1, 5], scores.to_vec()));
        s.decoupled_softmax(DecoupledSoftmax { scale: 1.0, relevance, omega }).value().item()
    }

    const S: [f32; 5] = [2.0, 1.0, 0.5, -1.0, 0.0];

    #[test]
    fn the_loss_equals_the_known_one() {
        let got = loss(S, &[0, 1], None);
        assert!((got - 0.544_458).abs() < 1e-6, "{got}");
    }

    #[test]
    fn a_column_of_weight_two_counts_as_two_columns() {
        let twice = loss([2.0, 1.0, 0.5, 0.5, 0.0], &[0, 1], None);
        let weighted = loss([2.0, 1.0, 0.5, -200.0, 0.0], &[0, 1], Some(vec![9.0, 9.0, 2.0, 1.0, 1.0]));
        assert!((twice - weighted).abs() < 1e-6, "{twice}, {weighted}");
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let got = loss([1000.0, -1000.0, 1000.0, 0.0, 0.0], &[0, 1], None);
        assert!((got - (2f64.ln() + 2000.0) / 2.0).abs() < 1e-3, "{got}");
    }
}
