//! Rankings without chance: score descending, then label ascending. NaN is below every number.

use std::cmp::Ordering;

/// Which of several labels with equal scores comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The one with the smaller number.
    #[default]
    Number,
    /// The one with the larger id, byte by byte: the order of trec_eval, whatever ranks a run says.
    Trec,
}

impl Ties {
    /// Brings labels with equal scores into this order; `ranking` is by score and, where they are equal, by number.
    /// `id` gives the id of a label.
    pub fn settle<'a>(self, ranking: &mut [(u32, f32)], id: impl Fn(u32) -> &'a str) {
        if self == Ties::Trec {
            ranking
                .chunk_by_mut(|a, b| a.1 == b.1)
                .for_each(|equal| equal.sort_by(|a, b| id(b.0).cmp(id(a.0))));
        }
    }
    /// Whether a longer ranking may have other labels among its first `k`: the scores of the k-th and of the last are
    /// equal, and this order is not that of the numbers.
    pub fn are_cut(self, ranking: &[(u32, f32)], k: usize) -> bool {
        let kth = k.checked_sub(1).and_then(|at| ranking.get(at));
        self == Ties::Trec && kth.zip(ranking.last()).is_some_and(|(kth, last)| kth.1 == last.1)
    }
}

/// Which of two candidates (label, score) comes first. −0 and +0 are a tie.
fn order(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    let by_score = b.1.partial_cmp(&a.1).unwrap_or_else(|| a.1.is_nan().cmp(&b.1.is_nan()));
    by_score.then(a.0.cmp(&b.0))
}

/// Sorts candidates (label, score) into their ranking, in place.
pub fn rank(candidates: &mut [(u32, f32)]) {
    candidates.sort_unstable_by(order);
}

/// The first `k` labels of the ranking, all where there are fewer.
pub fn top_k(scores: &[(u32, f32)], k: usize) -> Vec<u32> {
    let mut candidates = scores.to_vec();
    if k == 0 {
        return Vec::new();
    }
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, order);
        candidates.truncate(k);
    }
    rank(&mut candidates);
    candidates.into_iter().map(|(label, _)| label).collect()
}
