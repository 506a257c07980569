//! The labels that a sampled step scores, what each of them is to each row, and how many labels it stands for.
//!
//! ```text
//! D      the positives of all rows, and hard negatives drawn for them
//! R      r labels drawn from the other L − |D|, without repetition
//! ω_l    1 for l in D,  (L − |D|)/r for l in R
//! E Σ_{l ∈ D ∪ R} ω_l f(s_il)  =  Σ_{all l} f(s_il)         for every row and every f, whatever D is
//! ```
//! So the sum over the negatives of a step has the expectation of the sum over all labels, and hard negatives in D make
//! its variance small: they are where f is large (after ASTRA's mixture of mined and uniform negatives). The cost does
//! not depend on L.

use crate::text_ids::TextIds;
use autograd::Relevance;
use data::DataSet;
use engine::Stream;
use samplers::mask::{Known, known_positives};
use std::collections::HashSet;

/// What a sampled step scores.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    /// Labels, one a column, ascending: `[m]`.
    pub(crate) labels: Vec<u32>,
    /// What they are to each row: `[n, m]`.
    pub(crate) relevance: Relevance,
    /// ω: `[m]`.
    pub(crate) omega: Vec<f32>,
}

impl Candidates {
    /// Puts the positives of `rows`, the `mined` labels and `uniform` others together, and marks for each row its own
    /// positives and what must not count as its negative.
    ///
    /// # Panics
    /// If a row has no label.
    pub(crate) fn compose(
        data: &DataSet,
        ids: &TextIds,
        rows: &[u32],
        mined: &[u32],
        uniform: usize,
        stream: Stream,
    ) -> Candidates {
        let of = ids.positives(data);
        let positives = rows.iter().flat_map(|&q| of.row(q as usize));
        let mut certain: Vec<u32> = positives.chain(mined).copied().collect();
        certain.sort_unstable();
        certain.dedup();
        let all = weighted(&certain, data.labels().len(), uniform, stream);
        let (labels, omega): (Vec<u32>, Vec<f32>) = all.into_iter().unzip();
        let relevance = relevance(data, ids, rows, &labels);
        Candidates { labels, relevance, omega }
    }
    /// Pairs that are neither positive nor negative.
    pub(crate) fn left_out(&self) -> usize {
        let Relevance { positive, negative } = &self.relevance;
        positive.iter().zip(&**negative).filter(|(p, n)| !**p && !**n).count()
    }
}

/// The `certain` labels (ascending) and `uniform` others of the labels 0..total, ascending, with their ω.
fn weighted(certain: &[u32], total: usize, uniform: usize, stream: Stream) -> Vec<(u32, f32)> {
    let drawn = others(certain, total, uniform, stream);
    let weight = (total - certain.len()) as f32 / drawn.len().max(1) as f32;
    let certain = certain.iter().map(|&label| (label, 1.0));
    let mut all: Vec<(u32, f32)> = certain.chain(drawn.into_iter().map(|label| (label, weight))).collect();
    all.sort_unstable_by_key(|&(label, _)| label);
    all
}

/// Up to `wanted` of the labels 0..total that are not `taken` (ascending), in the order in which they are drawn.
fn others(taken: &[u32], total: usize, wanted: usize, stream: Stream) -> Vec<u32> {
    let left = total - taken.len();
    if 2 * wanted.min(left) >= left {
        let mut all: Vec<u32> = (0..total as u32).filter(|l| taken.binary_search(l).is_err()).collect();
        stream.shuffle(&mut all);
        all.truncate(wanted);
        return all;
    }
    // More than half of what is left stays free, so few draws are in vain.
    let (mut seen, mut drawn, mut index) = (HashSet::new(), Vec::with_capacity(wanted), 0);
    while drawn.len() < wanted {
        let label = stream.below(index, total as u64) as u32;
        index += 1;
        if taken.binary_search(&label).is_err() && seen.insert(label) {
            drawn.push(label);
        }
    }
    drawn
}

fn relevance(data: &DataSet, ids: &TextIds, rows: &[u32], labels: &[u32]) -> Relevance {
    let column = |label: &u32| labels.binary_search(label).expect("the positives are among the candidates");
    let positives = ids.positives(data);
    let own = |q: u32| positives.row(q as usize);
    let targets: Vec<u32> = rows.iter().map(|&q| column(&own(q)[0]) as u32).collect();
    let known =
        Known { positives: ids.known(data), barred: ids.filtered(data), text_group: Some(&ids.labels) };
    let keep = known_positives(&known, rows, labels, &targets);
    let mut positive = vec![false; keep.len()];
    for (i, &q) in rows.iter().enumerate() {
        own(q).iter().for_each(|label| positive[i * labels.len() + column(label)] = true);
    }
    Relevance { positive: positive.into(), negative: keep.iter().map(|&k| k > 0.0).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_drawn_without_repetition_from_what_is_left() {
        let taken: Vec<u32> = (0..40).step_by(4).collect();
        for wanted in [0, 5, 14, 16, 30, 99] {
            let drawn = others(&taken, 40, wanted, Stream::new(1, 1));
            let distinct: HashSet<u32> = drawn.iter().copied().collect();
            assert_eq!((drawn.len(), distinct.len()), (wanted.min(30), wanted.min(30)));
            assert!(drawn.iter().all(|l| l % 4 != 0 && *l < 40));
        }
        let all: Vec<u32> = (0..40).collect();
        assert!(others(&all, 40, 5, Stream::new(1, 1)).is_empty(), "nothing is left");
    }

    #[test]
    fn the_weighted_sum_over_candidates_is_the_sum_over_all_labels_in_the_mean() {
        let certain: Vec<u32> = (0..300).step_by(7).collect();
        // Whatever f is: here a few labels have most of the sum, some of them certain, some not.
        let f = |l: u32| if l.is_multiple_of(29) { 50.0 } else { f64::from(l) / 300.0 };
        let all: f64 = (0..300).map(f).sum();
        for uniform in [20, 200, 257] {
            let sum = |step| {
                let found = weighted(&certain, 300, uniform, Stream::new(4, 1).at_step(step));
                found.iter().map(|&(l, w)| f64::from(w) * f(l)).sum::<f64>()
            };
            let sums: Vec<f64> = (0..4000).map(sum).collect();
            let mean = sums.iter().sum::<f64>() / 4000.0;
            let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 4000.0;
            let most = 5.0 * (variance / 4000.0).sqrt() + 1e-3;
            assert!((mean - all).abs() < most, "{uniform} others: {mean} for {all}, within {most}");
        }
    }

    #[test]
    fn every_label_that_is_left_has_the_same_chance() {
        let taken: Vec<u32> = (0..40).step_by(4).collect();
        for wanted in [5, 20] {
            let mut counts = [0u32; 40];
            for step in 0..6000 {
                let drawn = others(&taken, 40, wanted, Stream::new(1, 1).at_step(step));
                drawn.iter().for_each(|&l| counts[l as usize] += 1);
            }
            // Five standard deviations around the mean of a binomial.
            let (mean, share) = (6000.0 * wanted as f64 / 30.0, wanted as f64 / 30.0);
            let most = 5.0 * (mean * (1.0 - share)).sqrt();
            let off = |l: usize| (f64::from(counts[l]) - mean).abs();
            assert!((0..40).all(|l| if l % 4 == 0 { counts[l] == 0 } else { off(l) < most }), "{counts:?}");
        }
    }
}
