//! **Who shares a batch.** A composer lays ids in an order and cuts the order into batches: ids of training queries,
//! for each of which a label is drawn then, or of labels, for each of which a query is.
//!
//! ```text
//! order  7 2 9 | 4 0 1 | 8 3        ends  3 6 8        batch b = order[ends[b−1] .. ends[b]]
//! ```
//! A plan is a function of the composer's state, the epoch and the seed. Planning changes nothing, so a
//! resumed run plans its epoch again and meets the same batches.

use engine::{Engine, Result, Stream};

use crate::Snapshot;

pub mod cluster;
pub mod schedule;
pub mod shuffled;
pub mod split;
pub mod tree;

/// Decides which rows meet in a batch.
pub trait Composer: Send {
    /// Whether it wants embeddings before [`plan`](Composer::plan) of this epoch; no longer once they were given.
    fn wants_embeddings(&self, epoch: u32) -> bool;
    /// Takes the embeddings that it [wanted](Composer::wants_embeddings) for this epoch. The next plan uses them.
    /// Of `stream` the seed counts; step and tag are the composer's own.
    ///
    /// # Panics
    /// If the snapshot has no row for some id.
    fn refresh(&mut self, engine: &Engine, epoch: u32, snapshot: &Snapshot<'_>, stream: Stream);
    /// The batches of this epoch. Of `stream` the seed counts.
    fn plan(&self, epoch: u32, stream: Stream) -> Plan;
    /// All that a checkpoint must hold to plan the same batches again.
    fn state(&self) -> State;
    /// Takes back what [`state`](Composer::state) gave.
    ///
    /// # Errors
    /// If the state was not made over the same queries.
    fn restore(&mut self, state: State) -> Result<()>;
}

/// The batches of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Ids, batch after batch.
    pub order: Vec<u32>,
    /// Where each batch ends in `order`.
    pub ends: Vec<u32>,
}

impl Plan {
    /// Cuts an order into batches.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn new(mut order: Vec<u32>, cut: Cut) -> Plan {
        assert!(cut.batch > 0, "Plan: the batch size is 0");
        if cut.last == Last::Drop && order.len() > cut.batch {
            order.truncate(order.len() / cut.batch * cut.batch);
        }
        let ends =
            (0..order.len().div_ceil(cut.batch)).map(|b| ((b + 1) * cut.batch).min(order.len()) as u32);
        Plan { ends: ends.collect(), order }
    }
    /// The number of batches.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// True when there is no batch.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// The ids of batch `b`.
    pub fn batch(&self, b: usize) -> &[u32] {
        let start = if b == 0 { 0 } else { self.ends[b - 1] };
        &self.order[start as usize..self.ends[b] as usize]
    }
}

/// How an order becomes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Rows in a batch.
    pub batch: usize,
    /// What happens to the rest that fills no batch.
    pub last: Last,
}

/// The last batch of an epoch, if it is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It is trained on as it is. Its in-batch negatives are fewer.
    Keep,
    /// Its queries wait for another epoch. An epoch shorter than one batch is kept all the same.
    Drop,
}

/// The partition that a composer has in force, as plain data for a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Ids, cluster after cluster. Empty if the composer has formed no clusters (yet).
    pub order: Vec<u32>,
    /// Where each cluster ends in `order`.
    pub ends: Vec<u32>,
    /// The epoch at whose start the clusters were made.
    pub epoch: u32,
    /// The optimizer step of the embeddings they were made from.
    pub made_at_step: u64,
}

impl State {
    /// The size of each cluster, rising.
    pub fn sizes(&self) -> Vec<u32> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut sizes: Vec<u32> = self.ends.iter().zip(starts).map(|(end, start)| end - start).collect();
        sizes.sort_unstable();
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_cut_into_batches_and_the_rest_kept_or_dropped() {
        let plan = |n: u32, last| Plan::new((0..n).collect(), Cut { batch: 4, last }).ends;
        assert_eq!((plan(8, Last::Keep), plan(8, Last::Drop)), (vec![4, 8], vec![4, 8]));
        assert_eq!((plan(9, Last::Keep), plan(9, Last::Drop)), (vec![4, 8, 9], vec![4, 8]));
        assert_eq!((plan(3, Last::Keep), plan(3, Last::Drop)), (vec![3], vec![3]));
        assert!(Plan::new(vec![], Cut { batch: 4, last: Last::Keep }).is_empty());
    }

    #[test]
    fn the_batches_of_a_plan_are_its_order_in_pieces() {
        let plan = Plan::new(vec![7, 2, 9, 4, 0], Cut { batch: 2, last: Last::Keep });
        let batches: Vec<_> = (0..plan.len()).map(|b| plan.batch(b).to_vec()).collect();
        assert_eq!(batches, [vec![7, 2], vec![9, 4], vec![0]]);
    }
}
