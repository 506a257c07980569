//! The triplet margin loss over the k hardest negatives of each row (NGAME, Dahiya et al. 2023).
//!
//! ```text
//! s [n, m] scores, s⁺ the one in the row's target column, s⁻_1 ≥ … ≥ s⁻_k the largest ones of its negatives
//!
//! forward    ℓ_r = max(0, s⁻_r − s⁺ + γ)
//!            w   = softmax of a          a_r = s⁻_r/τ  where ℓ_r > 0        (None: w_r = 1)
//!                                        else −∞ (Active) or 0 (Published)
//!            L   = (1/k) Σ_r w_r ℓ_r
//! backward   s̄⁻_r = (L̄/k) [w_r + (w_r/τ)(ℓ_r − Σ_q w_q ℓ_q)]   where ℓ_r > 0, else 0   (None: first term)
//!            s̄⁺   = −(L̄/k) Σ_r w_r 1[ℓ_r > 0]
//! ```
//! The weights are part of the function: they are not detached, and the second term of s̄⁻ is theirs, from
//! ∂w_q/∂a_r = w_q(δ_qr − w_r). Which negatives are chosen, and which violate the margin, is constant; where it flips
//! the weighted loss jumps. `Published` is the softmax of NGAME's code, in which negatives that are already far enough
//! away still take weight from those that are not; `Active`, that of DEXA (Dahiya et al. 2023), leaves them out.
//!
//! A row with fewer than k negatives sums over those that it has and still divides by k, so that a row does not count
//! more for having few; one without any gives exactly 0. Ties go to the lower column.

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
pub use engine::kernels::triplet::{Triplet, Weighting};
use engine::kernels::triplet::{gradient, triplet};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The loss of every row of scores: `[n, m]` → `[n]`.
    #[track_caller]
    pub fn triplet(self, loss: Triplet) -> Var<'t> {
        self.tape().apply(loss, &[self])
    }
}

impl Op for Triplet {
    fn name(&self) -> &'static str {
        "triplet"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let s = inputs[0];
        let rule = if s.rank() != 2 || s.dim(1) == 0 {
            "scores are [n, m], m > 0"
        } else if self.target.len() != s.dim(0) || self.target.iter().any(|&c| c as usize >= s.dim(1)) {
            "every row has one target column below m"
        } else if self.keep.as_ref().is_some_and(|keep| keep.len() != s.len()) {
            "the mask has one entry for every score"
        } else if self.k == 0 || self.temperature.is_nan() || self.temperature <= 0.0 {
            "k and the temperature are positive"
        } else {
            return Ok(Shape::from([s.dim(0)]));
        };
        Err(ShapeError::new(rule, inputs))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let chosen = n.out() * self.k as u64;
        // Choosing compares each score; a chosen one: −, +, max, a softmax, ·, Σ; backward a softmax, ·, −, +, ·, ·.
        Flops { forward: n.of(0) + 10 * chosen, backward: 10 * chosen }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (losses, columns) = triplet(cx.engine, &cx.inputs[0], self);
        cx.save(columns);
        losses
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, gradient(cx.engine, cx.input(0), cx.saved(0), cx.grad, self));
    }
}

/// Targets on the diagonal of `[3, 4]`; row 0 has one negative, row 1 all three, row 2 none.
fn case(weighting: Weighting) -> Triplet {
    let keep = [true, false, true, false, true, true, true, true, false, false, true, false];
    let (target, keep) = ([0, 1, 2].into(), Some(keep.into()));
    Triplet { target, keep, k: 2, margin: 0.35, temperature: 0.8, weighting }
}

/// Numbers 0.1 apart and a margin between two multiples of it: no hinge and no choice flips nearby, and some negatives
/// violate the margin while others do not.
const SCORES: In = In::drawn(&[3, 4], Draw::Distinct(0.1)).blocked(|i| [1, 3].contains(&i) || i >= 8);

pub(super) const ENTRY: Entry = Entry {
    name: "triplet",
    cases: &[
        Case::new("unweighted", &[SCORES], |x| x[0].triplet(case(Weighting::None))),
        Case::new("weighted where the margin is violated", &[SCORES], |x| {
            x[0].triplet(case(Weighting::Active))
        }),
        Case::new("weighted as published", &[SCORES], |x| x[0].triplet(case(Weighting::Published))),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    const S: [f64; 16] = [
        0.80, 0.70, 0.20, -0.10, //
        0.25, 0.60, 0.55, 0.50, //
        0.10, 0.65, 0.90, 0.85, //
        -0.20, 0.40, 0.35, 0.75,
    ];

    /// The mean loss of S and its gradient; column 3 is a second positive of row 1.
    fn run(weighting: Weighting) -> (f64, Vec<f64>) {
        let keep: Vec<bool> = (0..16).map(|i| i != 7).collect();
        let (target, keep) = ([0, 1, 2, 3].into(), Some(keep.into()));
        let tape = Tape::new(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([4, 4], S.to_vec()));
        let loss = s.triplet(Triplet { target, keep, k: 2, margin: 0.3, temperature: 0.1, weighting });
        let grads = tape.backward(vec![(loss, Tensor::from_vec([4], vec![0.25f64; 4]))]);
        (loss.value().to_f64().iter().sum::<f64>() / 4.0, grads.of(s).to_f64())
    }

    /// Against numbers from central differences of the formula, rounded to six digits.
    #[track_caller]
    fn check(weighting: Weighting, want: f64, rows: [[f64; 4]; 4]) {
        let (loss, grad) = run(weighting);
        assert!((loss - want).abs() < 5e-9, "{weighting:?}: {loss}");
        for (i, (got, want)) in grad.iter().zip(rows.iter().flatten()).enumerate() {
            assert!((got - want).abs() < 6e-7, "{weighting:?}, entry {i}: {got} for {want}");
            assert!(*want != 0.0 || *got == 0.0, "{weighting:?}, entry {i}: {got} for an exact zero");
        }
    }

    #[test]
    fn losses_and_gradients_equal_the_known_ones() {
        let (none, row1) = ([0.0; 4], [0.0, -0.125, 0.125, 0.0]);
        let row0 = [-0.125, 0.125, 0.0, 0.0];
        check(Weighting::None, 0.09375, [row0, row1, [0.0, 0.125, -0.25, 0.125], none]);
        let row2 = [0.0, -0.011348, -0.125, 0.136348];
        check(Weighting::Active, 0.08451993, [row0, row1, row2, none]);
        let published = [[-0.124886, 0.125114, 0.0, 0.0], [0.0, -0.124491, 0.125758, 0.0], row2, none];
        check(Weighting::Published, 0.08436996, published);
    }

    #[test]
    fn a_row_with_few_negatives_divides_by_k_and_one_without_gives_zero() {
        let tape = Tape::new(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([2, 2], vec![0.5, 0.5, 0.1, 0.9f64]));
        let keep = Some([true, true, false, true].into());
        let loss = s.triplet(Triplet {
            target: [0, 1].into(),
            keep,
            k: 4,
            margin: 0.4,
            temperature: 0.1,
            weighting: Weighting::Active,
        });
        assert_eq!(loss.value().to_f64(), [0.1, 0.0]);
        let grads = tape.backward(vec![(loss, Tensor::from_vec([2], vec![1.0f64; 2]))]);
        assert_eq!(grads.of(s).to_f64(), [-0.25, 0.25, 0.0, 0.0]);
    }

    #[test]
    fn ties_go_to_the_lower_column() {
        let tape = Tape::new(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([1, 5], vec![0.0, 1.0, 2.0, 1.0, 1.0f64]));
        let (target, keep, weighting) = ([0].into(), None, Weighting::None);
        let loss = s.triplet(Triplet { target, keep, k: 3, margin: 0.5, temperature: 1.0, weighting });
        let grads = tape.backward(vec![(loss, Tensor::from_vec([1], vec![3.0f64]))]);
        assert_eq!(grads.of(s).to_f64(), [-3.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
