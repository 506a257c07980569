//! A row's own negatives against those of the others: each side has its share of the row, however many it counts.
//!
//! ```text
//! ω'_ij = ω_ij / |own_i|            j ∈ own_i, a column that counts and is not the target
//! ω'_ij = ω_ij · λ / |others_i|     every other column that counts
//! ```
//! Under a mean over pairs, as Margin-MSE is, that is L = (L_own + λ L_batch) / (1 + λ), the sum that TAS-Balanced
//! minimises up to its factor (Hofstätter et al., SIGIR 2021, λ = 0.75). Where nothing was drawn for single rows,
//! nothing changes.

use super::{Edits, Scores, Shaper};

/// Weighs a row's own columns and the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// λ: what the others weigh together, where the own ones weigh 1.
    pub others: f32,
}

impl Shaper for Shares {
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits) {
        let Some(own) = scores.own else { return };
        let width = scores.values.width;
        let keep = edits.keep.clone();
        for (i, weights) in edits.weights().chunks_exact_mut(width).enumerate() {
            let target = scores.target[i] as usize;
            let mut is_own = vec![false; width];
            own.row(i).iter().for_each(|&j| is_own[j as usize] = true);
            let counts = |j: usize| j != target && keep[i * width + j] > 0.0;
            let of = |own: bool| (0..width).filter(|&j| counts(j) && is_own[j] == own).count() as f32;
            let (mine, others) = (of(true), of(false));
            for j in (0..width).filter(|&j| counts(j)) {
                weights[j] *= if is_own[j] { 1.0 / mine } else { self.others / others };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lists, Matrix};

    #[test]
    fn each_side_has_its_share() {
        let own: Lists = [&[2, 3][..], &[]].into_iter().collect();
        let values = [0.0; 10];
        let mut scores = Scores::new(Matrix::new(&values, 5), &[0, 1]);
        // Row 0: one of the two own columns is masked; the others that count are 1 and 4.
        let mut edits = Edits::masked([[1.0, 1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 0.0]].concat());
        Shares { others: 0.5 }.shape(&scores, &mut edits);
        assert_eq!(edits.weight, None, "nothing was drawn");
        scores.own = Some(&own);
        Shares { others: 0.5 }.shape(&scores, &mut edits);
        let got = edits.weight.expect("weights");
        assert_eq!(got[..5], [1.0, 0.25, 1.0, 1.0, 0.25]);
        let third = 0.5 / 3.0;
        assert_eq!(got[5..], [third, 1.0, third, third, 1.0]);
    }
}
