//! The curriculum of cluster sizes: first random batches, then small clusters, then larger and larger ones.
//!
//! ```text
//! wished size s(e) = size of the last (epoch, size) with epoch ≤ e;  none before the first: random batches
//! leaves      2^D,   D = min( ⌈log₂(N / s)⌉, ⌊log₂ N⌋ )              real mean size N / 2^D, in (s/2, s]
//! clusters are made anew at the first epoch of the list and every `refresh` epochs after it
//! ```
//! Small clusters put few hard negatives in a batch while the encoder, and so the clusters, are still poor;
//! large ones put many. Source: Dahiya et al., "NGAME: Negative Mining-aware Mini-batching for Extreme
//! Classification", WSDM 2023, and its published code, which rounds the number of leaves up to a power of
//! two, as here.

use engine::{Error, Result};

/// When clusters are made, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    sizes: Vec<(u32, u32)>,
    refresh: u32,
}

impl Schedule {
    /// `sizes` are (from epoch, wished cluster size) with rising epochs; `refresh` is the number of epochs
    /// between two clusterings.
    ///
    /// # Errors
    /// If the list is empty, its epochs do not rise, a size is 0, or `refresh` is 0.
    pub fn new(sizes: Vec<(u32, u32)>, refresh: u32) -> Result<Schedule> {
        if sizes.is_empty() || !sizes.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Error::input(
                "the curriculum of cluster sizes needs at least one entry and rising epochs",
            ));
        }
        if refresh == 0 || sizes.iter().any(|&(_, size)| size == 0) {
            return Err(Error::input(
                "cluster sizes and the epochs between two clusterings must be at least 1",
            ));
        }
        Ok(Schedule { sizes, refresh })
    }
    /// For a run of a few epochs: `warm_up` random epochs, then sizes 4, 8, 16, 32, one epoch each, new
    /// clusters every epoch. An encoder that was trained before needs no warm-up.
    pub fn short(warm_up: u32) -> Schedule {
        Schedule { sizes: (0..4).map(|i| (warm_up + i, 4 << i)).collect(), refresh: 1 }
    }
    /// One size for the whole run, after `warm_up` random epochs.
    pub fn fixed(size: u32, warm_up: u32, refresh: u32) -> Result<Schedule> {
        Schedule::new(vec![(warm_up, size)], refresh)
    }
    /// The published 300 epochs of NGAME for LF-AmazonTitles-131K: 10 random epochs, sizes doubling from 2 to
    /// 512, new clusters every 5 epochs.
    pub fn ngame_300() -> Schedule {
        Schedule::doubling(2, &[10, 20, 25, 50, 75, 100, 125, 150, 200])
    }
    /// The published 300 epochs of its successor DEXA (Dahiya et al., KDD 2023): sizes doubling from 8 to
    /// 1024.
    pub fn dexa_300() -> Schedule {
        Schedule::doubling(8, &[10, 25, 50, 75, 100, 125, 150, 200])
    }
    fn doubling(first: u32, epochs: &[u32]) -> Schedule {
        Schedule { sizes: epochs.iter().enumerate().map(|(i, &e)| (e, first << i)).collect(), refresh: 5 }
    }

    /// The wished size of a cluster in this epoch; `None` while batches are random.
    pub fn size(&self, epoch: u32) -> Option<u32> {
        self.sizes.iter().rev().find(|(from, _)| *from <= epoch).map(|&(_, size)| size)
    }
    /// The last epoch, up to this one, at whose start clusters are made; `None` while batches are random.
    pub fn made_at(&self, epoch: u32) -> Option<u32> {
        let first = self.sizes[0].0;
        epoch.checked_sub(first).map(|since| first + since / self.refresh * self.refresh)
    }
}

/// The depth D of the tree that cuts `rows` rows into clusters of about `size`: the smallest with 2^D·size ≥
/// rows, and no more than leaves every cluster a row.
pub fn depth(rows: usize, size: usize) -> u32 {
    let leaves = rows.div_ceil(size.max(1)).max(1);
    leaves.next_power_of_two().ilog2().min(rows.max(1).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The averages of the published code, N = 294,805, computed from its rule by hand.
    #[test]
    fn the_published_curriculum_gives_the_published_cluster_sizes() {
        let n = 294_805;
        let ngame = Schedule::ngame_300();
        let table =
            [(10, 18), (20, 17), (25, 16), (50, 15), (75, 14), (100, 13), (125, 12), (150, 11), (200, 10)];
        for (row, &(from, log_leaves)) in table.iter().enumerate() {
            let until = table.get(row + 1).map_or(300, |next| next.0);
            for epoch in from..until {
                let size = ngame.size(epoch).unwrap() as usize;
                assert_eq!(depth(n, size), log_leaves, "epoch {epoch}");
            }
        }
        assert_eq!((ngame.size(9), ngame.made_at(9)), (None, None));
        let means = [10, 25, 50, 75, 100, 125, 150, 200]
            .map(|e| n as f64 / (1u64 << depth(n, Schedule::dexa_300().size(e).unwrap() as usize)) as f64);
        for (mean, want) in means.iter().zip([4.5, 9.0, 18.0, 36.0, 72.0, 144.0, 288.0, 576.0]) {
            assert!((mean / want - 1.0).abs() < 0.01, "{mean} {want}");
        }
    }

    #[test]
    fn clusters_are_made_after_the_warm_up_and_every_few_epochs() {
        let made: Vec<_> = (8..22).map(|e| Schedule::ngame_300().made_at(e).unwrap_or(0)).collect();
        assert_eq!(made, [0, 0, 10, 10, 10, 10, 10, 15, 15, 15, 15, 15, 20, 20]);
        let short = Schedule::short(1);
        assert_eq!([0, 1, 2, 3, 4, 9].map(|e| short.size(e).unwrap_or(0)), [0, 4, 8, 16, 32, 32]);
        assert_eq!([0, 1, 2, 9].map(|e| short.made_at(e)), [None, Some(1), Some(2), Some(9)]);
    }

    #[test]
    fn a_tree_has_no_more_leaves_than_rows() {
        let table = [
            (0, 4, 0),
            (1, 4, 0),
            (2, 1, 1),
            (3, 1, 1),
            (5, 1, 2),
            (8, 1, 3),
            (9, 4, 2),
            (16, 4, 2),
            (7, 9, 0),
        ];
        for (rows, size, want) in table {
            assert_eq!(depth(rows, size), want, "{rows} rows, size {size}");
        }
    }

    #[test]
    fn a_senseless_curriculum_is_refused() {
        for (sizes, refresh) in [(vec![], 1), (vec![(3, 4), (3, 8)], 1), (vec![(0, 0)], 1), (vec![(0, 4)], 0)]
        {
            assert!(Schedule::new(sizes, refresh).is_err());
        }
        assert!(Schedule::fixed(8, 0, 5).is_ok());
    }
}
