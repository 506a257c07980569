//! Binary cross-entropy: every label is a question of its own.
//!
//! ```text
//! z_il = κ s_il + β
//! ℓ_i  = Σ_{p∈P} (log(1 + e^{z_p}) − z_p) + Σ_{l∈N} ω_l log(1 + e^{z_l}) − t_l z_l
//! ```
//! t_l is 0, or the soft target of a candidate that stands for itself alone. A sum over labels, not a mean: the share
//! of negatives among 10⁵ labels would drown the positives' gradient in its divisor. Over all labels
//! `crate::heads::one_vs_all` does the same without keeping the logits.

use super::{SetObjective, SetTerms};
use autograd::Var;

/// Binary cross-entropy over candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bce {
    /// κ: turns a score into a logit.
    pub scale: f64,
    /// β: the logit of a score of 0.
    pub shift: f64,
}

impl SetObjective for Bce {
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t> {
        terms.check(scores);
        let (tape, [n, m]) = (scores.tape(), [scores.shape().dim(0), scores.shape().last()]);
        let engine = tape.engine();
        let z = scores.scale(self.scale).shift(self.shift);
        let weights = terms.matrix(engine, m, |p, n, omega| if p { 1.0 } else { f32::from(n) * omega });
        let mut truth = terms.matrix(engine, m, |p, _, _| f32::from(p));
        terms.soft.iter().for_each(|&(place, target)| truth.data_mut::<f32>()[place] = target);
        let all = z.softplus() * tape.constant(weights) - z * tape.constant(truth);
        all.sum().scale(1.0 / n as f64)
    }
}
