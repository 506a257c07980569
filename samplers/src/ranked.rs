//! Ranked lists: for each query the labels that a model, or BM25, finds nearest to it, which are not its own.
//!
//! ```text
//! ids, scores [N, w]     best first; fewer than w where there are no more
//! positive [N]           the score of the query's lowest positive, by the same judge
//! ```
//! With several positives the lowest is what thresholds compare with, as sentence-transformers' `mine_hard_negatives`
//! does: a label that is below one of the positives may be a negative, one above all of them may not.

use crate::search::{Hits, NO_HIT};
use engine::{Error, Kind, Result};

/// What hard negatives are drawn from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranked {
    /// Labels in a list, at most (w).
    pub width: usize,
    /// Label ids, `[N, w]`; [`NO_HIT`] behind the last one.
    pub ids: Vec<u32>,
    /// Their scores, `[N, w]`; −∞ behind the last one.
    pub scores: Vec<f32>,
    /// The score of each query's lowest positive, `[N]`; −∞ where it has none.
    pub positive: Vec<f32>,
    /// The optimizer step whose parameters made the scores.
    pub made_at_step: u64,
}

impl Ranked {
    /// The hits of a search, and each query's lowest positive.
    ///
    /// # Panics
    /// If they are not of the same queries.
    pub fn new(hits: Hits, positive: Vec<f32>, made_at_step: u64) -> Ranked {
        assert_eq!(hits.ids.len(), positive.len() * hits.k, "Ranked: hits and positives differ in queries");
        Ranked { width: hits.k, ids: hits.ids, scores: hits.scores, positive, made_at_step }
    }
    /// The number of queries.
    pub fn rows(&self) -> usize {
        self.positive.len()
    }
    /// Labels and scores of query `q`, best first.
    pub fn row(&self, q: usize) -> (&[u32], &[f32]) {
        let at = q * self.width;
        let ids = &self.ids[at..at + self.width];
        let n = ids.iter().position(|&id| id == NO_HIT).unwrap_or(self.width);
        (&ids[..n], &self.scores[at..at + n])
    }
    /// Keeps of each list the labels that `wanted` says yes to: it is told the score of the lowest positive and that of
    /// the label.
    pub fn retain(&mut self, wanted: impl Fn(f32, f32) -> bool) {
        for q in 0..self.rows() {
            let (from, mut kept) = (q * self.width, 0);
            for at in from..from + self.width {
                let (id, score) = (self.ids[at], self.scores[at]);
                if id != NO_HIT && wanted(self.positive[q], score) {
                    (self.ids[from + kept], self.scores[from + kept]) = (id, score);
                    kept += 1;
                }
            }
            self.ids[from + kept..from + self.width].fill(NO_HIT);
            self.scores[from + kept..from + self.width].fill(f32::NEG_INFINITY);
        }
    }
    /// Leaves out the best `skip` of each list.
    pub fn skip(&mut self, skip: usize) {
        let skip = skip.min(self.width);
        for q in 0..self.rows() {
            let list = q * self.width..(q + 1) * self.width;
            self.ids[list.clone()].rotate_left(skip);
            self.scores[list.clone()].rotate_left(skip);
            self.ids[list.end - skip..list.end].fill(NO_HIT);
            self.scores[list.end - skip..list.end].fill(f32::NEG_INFINITY);
        }
    }
    /// Keeps the best `width` of each list.
    pub fn shorten(&mut self, width: usize) {
        let (from, to) = (self.width, self.width.min(width));
        let best = |q: usize| q * from..q * from + to;
        self.ids = (0..self.rows()).flat_map(best).map(|at| self.ids[at]).collect();
        self.scores = (0..self.rows()).flat_map(best).map(|at| self.scores[at]).collect();
        self.width = to;
    }
    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        4 * (self.ids.len() + self.scores.len() + self.positive.len())
    }
    /// Lists of a checkpoint, as they were.
    ///
    /// # Errors
    /// If they are not lists of so many queries over so many labels.
    pub fn checked(self, queries: usize, labels: usize) -> Result<Ranked> {
        let entries = self.width.checked_mul(queries);
        let fits = self.positive.len() == queries
            && Some(self.ids.len()) == entries
            && Some(self.scores.len()) == entries
            && self.ids.iter().all(|&id| id == NO_HIT || (id as usize) < labels);
        if fits {
            Ok(self)
        } else {
            Err(Error::new(Kind::Damaged, "the ranked lists do not fit the data set"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Ranked {
        let (ids, none) = (vec![7, 3, 9, 4, 5, NO_HIT], f32::NEG_INFINITY);
        Ranked::new(Hits { ids, scores: vec![0.9, 0.8, 0.1, 0.7, 0.2, none], k: 3 }, vec![0.85, 0.1], 4)
    }

    #[test]
    fn what_is_not_wanted_leaves_its_list_and_the_rest_moves_up() {
        let mut lists = two();
        lists.retain(|positive, score| score < positive + 0.2);
        assert_eq!((lists.row(0).0, lists.row(1)), (&[7, 3, 9][..], (&[5][..], &[0.2][..])));
        lists.skip(1);
        assert_eq!((lists.row(0).0, lists.row(1).0), (&[3, 9][..], &[][..]));
        let mut short = two();
        short.shorten(1);
        assert_eq!((short.width, &short.ids[..], &short.scores[..]), (1, &[7, 4][..], &[0.9, 0.7][..]));
        lists.skip(9);
        assert!(lists.row(0).0.is_empty());
    }

    #[test]
    fn lists_of_other_data_are_refused() {
        assert!(two().checked(2, 10).is_ok());
        assert!(two().checked(2, 9).is_err() && two().checked(3, 10).is_err());
    }
}
