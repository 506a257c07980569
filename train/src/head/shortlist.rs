//! The labels nearest to each training query that are not its own: what hard negatives are drawn from.
//!
//! ```text
//! H_q   the S labels outside Y_q with the highest scores under the weights of the last refresh       [N, S]
//! ```
//! A refresh is an exact search, 2·N·L·d flops; between two refreshes a step only reads: 4·N·S bytes.

use engine::{Engine, Stream};
use samplers::search::{Limits, NO_HIT};
use samplers::{Csr, Items, Matrix};

/// The nearest foreign labels of every training query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shortlist {
    /// S.
    width: usize,
    /// [`NO_HIT`] where there are fewer.
    ids: Vec<u32>,
    /// The epoch for which it was made.
    epoch: Option<u32>,
}

impl Shortlist {
    /// An empty one of `width` labels a query.
    pub(crate) fn new(width: usize) -> Shortlist {
        Shortlist { width, ..Shortlist::default() }
    }
    /// Whether it must be made for this epoch.
    pub(crate) fn is_due(&self, epoch: u32, every: u32) -> bool {
        self.width > 0 && self.epoch.is_none_or(|made| epoch >= made + every)
    }
    /// Makes it: `known` are the labels that are no negatives of each query.
    pub(crate) fn refresh(
        &mut self,
        engine: &Engine,
        epoch: u32,
        (queries, labels): (Matrix<'_>, Items<'_>),
        known: Csr<'_>,
    ) {
        let limits = Limits { exclude: Some(known), only: None };
        self.ids = labels.search(engine, queries, self.width, limits).ids;
        self.epoch = Some(epoch);
    }
    /// The list of a query, with [`NO_HIT`] where it is shorter; empty before the first refresh.
    pub(crate) fn of(&self, query: u32) -> &[u32] {
        self.ids.get(query as usize * self.width..).map_or(&[], |list| &list[..self.width.min(list.len())])
    }
    /// `count` labels from the list of each of `rows`; a label may come twice.
    pub(crate) fn draw(&self, rows: &[u32], count: usize, stream: Stream) -> Vec<u32> {
        let mut drawn = Vec::with_capacity(rows.len() * count);
        for &q in rows.iter().filter(|_| !self.ids.is_empty()) {
            let place = |i: u64| stream.below(u64::from(q) << 16 | i, self.width as u64) as usize;
            drawn.extend((0..count as u64).map(|i| self.of(q)[place(i)]).filter(|&l| l != NO_HIT));
        }
        drawn
    }
    /// The epoch that it was made for and its labels, for a checkpoint.
    pub(crate) fn state(&self) -> (Option<u32>, &[u32]) {
        (self.epoch, &self.ids)
    }
    /// Takes what [`Shortlist::state`] gave; false if it is not of so many queries.
    #[must_use]
    pub(crate) fn restore(&mut self, (epoch, ids): (Option<u32>, Vec<u32>), queries: usize) -> bool {
        let fits = ids.len() == if epoch.is_some() { queries * self.width } else { 0 };
        if fits {
            (self.epoch, self.ids) = (epoch, ids);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_the_nearest_foreign_labels_and_draws_come_from_them() {
        let (queries, labels) = ([1.0f32, 0.0, 0.0, 1.0], [1.0f32, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.8]);
        let (queries, labels) = (Matrix::new(&queries, 2), Matrix::new(&labels, 2));
        let known = Csr { starts: &[0, 1, 2], items: &[0, 2] };
        let mut list = Shortlist::new(2);
        assert!(list.is_due(0, 3) && list.draw(&[0], 4, Stream::new(1, 1)).is_empty());
        list.refresh(&Engine::new(1), 0, (queries, labels.into()), known);
        assert_eq!(list.state(), (Some(0), &[1, 3, 3, 1][..]));
        assert!(!list.is_due(2, 3) && list.is_due(3, 3));
        let drawn = list.draw(&[0, 1], 20, Stream::new(1, 1));
        assert!(drawn.len() == 40 && [1, 3].iter().all(|l| drawn[..20].contains(l)), "{drawn:?}");
        assert_eq!(list.draw(&[1], 20, Stream::new(1, 1)), drawn[20..], "a query's draws are its own");
        let mut other = Shortlist::new(2);
        assert!(other.restore((Some(0), vec![1, 3, 3, 1]), 2) && !other.restore((Some(0), vec![1]), 2));
    }

    #[test]
    fn queries_with_few_foreign_labels_have_short_lists() {
        let (queries, labels) = ([1.0f32], [1.0f32, 2.0]);
        let known = Csr { starts: &[0, 1], items: &[0] };
        let mut list = Shortlist::new(3);
        list.refresh(&Engine::new(1), 0, (Matrix::new(&queries, 1), Matrix::new(&labels, 1).into()), known);
        let drawn = list.draw(&[0], 30, Stream::new(1, 1));
        assert!(!drawn.is_empty() && drawn.iter().all(|&l| l == 1));
    }
}
