//! NGAME's loss of the classifier stage (Dahiya et al., WSDM 2023): the hardest positives of a row against its hardest
//! negatives, weighted towards the pairs that violate the margin most.
//!
//! ```text
//! ℓ_i = (1/PK) Σ_p Σ_r w_pr max(0, s⁻_r − s⁺_p + γ)            (`autograd::ops::multi_triplet`)
//! ```
//! It looks at the hardest alone: weights ω are not read.

use super::{SetObjective, SetTerms};
use autograd::Var;

/// The triplet loss over several positives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiTriplet {
    /// P: positives of a row that count.
    pub positives: usize,
    /// K: negatives of a row that count.
    pub negatives: usize,
    /// γ.
    pub margin: f64,
}

impl MultiTriplet {
    /// As published: three positives, five negatives, margin 0.2.
    pub const NGAME: MultiTriplet = MultiTriplet { positives: 3, negatives: 5, margin: 0.2 };
}

impl SetObjective for MultiTriplet {
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t> {
        terms.check(scores);
        let loss = autograd::MultiTriplet {
            relevance: terms.relevance.clone(),
            positives: self.positives,
            negatives: self.negatives,
            margin: self.margin,
        };
        scores.multi_triplet(loss).mean()
    }
}
