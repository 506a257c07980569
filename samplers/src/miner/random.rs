//! Random negatives: labels drawn by a law that is known, so that a loss can be corrected for it.
//!
//! ```text
//! uniform        q_l = 1/L
//! log-uniform    q_l = ln((r + 2)/(r + 1)) / ln(L + 1)      r: the rank of l by frequency, from 0      (Zipf's law)
//! popularity     q_l = f_l^α / Σ f^α                        f: training queries of l;  α = ¾ in word2vec
//! chance         π_l = 1 − (1 − p_l)^(B−1) (1 − q_l)^K      p_l: the share of pairs whose positive is l
//! ```
//! K labels are drawn with repetition for the batch, k for each row. π_l is the probability that l is a column of some
//! other row's making, as its positive or by a draw: with β_l = −ln π_l the sum over the negatives of a row has the
//! expectation of the sum over all labels ([`crate::shaper::sampled`]).

use engine::Stream;

use super::{Batch, Drawn, Miner};
use crate::{Lists, tags};

/// By which law labels are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// All alike.
    Uniform,
    /// By their rank among the frequent ones.
    LogUniform,
    /// By a power α of their frequency.
    Popularity(f64),
}

/// Draws labels by a law.
#[derive(Clone, Debug)]
pub struct Random {
    /// Labels drawn for each row (k).
    count: usize,
    /// Labels in all (L).
    labels: u32,
    /// q_0 + … + q_l; none for the uniform law.
    cumulated: Option<Vec<f64>>,
    /// p.
    shares: Vec<f32>,
}

impl Random {
    /// Draws `count` labels for each row; `frequencies` holds the training queries of each label, `[L]`, `shares` the
    /// probability that a pair's positive is this label, `[L]`.
    ///
    /// # Panics
    /// If the two differ in length, or there is no label to draw.
    pub fn new(law: Law, count: usize, frequencies: &[u32], shares: Vec<f32>) -> Random {
        assert_eq!(frequencies.len(), shares.len(), "Random: one frequency and one share for each label");
        let total = frequencies.len() as f64;
        let weights: Option<Vec<f64>> = match law {
            Law::Uniform => None,
            Law::LogUniform => {
                let mut by_rank: Vec<u32> = (0..frequencies.len() as u32).collect();
                by_rank.sort_by_key(|&l| (std::cmp::Reverse(frequencies[l as usize]), l));
                let mut weights = vec![0.0; by_rank.len()];
                let zipf = |rank: usize| (1.0 / (rank as f64 + 1.0)).ln_1p() / (total + 1.0).ln();
                by_rank.iter().enumerate().for_each(|(rank, &l)| weights[l as usize] = zipf(rank));
                Some(weights)
            }
            Law::Popularity(alpha) => {
                let weight = |&f: &u32| if f == 0 { 0.0 } else { f64::from(f).powf(alpha) };
                Some(frequencies.iter().map(weight).collect())
            }
        };
        let cumulated = weights.map(|weights| {
            let sum: f64 = weights.iter().sum();
            assert!(sum > 0.0, "Random: no label can be drawn");
            let add = |at: &mut f64, weight| {
                *at += weight / sum;
                Some(*at)
            };
            weights.into_iter().scan(0.0, add).collect()
        });
        Random { count, labels: frequencies.len() as u32, cumulated, shares }
    }
    /// q_l.
    fn probability(&self, label: u32) -> f64 {
        let l = label as usize;
        match &self.cumulated {
            None => 1.0 / f64::from(self.labels),
            Some(sums) => sums[l] - if l == 0 { 0.0 } else { sums[l - 1] },
        }
    }
    fn one(&self, stream: Stream, index: u64) -> u32 {
        match &self.cumulated {
            None => stream.below(index, u64::from(self.labels)) as u32,
            Some(sums) => {
                let uniform = stream.uniform(index);
                // The last sum may be a little less than 1: what lies beyond is the last label that has a weight.
                let found = sums.partition_point(|&sum| sum <= uniform);
                let last = sums.partition_point(|&sum| sum < sums[sums.len() - 1]);
                found.min(last) as u32
            }
        }
    }
}

impl Miner for Random {
    fn most(&self, pairs: usize) -> usize {
        pairs * self.count
    }
    fn draw(&self, batch: &Batch<'_>, stream: Stream) -> Drawn {
        let stream = stream.with_tag(tags::RANDOM);
        let row =
            |i: u64| (0..self.count as u64).map(move |k| self.one(stream, i << 24 | k)).collect::<Vec<u32>>();
        Drawn { shared: vec![], own: Some((0..batch.queries.len() as u64).map(row).collect::<Lists>()) }
    }
    fn chance(&self, label: u32, pairs: usize) -> Option<f64> {
        let others = pairs.saturating_sub(1) as f64;
        let missed = others * (-f64::from(self.shares[label as usize])).ln_1p();
        let undrawn = (pairs * self.count) as f64 * (-self.probability(label)).ln_1p();
        Some(-(missed + undrawn).exp_m1())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miner::Candidates;

    const FREQUENCIES: [u32; 6] = [1, 9, 0, 4, 4, 30];

    fn random(law: Law, count: usize) -> Random {
        let shares = FREQUENCIES.map(|f| f as f32 / 48.0);
        Random::new(law, count, &FREQUENCIES, shares.to_vec())
    }

    #[test]
    fn labels_come_as_often_as_the_law_says() {
        // By hand: ranks of the labels by frequency are 4, 1, 5, 2, 3, 0.
        let zipf = [4.0, 1.0, 5.0, 2.0, 3.0, 0.0].map(|r: f64| ((r + 2.0) / (r + 1.0)).ln() / 7f64.ln());
        let roots = [1.0, 3.0, 0.0, 2.0, 2.0, 30f64.sqrt()].map(|w| w / (8.0 + 30f64.sqrt()));
        let cases = [(Law::Uniform, [1.0 / 6.0; 6]), (Law::LogUniform, zipf), (Law::Popularity(0.5), roots)];
        for (law, want) in cases {
            let miner = random(law, 3);
            let mut got = [0.0; 6];
            for step in 0..10_000 {
                let batch = Batch { queries: &[0, 1], positives: &[1, 5] };
                let drawn = miner.draw(&batch, Stream::new(9, 0).at_step(step)).own.expect("own");
                assert_eq!((drawn.row(0).len(), drawn.row(1).len()), (3, 3));
                drawn.items().iter().for_each(|&l| got[l as usize] += 1.0 / 60_000.0);
            }
            // Five standard deviations of a share are 0.011 at most.
            assert!((0..6).all(|l| (got[l] - want[l]).abs() < 0.011), "{law:?}: {got:?} {want:?}");
            assert!((0..6).all(|l| (miner.probability(l as u32) - want[l]).abs() < 1e-12), "{law:?}");
        }
    }

    #[test]
    fn chances_are_the_shares_of_batches_that_have_the_label() {
        let miner = random(Law::Popularity(0.5), 1);
        let mut seen = [0.0; 6];
        for step in 0..20_000u64 {
            let stream = Stream::new(2, 7).at_step(step);
            let positive = |i| {
                let mut at = stream.below(i, 48) as u32;
                FREQUENCIES
                    .iter()
                    .position(|&f| at.checked_sub(f).map(|rest| at = rest).is_none())
                    .expect("a label")
            };
            // The positives of the other two rows, and what is drawn for all three.
            let others = [0, positive(0) as u32, positive(1) as u32];
            let batch = Batch { queries: &[0, 1, 2], positives: &others };
            let drawn = miner.draw(&batch, stream).own.expect("own");
            let has = |l: u32| others[1..].contains(&l) || drawn.items().contains(&l);
            (0..6).filter(|&l| has(l)).for_each(|l| seen[l as usize] += 1.0 / 20_000.0);
        }
        for label in 0..6 {
            let want = miner.chance(label, 3).expect("a law");
            assert!((seen[label as usize] - want).abs() < 0.018, "label {label}: {seen:?}, {want}");
        }
    }

    #[test]
    fn a_label_that_no_query_has_is_drawn_by_the_uniform_law_alone() {
        let batch = Batch { queries: &[0; 99], positives: &[0; 99] };
        let columns = |law| Candidates::of(&random(law, 9), &batch, Stream::new(1, 0)).columns;
        assert_eq!(columns(Law::Uniform), [0, 1, 2, 3, 4, 5]);
        assert_eq!(columns(Law::Popularity(1.0)), [0, 1, 3, 4, 5]);
    }
}
