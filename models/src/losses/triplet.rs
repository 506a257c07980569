//! The triplet loss over the hardest negatives, weighted towards the hardest (Dahiya et al., "NGAME: negative
//! mining-aware mini-batching for extreme classification", WSDM 2023; the weighting as corrected in the code
//! of DEXA, KDD 2023).
//!
//! ```text
//! ℓ_i = (1/k) Σ_r w_ir max(0, s⁻_ir − s⁺_i + γ)        s⁻_i1 ≥ … ≥ s⁻_ik: the k hardest negatives of row i
//! w_i = softmax_r(s⁻_ir/τ) over those that violate the margin
//! ```

use super::{Objective, Terms};
use autograd::{Var, Weighting};

/// The triplet loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triplet {
    /// γ: by how much a positive should beat a negative.
    pub margin: f64,
    /// k: how many negatives count.
    pub hardest: usize,
    /// τ of the weights.
    pub temperature: f64,
    /// How the negatives of a row are weighted.
    pub weighting: Weighting,
}

impl Objective for Triplet {
    /// ω and β of the terms have no meaning here and are not read.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        terms.mean(scores.triplet(autograd::Triplet {
            target: terms.targets.clone(),
            keep: Some(terms.keep.clone()),
            k: self.hardest,
            margin: self.margin,
            temperature: self.temperature,
            weighting: self.weighting,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::Tape;
    use engine::{Engine, Tensor};
    use std::sync::Arc;

    fn loss(weighting: Weighting, keep: [bool; 16]) -> (f64, Vec<f64>) {
        let tape = Tape::new(&Engine::poisoned(1));
        let scores =
            vec![0.8f32, 0.7, 0.2, -0.1, 0.25, 0.6, 0.55, 0.5, 0.1, 0.65, 0.9, 0.85, -0.2, 0.4, 0.35, 0.75];
        let scores = tape.leaf(Tensor::from_vec([4, 4], scores));
        let objective = Triplet { margin: 0.3, hardest: 2, temperature: 0.1, weighting };
        let loss = objective.loss(scores, &Terms::masked(Arc::from([0, 1, 2, 3]), Arc::from(keep)));
        let value = loss.value().item();
        (value, tape.backward_from(loss).of(scores).to_f64())
    }

    /// Calculated independently; row 1 has label 3 as a second positive.
    #[test]
    fn triplet_gives_the_calculated_numbers() {
        let mut keep = [true; 16];
        keep[7] = false;
        for (weighting, want) in [
            (Weighting::None, 0.09375),
            (Weighting::Published, 0.084_369_96),
            (Weighting::Active, 0.084_519_93),
        ] {
            let (value, grad) = loss(weighting, keep);
            assert!((value - want).abs() < 1e-6, "{weighting:?}: {value}");
            assert_eq!(grad[7], 0.0);
        }
        let (_, grad) = loss(Weighting::Published, keep);
        let row1 = [0.0, -0.124_491, 0.125_758, 0.0];
        assert!(grad[4..8].iter().zip(row1).all(|(a, b)| (a - b).abs() < 1e-6), "{grad:?}");
    }

    #[test]
    fn a_batch_without_negatives_costs_nothing_and_moves_nothing() {
        assert_eq!(loss(Weighting::Active, [false; 16]), (0.0, vec![0.0; 16]));
    }
}
