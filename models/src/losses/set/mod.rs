//! Losses of rows that have a set of positives, over candidates which all rows of a batch share: what trains a
//! classifier.
//!
//! ```text
//! s_il  scores [n, m] of queries against candidate labels        P_i positives, N_i negatives of row i
//! ω_l   how many labels a candidate stands for as a negative: 1, or the reciprocal of its chance to be drawn
//! L     = (1/n) Σ_i ℓ_i
//! ```
//! With ω a sum over the negatives of the candidates has the expectation of the same sum over all labels.

mod bce;
mod decoupled;
mod lambda_mrr;
mod multi_triplet;
mod soft_top_k;
mod sup_con;

pub use bce::Bce;
pub use decoupled::Decoupled;
pub use lambda_mrr::LambdaMrr;
pub use multi_triplet::MultiTriplet;
pub use soft_top_k::SoftTopK;
pub use sup_con::SupCon;

use autograd::{Relevance, Var};
use engine::{Engine, Tensor};
use std::fmt;

/// What a loss knows besides the scores `[n, m]`. All of it is constant for the tape.
#[derive(Clone, Debug)]
pub struct SetTerms {
    /// The positives and negatives of each row; a candidate that is neither plays no part in it.
    pub relevance: Relevance,
    /// ω: what a candidate weighs as a negative, `[m]`; none is 1.
    pub omega: Option<Vec<f32>>,
    /// Where a candidate has a target between that of a negative, 0, and that of a positive, 1: its place among the
    /// scores, and the target. [`Bce`] alone reads them: of other losses a target is no number of one pair.
    pub soft: Vec<(usize, f32)>,
}

impl SetTerms {
    #[track_caller]
    fn check(&self, scores: Var<'_>) {
        let m = scores.shape().last();
        assert!(self.relevance.fits(scores.shape().len()), "positives and negatives have an entry a score");
        assert!(self.omega.as_ref().is_none_or(|w| w.len() == m), "every candidate has one weight");
    }
    /// f(positive, negative, ω) of every score, `[n, m]`.
    fn matrix(&self, engine: &Engine, m: usize, f: impl Fn(bool, bool, f32) -> f32) -> Tensor {
        let r = &self.relevance;
        let mut values = engine.buffer::<f32>(r.positive.len());
        for (i, value) in values.iter_mut().enumerate() {
            let omega = self.omega.as_ref().map_or(1.0, |w| w[i % m]);
            *value = f(r.positive[i], r.negative[i] && !r.positive[i], omega);
        }
        Tensor::from_buf([r.positive.len() / m, m], values)
    }
    /// 1/|P_i| for the positives of row i, 0 elsewhere.
    fn shares(&self, engine: &Engine, m: usize) -> Tensor {
        let mut values = engine.buffer::<f32>(self.relevance.positive.len());
        for (to, row) in values.chunks_mut(m).zip(self.relevance.positive.chunks(m)) {
            let share = 1.0 / row.iter().filter(|p| **p).count().max(1) as f32;
            to.iter_mut().zip(row).for_each(|(to, &p)| *to = if p { share } else { 0.0 });
        }
        Tensor::from_buf([self.relevance.positive.len() / m, m], values)
    }
}

/// A loss over rows with sets of positives.
pub trait SetObjective: fmt::Debug + Send + Sync {
    /// The loss of scores `[n, m]`: one number.
    ///
    /// # Panics
    /// If scores and terms differ in size.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::Tape;

    /// Loss and gradient of one row.
    pub(super) fn run(
        objective: &dyn SetObjective,
        scores: &[f32],
        positives: &[usize],
        omega: Option<Vec<f32>>,
    ) -> (f64, Vec<f64>) {
        let m = scores.len();
        let positive: Vec<bool> = (0..m).map(|j| positives.contains(&j)).collect();
        let relevance = Relevance { positive: positive.into(), negative: vec![true; m].into() };
        let tape = Tape::checked(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([1, m], scores.to_vec()));
        let loss = objective.loss(s, &SetTerms { relevance, omega, soft: vec![] });
        let value = loss.value().item();
        (value, tape.backward_from(loss).of(s).to_f64())
    }

    const S: [f32; 5] = [2.0, 1.0, 0.5, -1.0, 0.0];

    #[track_caller]
    fn check(objective: &dyn SetObjective, positives: &[usize], want: f64) {
        let (got, _) = run(objective, &S, positives, None);
        assert!((got - want).abs() < 2e-6, "{objective:?}: {got} is not {want}");
    }

    /// Calculated independently, from the equations.
    #[test]
    fn losses_equal_the_known_ones() {
        check(&Decoupled { temperature: 1.0 }, &[0, 1], 0.544_458);
        // The plain softmax, summed over the two positives; here it is their mean.
        check(&SupCon { temperature: 1.0 }, &[0, 1], 2.148_876 / 2.0);
        let members = [0.909_613f64, 0.576_622];
        check(&SoftTopK { k: 2.0, sharpness: 2.0 }, &[0, 1], -(members[0].ln() + members[1].ln()) / 2.0);
        let softplus = |x: f64| x.exp().ln_1p();
        let bce = softplus(2.0) + softplus(1.0) + softplus(0.5) + softplus(-1.0) + softplus(0.0) - 3.0;
        check(&Bce { scale: 1.0, shift: 0.0 }, &[0, 1], bce);
        // The two highest negatives violate the margin by 1.7 and 0.7.
        let w = 1f64.exp() / (1.0 + 1f64.exp());
        let triplets = MultiTriplet { positives: 1, negatives: 2, margin: 0.2 };
        check(&triplets, &[2], (w * 1.7 + (1.0 - w) * 0.7) / 2.0);
    }

    #[test]
    fn a_candidate_that_stands_for_two_counts_as_two() {
        let all: [&dyn SetObjective; 3] =
            [&Bce { scale: 1.3, shift: -0.5 }, &SupCon { temperature: 0.7 }, &Decoupled { temperature: 0.7 }];
        for objective in all {
            let (twice, grad) = run(objective, &[0.3, 0.1, 0.1, -0.4], &[0], None);
            let (once, weighted) = run(objective, &[0.3, 0.1, -0.4], &[0], Some(vec![1.0, 2.0, 1.0]));
            assert!((twice - once).abs() < 1e-6, "{objective:?}: {twice}, {once}");
            assert!((grad[1] + grad[2] - weighted[1]).abs() < 1e-6, "{objective:?}");
        }
    }

    /// Loss and gradient from the equations: targets 1, 0.3, 0 and logits 2, −1, 0.5.
    #[test]
    fn a_soft_target_stands_between_positive_and_negative() {
        let relevance =
            Relevance { positive: [true, false, false].into(), negative: [false, true, true].into() };
        let tape = Tape::checked(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([1, 3], vec![2.0f32, -1.0, 0.5]));
        let terms = SetTerms { relevance, omega: None, soft: vec![(1, 0.3)] };
        let loss = Bce { scale: 1.0, shift: 0.0 }.loss(s, &terms);
        let cross = |t: f64, z: f64| {
            let p = 1.0 / (1.0 + (-z).exp());
            (-t * p.ln() - (1.0 - t) * (1.0 - p).ln(), p - t)
        };
        let want = [cross(1.0, 2.0), cross(0.3, -1.0), cross(0.0, 0.5)];
        let got = (loss.value().item(), tape.backward_from(loss).of(s).to_f64());
        assert!((got.0 - want.iter().map(|w| w.0).sum::<f64>()).abs() < 1e-6, "{got:?}");
        assert!(got.1.iter().zip(want).all(|(g, w)| (g - w.1).abs() < 1e-6), "{got:?}");
    }

    #[test]
    fn a_row_without_positives_pulls_nothing_up() {
        for objective in [&SupCon { temperature: 0.7 } as &dyn SetObjective, &Decoupled { temperature: 0.7 }]
        {
            assert_eq!(run(objective, &S, &[], None), (0.0, vec![0.0; 5]), "{objective:?}");
        }
    }
}
