//! Hard negatives from ranked lists: of BM25 (DPR), of a model as it was (STAR), of the model as it was a while ago
//! (ANCE).
//!
//! ```text
//! top       the first k of the list
//! uniform   k of the list, every set of k with the same probability
//! window    k of the list without repetition, P(d) ∝ exp(−a (s(q,d) − s(q,p) − b)²)          SimANS
//! bins      k of the list without repetition, P(d) = 1 / (bins that hold a label · labels in the bin of d)    TAS-B
//! ```
//! Zhou et al., "SimANS: Simple ambiguous negatives sampling for dense text retrieval", EMNLP 2022, eq. 4: neither the
//! easy ones nor those that stand above the positive, which are often right. Their code has +b in place of −b; with
//! b = 0, its default, both are one. The k largest of ln P(d) + Gumbel noise are such a sample (Efraimidis and Spirakis
//! 2006, in logarithms), and no weight can underflow.
//!
//! Hofstätter, Lin, Yang, Lin, Hanbury, "Efficiently teaching an effective dense retriever with balanced topic aware
//! sampling", SIGIR 2021, section 3.2: the distances from the positive are cut into ten bins of equal width between the
//! query's smallest and largest, so that easy and hard ones are met alike, however many there are of each. Where all
//! scores are equal there is one bin.
//!
//! A list that is shorter than k gives all that it has; one that is empty, nothing.

use engine::Stream;

use super::{Batch, Drawn, Miner};
use crate::ranking::{best, keep_largest, unpack_best};
use crate::{Lists, Ranked, tags};

/// Bins of scores.
const BINS: usize = 10;

/// Draws from ranked lists.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it draws from. Query ids are its rows; without a row it draws nothing.
    pub lists: Ranked,
    /// Wants new ones after so many steps; 0 for none but the first.
    pub every: u64,
    /// Labels drawn for each row (k).
    pub count: usize,
    /// How.
    pub pick: Pick,
}

/// How labels are picked from a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    /// The best.
    Top,
    /// Any.
    Uniform,
    /// Easy and hard ones alike: a bin of scores, then a label in it.
    Bins,
    /// Those whose score is near the positive's.
    Window {
        /// a: how narrow the window is, in units of the score.
        narrow: f64,
        /// b: how far above the positive it lies.
        above: f64,
    },
}

impl Pick {
    /// What decides among the labels of a list with these scores, best first: the k with the largest are picked.
    /// `uniform` gives a number in [0, 1) for each place.
    fn keys(self, scores: &[f32], positive: f32, uniform: impl Fn(usize) -> f64) -> Vec<f32> {
        let noise = |place: usize| -(-uniform(place).max(f64::MIN_POSITIVE).ln()).ln();
        let window = |score: f32, narrow: f64, above: f64| {
            let off = f64::from(score) - f64::from(positive) - above;
            narrow * off * off
        };
        let places = 0..scores.len();
        match self {
            Pick::Top => places.map(|place| -(place as f32)).collect(),
            Pick::Uniform => places.map(|place| uniform(place) as f32).collect(),
            Pick::Window { narrow, above } => {
                places.map(|place| (noise(place) - window(scores[place], narrow, above)) as f32).collect()
            }
            Pick::Bins => {
                let bins: Vec<usize> = scores.iter().map(|&score| bin(score, scores)).collect();
                let mut held = [0usize; BINS];
                bins.iter().for_each(|&bin| held[bin] += 1);
                places.map(|place| (noise(place) - (held[bins[place]] as f64).ln()) as f32).collect()
            }
        }
    }
}

/// The bin of a score of a list. A list that somebody wrote need not be in order.
fn bin(score: f32, scores: &[f32]) -> usize {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let place = (score - least) / (most - least);
    // The largest lies on the upper edge of the last bin. Of equal scores the place is no number: the first bin.
    ((place * BINS as f32) as usize).min(BINS - 1)
}

impl Miner for Listed {
    fn most(&self, pairs: usize) -> usize {
        pairs * self.count
    }
    fn draw(&self, batch: &Batch<'_>, stream: Stream) -> Drawn {
        if self.lists.rows() == 0 {
            return Drawn::default();
        }
        let mut words = vec![];
        let rows = batch.queries.iter().zip(batch.positives).map(|(&query, &positive)| {
            let stream = stream.with_tag(tags::LISTED + u64::from(positive));
            let (ids, scores) = self.lists.row(query as usize);
            let lowest = self.lists.positive[query as usize];
            words.clear();
            let uniform = |place: usize| stream.uniform(u64::from(query) << 24 | place as u64);
            let keys = self.pick.keys(scores, lowest, uniform);
            words.extend(keys.into_iter().zip(ids).map(|(key, &id)| best(key, id)));
            keep_largest(&mut words, self.count);
            words.iter().map(|&word| unpack_best(word).0).collect::<Vec<u32>>()
        });
        Drawn { shared: vec![], own: Some(rows.collect::<Lists>()) }
    }
    fn wants_lists(&self, step: u64) -> bool {
        self.lists.rows() == 0 || self.every > 0 && step >= self.lists.made_at_step + self.every
    }
    fn install(&mut self, lists: Ranked) {
        self.lists = lists;
    }
    fn lists(&self) -> Option<&Ranked> {
        Some(&self.lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miner::Candidates;
    use crate::search::{Hits, NO_HIT};

    const NONE: f32 = f32::NEG_INFINITY;

    /// Query 0 has five labels at distances −0.4 … 0.4 from its positive, query 1 has one, query 2 none.
    fn lists() -> Ranked {
        let ids = [[10, 11, 12, 13, 14], [20, NO_HIT, NO_HIT, NO_HIT, NO_HIT], [NO_HIT; 5]].concat();
        let scores = [[0.9, 0.7, 0.5, 0.3, 0.1], [0.2, NONE, NONE, NONE, NONE], [NONE; 5]].concat();
        Ranked::new(Hits { ids, scores, k: 5 }, vec![0.5; 3], 0)
    }

    fn shares(pick: Pick, count: usize) -> [f64; 5] {
        let miner = Listed { lists: lists(), every: 0, count, pick };
        let mut counts = [0.0; 5];
        for step in 0..20_000 {
            let batch = Batch { queries: &[0], positives: &[1] };
            let drawn = miner.draw(&batch, Stream::new(3, 0).at_step(step)).own.expect("own");
            assert_eq!(drawn.row(0).len(), count);
            drawn.row(0).iter().for_each(|&label| counts[label as usize - 10] += 1.0 / 20_000.0);
        }
        counts
    }

    #[test]
    fn a_window_prefers_labels_near_its_middle_as_its_law_says() {
        for (narrow, above) in [(0.0, 0.0), (4.0, 0.0), (9.0, 0.2)] {
            let weight = |off: f64| (-narrow * (off - above) * (off - above)).exp();
            let weights = [0.4, 0.2, 0.0, -0.2, -0.4].map(weight);
            let total: f64 = weights.iter().sum();
            let got = shares(Pick::Window { narrow, above }, 1);
            // Five standard deviations of a share are 0.018 at most.
            (0..5).for_each(|i| assert!((got[i] - weights[i] / total).abs() < 0.018, "{got:?} {weights:?}"));
        }
    }

    #[test]
    fn bins_are_drawn_alike_however_many_labels_they_hold() {
        // From 0.1 to 0.9: 0.9 alone in the last bin, 0.5 in the middle, three in the first.
        let scores = [0.1, 0.9, 0.5, 0.17, 0.12];
        let mut lists = lists();
        lists.scores[..5].copy_from_slice(&scores);
        let of = |lists: Ranked| {
            let miner = Listed { lists, every: 0, count: 1, pick: Pick::Bins };
            let mut counts = [0.0; 5];
            for step in 0..20_000 {
                let batch = Batch { queries: &[0], positives: &[1] };
                let drawn = miner.draw(&batch, Stream::new(3, 0).at_step(step)).own.expect("own");
                counts[drawn.row(0)[0] as usize - 10] += 1.0 / 20_000.0;
            }
            counts
        };
        let got = of(lists.clone());
        let want = [9.0, 3.0, 3.0, 9.0, 9.0].map(|n: f64| 1.0 / n);
        (0..5).for_each(|i| assert!((got[i] - want[i]).abs() < 0.018, "{got:?} {want:?}"));
        lists.scores[..5].fill(0.4);
        assert!(of(lists).iter().all(|share| (share - 0.2).abs() < 0.018), "equal scores are one bin");
    }

    #[test]
    fn uniform_draws_are_uniform_and_without_repetition() {
        for count in [1, 3] {
            let got = shares(Pick::Uniform, count);
            assert!(got.iter().all(|share| (share - count as f64 / 5.0).abs() < 0.018), "{got:?}");
        }
        assert_eq!(shares(Pick::Top, 2), shares(Pick::Top, 2));
        assert!(shares(Pick::Top, 2)[..2].iter().all(|share| (share - 1.0).abs() < 1e-6));
    }

    #[test]
    fn short_lists_give_what_they_have_and_every_draw_is_a_column() {
        let miner = Listed { lists: lists(), every: 0, count: 2, pick: Pick::Top };
        let batch = Batch { queries: &[0, 1, 2, 1], positives: &[12, 5, 6, 7] };
        let found = Candidates::of(&miner, &batch, Stream::new(1, 0));
        assert_eq!(found.columns, [5, 6, 7, 10, 11, 12, 20]);
        let own = found.own.expect("own");
        assert_eq!(own, [&[3, 4][..], &[6], &[], &[6]].into_iter().collect::<Lists>());
    }

    #[test]
    fn lists_are_wanted_at_first_and_again_when_they_are_old() {
        let mut miner = Listed { lists: Ranked::default(), every: 0, count: 2, pick: Pick::Top };
        assert!(
            miner.wants_lists(0)
                && miner.draw(&Batch { queries: &[0], positives: &[1] }, Stream::new(1, 0)).own.is_none()
        );
        miner.install(Ranked { made_at_step: 7, ..lists() });
        assert!(!miner.wants_lists(7) && !miner.wants_lists(1000));
        miner.every = 5;
        assert!(!miner.wants_lists(11) && miner.wants_lists(12));
    }

    #[test]
    fn rows_of_one_query_draw_apart_and_depend_on_no_other_row() {
        let miner = Listed { lists: lists(), every: 0, count: 2, pick: Pick::Uniform };
        let draw = |queries: &[u32], positives: &[u32], step| {
            miner.draw(&Batch { queries, positives }, Stream::new(1, 0).at_step(step)).own.expect("own")
        };
        let differ = (0..50).filter(|&step| {
            let both = draw(&[0, 0], &[1, 2], step);
            assert_eq!(both.row(1), draw(&[1, 0, 0], &[3, 2, 1], step).row(1));
            both.row(0) != both.row(1)
        });
        assert!(differ.count() > 30, "two of five are the same one time in ten");
    }
}
