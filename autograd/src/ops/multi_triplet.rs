//! The triplet margin loss of NGAME's classifier stage (Dahiya et al. 2023): the P positives with the lowest scores of
//! each row against its K negatives with the highest.
//!
//! ```text
//! s [n, m] scores, s⁺_1 ≤ … ≤ s⁺_P the lowest of the row's positives, s⁻_1 ≥ … ≥ s⁻_K the highest of its negatives
//!
//! forward    ℓ_pr = max(0, s⁻_r − s⁺_p + γ)
//!            w_p  = softmax_r of ℓ_pr over the r with ℓ_pr > 0
//!            L    = (1/PK) Σ_p Σ_r w_pr ℓ_pr
//! backward   c_pr = (L̄/PK) w_pr (1 + ℓ_pr − Σ_q w_pq ℓ_pq)   where ℓ_pr > 0, else 0
//!            s̄⁻_r = Σ_p c_pr,   s̄⁺_p = −Σ_r c_pr
//! ```
//! The weights are made of the losses, at temperature 1, and are part of the function: c has their derivative. Which
//! columns are chosen, and which pairs violate the margin, is constant.
//!
//! Two departures from the published code. There, a row whose labels happen to be as many as its batch has rows takes
//! the diagonal for its positives; here the caller says which columns are positives. And there, a row with fewer than K
//! negatives fills up with its own positives; here it has fewer pairs, and still divides by PK.

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
pub use engine::kernels::multi_triplet::MultiTriplet;
use engine::kernels::multi_triplet::{gradient, multi_triplet};
use engine::kernels::relevance::Relevance;
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The loss of every row of scores: `[n, m]` → `[n]`.
    #[track_caller]
    pub fn multi_triplet(self, loss: MultiTriplet) -> Var<'t> {
        self.tape().apply(loss, &[self])
    }
}

impl Op for MultiTriplet {
    fn name(&self) -> &'static str {
        "multi_triplet"
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
        } else if self.positives == 0 || self.negatives == 0 {
            "the numbers of positives and of negatives are not 0"
        } else {
            return Ok(Shape::from([s.dim(0)]));
        };
        Err(ShapeError::new(rule, inputs))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let pairs = n.out() * (self.positives * self.negatives) as u64;
        // Choosing compares each score; a pair: −, +, max, a softmax, ·, Σ; backward a softmax, ·, −, +, ·, ·.
        Flops { forward: n.of(0) + 10 * pairs, backward: 10 * pairs }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (losses, columns) = multi_triplet(cx.engine, &cx.inputs[0], self);
        cx.save(columns);
        losses
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, gradient(cx.engine, cx.input(0), cx.saved(0), cx.grad, self));
    }
}

/// Row 0: three positives and two negatives, one of each unused. Row 1: one positive, four negatives. Row 2: no
/// negative.
fn case() -> MultiTriplet {
    let row = |marks: [u8; 5], of: u8| marks.map(|m| m == of);
    let rows = [[1, 1, 1, 2, 2], [2, 1, 2, 2, 2], [1, 1, 0, 0, 1]];
    let marks = |of| rows.map(|r| row(r, of)).concat();
    let relevance = Relevance { positive: marks(1).into(), negative: marks(2).into() };
    MultiTriplet { relevance, positives: 2, negatives: 3, margin: 0.55 }
}

/// Numbers 0.1 apart and a margin between two multiples of it: no hinge and no choice flips nearby.
const SCORES: In = In::drawn(&[3, 5], Draw::Distinct(0.1)).blocked(|i| i >= 10);

pub(super) const ENTRY: Entry = Entry {
    name: "multi_triplet",
    cases: &[Case::new("few and many of each", &[SCORES], |x| x[0].multi_triplet(case()))],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    const S: [f64; 15] = [
        0.5, 0.4, 0.1, 0.45, -0.2, //
        0.2, 0.6, 0.55, 0.3, 0.1, //
        0.0, 0.28, 0.15, 0.5, 0.4,
    ];

    fn run(positives: &[usize], masked: &[usize]) -> (f64, Vec<f64>) {
        let positive: Vec<bool> = (0..15).map(|i| positives.contains(&i)).collect();
        let negative: Vec<bool> = (0..15).map(|i| !masked.contains(&i)).collect();
        let relevance = Relevance { positive: positive.into(), negative: negative.into() };
        let tape = Tape::new(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([3, 5], S.to_vec()));
        let loss = s.multi_triplet(MultiTriplet { relevance, positives: 2, negatives: 2, margin: 0.2 });
        let grads = tape.backward(vec![(loss, Tensor::from_vec([3], vec![1.0 / 3.0; 3]))]);
        (loss.value().to_f64().iter().sum::<f64>() / 3.0, grads.of(s).to_f64())
    }

    /// Numbers from central differences of the formula, rounded.
    #[test]
    fn loss_and_gradient_equal_the_known_ones() {
        let (loss, grad) = run(&[0, 2, 6, 13, 14], &[]);
        assert!((loss - 0.073_437_48).abs() < 5e-9, "{loss}");
        let want = [
            [-0.083_333, 0.079_168, -0.083_333, 0.087_498, 0.0],
            [0.0, -0.083_333, 0.083_333, 0.0, 0.0],
            [0.0, 0.083_333, 0.0, 0.0, -0.083_333],
        ];
        for (i, (got, want)) in grad.iter().zip(want.concat()).enumerate() {
            assert!((got - want).abs() < 1e-6, "entry {i}: {got} for {want}");
            assert!(want != 0.0 || *got == 0.0, "entry {i}: {got} for an exact zero");
        }
    }

    #[test]
    fn a_masked_column_is_neither_and_nothing_fills_up_for_it() {
        // Row 0 keeps one negative, column 1: ℓ = 0.1 against 0.5 and 0.5 against 0.1, of 2 × 2 pairs.
        let (loss, grad) = run(&[0, 2], &[3, 4]);
        assert!((loss - 0.6 / 4.0 / 3.0).abs() < 1e-12, "{loss}");
        assert_eq!(grad[3..], [0.0; 12]);
        assert!((grad[1] - 2.0 / 12.0).abs() < 1e-12 && (grad[0] + 1.0 / 12.0).abs() < 1e-12, "{grad:?}");
    }
}
