//! Hard negatives weigh more: each negative's logit gets a bonus that grows with its score.
//!
//! ```text
//! β_ij += α · s_ij        j ≠ target[i]; s detached and before temperature
//! ```
//! Lan et al., "LLaVE: Large language and vision embedding models with hardness-weighted contrastive learning", 2025,
//! α = 9; sentence-transformers' `hardness_strength`. The gradient of a negative grows by e^{α s}, its share of the
//! partition as well.

use super::{Edits, Scores, Shaper};

/// Adds α·s to the logits of negatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hardness {
    /// α.
    pub strength: f32,
}

impl Shaper for Hardness {
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits) {
        let width = scores.values.width;
        for (i, shifts) in edits.shifts().chunks_exact_mut(width).enumerate() {
            let target = scores.target[i] as usize;
            for (j, (shift, score)) in shifts.iter_mut().zip(scores.values.row(i)).enumerate() {
                *shift += if j == target { 0.0 } else { self.strength * score };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn negatives_are_shifted_by_their_scores_and_targets_are_not() {
        let values = [0.5, -0.25, 1.0, 0.5];
        let mut edits = Edits::masked(vec![1.0; 4]);
        let scores = Scores::new(Matrix::new(&values, 2), &[0, 1]);
        Hardness { strength: 4.0 }.shape(&scores, &mut edits);
        Hardness { strength: 1.0 }.shape(&scores, &mut edits);
        assert_eq!(edits.shift.expect("shifts"), [0.0, -1.25, 5.0, 0.0]);
    }
}
