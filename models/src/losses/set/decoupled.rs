//! The decoupled softmax (DEXML; Gupta et al., ICLR 2024): positives compete with negatives only.
//!
//! ```text
//! ℓ_i = −(1/|P_i|) Σ_{p∈P_i} log( e^{s_ip/τ} / (e^{s_ip/τ} + Σ_{l∈N_i} ω_l e^{s_il/τ}) )
//! ```

use super::{SetObjective, SetTerms};
use autograd::{DecoupledSoftmax, Var};
use engine::Tensor;

/// The decoupled softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoupled {
    /// τ.
    pub temperature: f64,
}

impl SetObjective for Decoupled {
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t> {
        terms.check(scores);
        let engine = scores.tape().engine();
        let omega = terms.omega.as_ref().map(|w| Tensor::from_buf([w.len()], engine.copied(w)));
        let (relevance, scale) = (terms.relevance.clone(), 1.0 / self.temperature);
        scores.decoupled_softmax(DecoupledSoftmax { scale, relevance, omega }).mean()
    }
}
