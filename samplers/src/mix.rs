//! Negatives that are nobody's: mixed from the hardest ones of a queue (MoCHi; Kalantidis, Sariyildiz, Pion,
//! Weinzaepfel, Larlus, "Hard negative mixing for contrastive learning", NeurIPS 2020, eq. 2 and 3).
//!
//! ```text
//! N_i      the hardest entries of the queue that are negatives of row i
//! h_m      = (α n_j + (1 − α) n_k) / ‖·‖      α ~ U(0, 1),   n_j, n_k ∈ N_i          m = 1 … pairs
//! h_m      = (α q_i + (1 − α) n_k) / ‖·‖      α ~ U(0, ½),   n_k ∈ N_i               m = 1 … with_query
//! ```
//! Embeddings of length 1 give mixtures of length 1; of others they are as long as their parts. They are constants: no
//! gradient passes to what they are mixed of. The query stays the smaller part, so that none becomes a positive.

use crate::{Matrix, tags};
use engine::Stream;

/// What is mixed for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// How many of the hardest entries are mixed from.
    pub hardest: usize,
    /// Mixtures of two entries.
    pub pairs: usize,
    /// Mixtures of the query and an entry.
    pub with_query: usize,
}

impl Mix {
    /// Mixtures a row.
    pub fn columns(&self) -> usize {
        self.pairs + self.with_query
    }
    /// The mixtures of every row, `[n, columns, d]`; zeros for a row without an entry to mix.
    ///
    /// `queries` are `[n, d]`, `queue` is `[K, d]`, `scores` are those of queries against the queue, `[n, K]`, and
    /// `keep` is 0 where an entry is no negative of a row, `[n, K]`.
    pub fn mixtures(
        &self,
        queries: Matrix<'_>,
        queue: Matrix<'_>,
        scores: Matrix<'_>,
        keep: &[f32],
        stream: Stream,
    ) -> Vec<f32> {
        let (width, stream) = (queries.width, stream.with_tag(tags::MIXED));
        let mut all = vec![0.0; queries.rows() * self.columns() * width];
        for (i, row) in all.chunks_exact_mut((self.columns() * width).max(1)).enumerate() {
            let hardest = self.hardest(scores.row(i), &keep[i * scores.width..][..scores.width]);
            if hardest.is_empty() {
                continue;
            }
            for (m, h) in row.chunks_exact_mut(width).enumerate() {
                let index = 3 * (i * self.columns() + m) as u64;
                let entry = |at| queue.row(hardest[stream.below(index + at, hardest.len() as u64) as usize]);
                let alpha = stream.uniform(index + 2);
                let (first, alpha) =
                    if m < self.pairs { (entry(1), alpha) } else { (queries.row(i), alpha / 2.0) };
                mix(h, first, entry(0), alpha as f32);
            }
        }
        all
    }
    /// The places of the highest scores that count, best first.
    fn hardest(&self, scores: &[f32], keep: &[f32]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..scores.len()).filter(|&k| keep[k] > 0.0).collect();
        let harder = |&a: &usize, &b: &usize| scores[b].total_cmp(&scores[a]).then(a.cmp(&b));
        if places.len() > self.hardest {
            places.select_nth_unstable_by(self.hardest, harder);
            places.truncate(self.hardest);
        }
        places.sort_unstable_by(harder);
        places
    }
}

/// h = α a + (1 − α) b, as long as its parts are in the mean; opposite ones that cancel out leave zero.
fn mix(h: &mut [f32], a: &[f32], b: &[f32], alpha: f32) {
    let parts = a.iter().zip(b).map(|(a, b)| alpha * a + (1.0 - alpha) * b);
    h.iter_mut().zip(parts).for_each(|(h, part)| *h = part);
    let length = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
    let (is, wanted) = (length(h), alpha * length(a) + (1.0 - alpha) * length(b));
    if is > 0.0 {
        h.iter_mut().for_each(|h| *h *= wanted / is);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four entries on the axes; the row's query points along the first, and its third entry is a positive.
    fn mixtures(mix: Mix, keep: [f32; 4]) -> Vec<Vec<f32>> {
        let queue: Vec<f32> = (0..4).flat_map(|k| (0..4).map(move |d| f32::from(k == d))).collect();
        let (query, scores) = ([1.0, 0.0, 0.0, 0.0], [0.9, 0.5, 0.8, 0.1]);
        let matrix = |data, width| Matrix::new(data, width);
        let all =
            mix.mixtures(matrix(&query, 4), matrix(&queue, 4), matrix(&scores, 4), &keep, Stream::new(5, 0));
        all.chunks(4).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn the_hardest_negatives_are_mixed_and_no_positive_is() {
        let mix = Mix { hardest: 2, pairs: 40, with_query: 0 };
        let all = mixtures(mix, [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(all.len(), 40);
        for h in &all {
            // Entries 0 and 1 are the hardest two that count.
            assert!(h[2] == 0.0 && h[3] == 0.0 && h[0] >= 0.0 && h[1] >= 0.0, "{h:?}");
            let length: f32 = h.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-6);
        }
        let both = all.iter().filter(|h| h[0] > 0.0 && h[1] > 0.0).count();
        assert!((5..35).contains(&both), "two different ones half of the time: {both}");
        let shares: Vec<f32> =
            all.iter().filter(|h| h[0] * h[1] > 0.0).map(|h| h[0] / (h[0] + h[1])).collect();
        assert!(shares.iter().any(|s| *s < 0.3) && shares.iter().any(|s| *s > 0.7), "{shares:?}");
    }

    #[test]
    fn the_query_is_the_smaller_part_of_a_mixture() {
        let mix = Mix { hardest: 9, pairs: 0, with_query: 40 };
        for h in mixtures(mix, [0.0, 1.0, 0.0, 0.0]) {
            // α q + (1 − α) n, α below one half.
            assert!(h[0] > 0.0 && h[0] < h[1] && h[2] == 0.0, "{h:?}");
        }
    }

    #[test]
    fn a_row_without_negatives_has_no_mixtures() {
        let mix = Mix { hardest: 9, pairs: 2, with_query: 2 };
        assert!(mixtures(mix, [0.0; 4]).concat().iter().all(|&x| x == 0.0));
        assert_eq!(mixtures(mix, [1.0; 4]), mixtures(mix, [1.0; 4]));
    }
}
