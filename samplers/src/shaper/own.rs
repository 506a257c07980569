//! Each row meets its own negatives alone: those that were drawn for it, and none of the other rows'.
//!
//! ```text
//! keep'[i, j] = keep[i, j] · 1[ j = target[i]  or  j ∈ own[i] ]
//! ```
//! ANCE trains so, and NV-Embed's second stage, in which the positives of a batch of one class would be false negatives
//! of each other. Where nothing was drawn for single rows, nothing changes.

use super::{Edits, Scores, Shaper};

/// Keeps the target and the row's own columns.
#[derive(Clone, Copy, Debug)]
pub struct OwnOnly;

impl Shaper for OwnOnly {
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits) {
        let Some(own) = scores.own else { return };
        for (i, keep) in edits.keep.chunks_exact_mut(scores.values.width).enumerate() {
            let mut kept = vec![0.0; keep.len()];
            for &j in own.row(i).iter().chain([&scores.target[i]]) {
                kept[j as usize] = keep[j as usize];
            }
            keep.copy_from_slice(&kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lists, Matrix};

    #[test]
    fn columns_of_other_rows_go_and_masked_ones_stay_masked() {
        let own: Lists = [&[2, 3][..], &[]].into_iter().collect();
        let values = [0.0; 8];
        let mut scores = Scores::new(Matrix::new(&values, 4), &[0, 1]);
        let mut edits = Edits::masked(vec![1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        OwnOnly.shape(&scores, &mut edits);
        assert_eq!(edits.keep, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0], "nothing was drawn");
        scores.own = Some(&own);
        OwnOnly.shape(&scores, &mut edits);
        assert_eq!(edits.keep, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
