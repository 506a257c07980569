//! Corrects a softmax over sampled labels for the law by which they were sampled.
//!
//! ```text
//! β_ij = −ln π_j for the negatives, 0 for the target           π_j: the probability that label j is a column
//! E[ e^{z_t} + Σ_{j ∈ columns} e^{z_j}/π_j ]  =  Σ_{all labels} e^{z_l}
//! ```
//! (Horvitz and Thompson 1952; the idea of Bengio and Senécal, "Adaptive importance sampling to accelerate training
//! of a neural probabilistic language model", 2008.) The target is certain, so it counts once. The usual log q
//! correction subtracts ln(K q_j) from the target, too; a label that is drawn twice then counts twice. Ours counts
//! each column once, since a label is one column here however often it was drawn.
//!
//! Without it frequent labels, which are drawn more often, are pushed down more often: scores come to say how much more
//! likely a label is than it is by itself, which helps rare labels. So it is an option.

use super::{Edits, Scores, Shaper};

/// Adds −ln π to the logits of negatives.
#[derive(Clone, Copy, Debug)]
pub struct Sampled;

impl Shaper for Sampled {
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits) {
        let Some(chance) = scores.chance else { return };
        let log: Vec<f32> = chance.iter().map(|&chance| -chance.ln() as f32).collect();
        for (i, shifts) in edits.shifts().chunks_exact_mut(scores.values.width).enumerate() {
            for (j, (shift, log)) in shifts.iter_mut().zip(&log).enumerate() {
                *shift += if j as u32 == scores.target[i] { 0.0 } else { *log };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miner::random::{Law, Random};
    use crate::miner::{Batch, Candidates};
    use crate::{Lists, Matrix};
    use engine::Stream;

    /// Row 0 has label 0; the other rows draw theirs by frequency.
    #[test]
    fn the_partition_has_the_expectation_of_the_sum_over_all_labels() {
        let frequencies = [3, 8, 0, 1, 20, 8];
        let shares = frequencies.map(|f| f as f32 / 40.0);
        let logits = [0.3, -0.2, 1.4, 0.9, -0.5, 0.1f64];
        let all: f64 = logits.iter().map(|z| z.exp()).sum();
        for law in [Law::Uniform, Law::Popularity(1.0)] {
            let miner = Random::new(law, 1, &frequencies, shares.to_vec());
            let mut sums = vec![];
            for step in 0..20_000u64 {
                let stream = Stream::new(6, 1).at_step(step);
                let draw = |i| {
                    let mut at = stream.below(i, 40) as u32;
                    frequencies.iter().position(|&f| at.checked_sub(f).map(|rest| at = rest).is_none())
                };
                let positives = [0, draw(0).expect("a label") as u32, draw(1).expect("a label") as u32];
                let found =
                    Candidates::of(&miner, &Batch { queries: &[0, 1, 2], positives: &positives }, stream);
                let width = found.columns.len();
                let values = vec![0.0; 3 * width];
                let mut scores = Scores::new(Matrix::new(&values, width), &found.target);
                scores.chance = found.chance.as_deref();
                let mut edits = Edits::masked(vec![1.0; 3 * width]);
                Sampled.shape(&scores, &mut edits);
                let shift = edits.shift.expect("shifts");
                let term = |j: usize| (logits[found.columns[j] as usize] + f64::from(shift[j])).exp();
                sums.push((0..width).map(term).sum::<f64>());
            }
            let reachable: f64 = if law == Law::Uniform { all } else { all - logits[2].exp() };
            let n = sums.len() as f64;
            let mean = sums.iter().sum::<f64>() / n;
            let deviation = (sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n / n).sqrt();
            assert!((mean - reachable).abs() < 5.0 * deviation, "{law:?}: {mean}, {reachable}");
        }
    }

    #[test]
    fn where_no_law_is_known_nothing_is_shifted() {
        let (values, own) = ([0.0; 4], [[0u32]; 2].into_iter().collect::<Lists>());
        let mut scores = Scores::new(Matrix::new(&values, 2), &[0, 1]);
        scores.own = Some(&own);
        let mut edits = Edits::masked(vec![1.0; 4]);
        Sampled.shape(&scores, &mut edits);
        assert_eq!(edits, Edits::masked(vec![1.0; 4]));
    }
}
