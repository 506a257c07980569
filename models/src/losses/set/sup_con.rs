//! The supervised contrastive loss over candidates (Khosla et al., "Supervised contrastive learning", NeurIPS 2020,
//! eq. 2), which UniDEC (Kharbanda et al., WWW 2025) takes over the labels that it picked for a batch.
//!
//! ```text
//! ℓ_i = −(1/|P_i|) Σ_{p∈P_i} log( e^{s_ip/τ} / Σ_{l∈P_i∪N_i} ω_l e^{s_il/τ} )
//! ```
//! The masked softmax of the house with the target 1/|P_i| on each positive.

use super::{SetObjective, SetTerms};
use autograd::{SoftmaxLoss, Target, Var};

/// The supervised contrastive loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SupCon {
    /// τ.
    pub temperature: f64,
}

impl SetObjective for SupCon {
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t> {
        terms.check(scores);
        let (engine, m, r) = (scores.tape().engine(), scores.shape().last(), &terms.relevance);
        // A row without a positive has no target distribution: with all columns masked it drops out.
        let learns = |row: &[bool]| row.iter().any(|&p| p);
        let rows = r.positive.chunks(m).zip(r.negative.chunks(m));
        let keep = rows.flat_map(|(p, n)| {
            let learns = learns(p);
            p.iter().zip(n).map(move |(&p, &n)| learns && (p || n))
        });
        let omega = terms.omega.as_ref().map(|_| terms.matrix(engine, m, |p, _, w| if p { 1.0 } else { w }));
        let kernel = SoftmaxLoss {
            scale: 1.0 / self.temperature,
            keep: Some(keep.collect()),
            omega,
            beta: None,
            target: Target::Distribution(terms.shares(engine, m)),
        };
        scores.softmax_loss(kernel).mean()
    }
}
