//! Rankings without chance: score descending, then label ascending. NaN is below every number.

use std::cmp::Ordering;

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
