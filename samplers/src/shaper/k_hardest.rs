//! Online hard-negative mining: each row keeps its target and its k highest-scoring negatives.
//!
//! ```text
//! keep'[i, j] = keep[i, j] · 1[ j = target[i]  or  s_ij among the k largest kept s_ij', j' ≠ target[i] ]
//! ```
//! Ties are broken by column. A row with fewer than k kept negatives keeps them all.

use super::{Edits, Scores, Shaper};
use crate::ranking::{best, keep_largest, unpack_best};

/// Keeps the k hardest negatives. NGAME's triplet loss uses k = 10.
#[derive(Clone, Copy, Debug)]
pub struct KHardest {
    /// Negatives kept in each row.
    pub k: usize,
}

impl Shaper for KHardest {
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits) {
        k_hardest(scores, self.k, &mut edits.keep);
    }
}

/// Clears all of `keep` (`[B, C]`) but the targets and each row's `k` hardest kept columns.
///
/// # Panics
/// If the sizes do not fit.
#[track_caller]
pub fn k_hardest(scores: &Scores<'_>, k: usize, keep: &mut [f32]) {
    assert_eq!(keep.len(), scores.values.data.len(), "k_hardest: mask and scores differ in size");
    let mut words = Vec::with_capacity(scores.values.width);
    for (i, keep) in keep.chunks_exact_mut(scores.values.width).enumerate() {
        let target = scores.target[i];
        let row = scores.values.row(i).iter().zip(0u32..);
        words.clear();
        words.extend(row.filter(|&(_, j)| j != target && keep[j as usize] > 0.0).map(|(&s, j)| best(s, j)));
        if words.len() <= k {
            continue;
        }
        keep_largest(&mut words, k);
        let kept_target = keep[target as usize];
        keep.fill(0.0);
        keep[target as usize] = kept_target;
        words.iter().for_each(|&word| keep[unpack_best(word).0 as usize] = 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    const SCORES: [f32; 10] = [0.9, 0.5, 0.7, 0.7, 0.7, -1.0, -2.0, -3.0, -4.0, -5.0];

    fn kept(k: usize, mask: [u8; 10]) -> Vec<f32> {
        let mut edits = Edits::masked(mask.map(f32::from).to_vec());
        KHardest { k }.shape(&Scores::new(Matrix::new(&SCORES, 5), &[1, 4]), &mut edits);
        let once = edits.keep.clone();
        KHardest { k }.shape(&Scores::new(Matrix::new(&SCORES, 5), &[1, 4]), &mut edits);
        assert_eq!(edits.keep, once, "a second time changes nothing");
        once
    }

    #[test]
    fn the_target_and_the_k_highest_stay_ties_by_column() {
        assert_eq!(kept(2, [1; 10]), [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(kept(0, [1; 10]), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(kept(9, [1; 10]), [1.0; 10]);
    }

    #[test]
    fn the_target_does_not_count_among_the_k() {
        let mut keep = [1.0; 5];
        k_hardest(&Scores::new(Matrix::new(&SCORES[..5], 5), &[0]), 1, &mut keep);
        assert_eq!(keep, [1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_masked_column_is_never_brought_back() {
        let mask = [0, 1, 1, 0, 1, 1, 0, 0, 0, 1];
        assert_eq!(kept(1, mask), [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(kept(3, mask), mask.map(f32::from));
    }
}
