//! SoftTop-k (DEXML; Gupta et al., ICLR 2024): positives shall be among the k largest scores of their row.
//!
//! ```text
//! t_i : Σ_l σ(α(s_il + t_i)) = k          ℓ_i = −(1/|P_i|) Σ_{p∈P_i} log σ(α(s_ip + t_i))
//! ```
//! It counts candidates, so they must be all labels, or hard enough to hold the top k: weights ω are not read.

use super::{SetObjective, SetTerms};
use autograd::Var;

/// SoftTop-k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftTopK {
    /// k.
    pub k: f64,
    /// α: how sharp the border of the top k is.
    pub sharpness: f64,
}

impl SetObjective for SoftTopK {
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t> {
        terms.check(scores);
        let (tape, n, m) = (scores.tape(), scores.shape().dim(0), scores.shape().last());
        let relevance = terms.relevance.clone();
        let members =
            scores.soft_top_k(autograd::SoftTopK { k: self.k, sharpness: self.sharpness, relevance });
        (members * tape.constant(terms.shares(tape.engine(), m))).sum().scale(-1.0 / n as f64)
    }
}
