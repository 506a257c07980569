//! Head, torso and tail: labels by how often they were seen in training.
//!
//! Labels in the order of their frequency, the most frequent first (ties: the smaller id), are cut so that
//! each bin holds a third of the training positives: a label belongs to the bin in which its first positive
//! falls. The head is then a few labels, the tail most of them, with all that were never seen.

use std::ops::RangeInclusive;

/// A third of the training positives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bin {
    /// The most frequent labels.
    Head,
    /// Those between.
    Torso,
    /// The rarest, and the unseen.
    Tail,
}

impl Bin {
    /// All three, most frequent first.
    pub const ALL: [Bin; 3] = [Bin::Head, Bin::Torso, Bin::Tail];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Bin::Head => "head",
            Bin::Torso => "torso",
            Bin::Tail => "tail",
        }
    }
}

/// The bin of every label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrequencyBins {
    bins: Vec<Bin>,
    frequency: Vec<u32>,
}

impl FrequencyBins {
    /// Sorts labels into bins; `frequency[l]` is the number of training queries with label `l`.
    pub fn new(frequency: &[u32]) -> FrequencyBins {
        let total: u64 = frequency.iter().map(|&n| u64::from(n)).sum();
        let mut order: Vec<u32> = (0..frequency.len() as u32).collect();
        order.sort_by_key(|&label| std::cmp::Reverse(frequency[label as usize]));
        let mut bins = vec![Bin::Tail; frequency.len()];
        let mut before = 0;
        for label in order {
            let count = u64::from(frequency[label as usize]);
            bins[label as usize] = match 3 * before {
                _ if count == 0 => Bin::Tail,
                thirds if thirds < total => Bin::Head,
                thirds if thirds < 2 * total => Bin::Torso,
                _ => Bin::Tail,
            };
            before += count;
        }
        FrequencyBins { bins, frequency: frequency.to_vec() }
    }

    /// The bin of a label.
    ///
    /// # Panics
    /// If there is no such label.
    pub fn bin(&self, label: u32) -> Bin {
        self.bins[label as usize]
    }

    /// Those of `labels` that are in `bin`, in their order: a query's truth for a row of the table. Evaluate
    /// with [`super::Evaluator::skip_empty`], since most queries have none.
    pub fn only(&self, bin: Bin, labels: &[u32]) -> Vec<u32> {
        labels.iter().copied().filter(|&label| self.bin(label) == bin).collect()
    }

    /// The number of labels in a bin.
    pub fn labels(&self, bin: Bin) -> usize {
        self.bins.iter().filter(|&&b| b == bin).count()
    }

    /// The frequencies in a bin, rarest to most frequent; `None` for an empty bin.
    pub fn frequencies(&self, bin: Bin) -> Option<RangeInclusive<u32>> {
        let own = || self.bins.iter().zip(&self.frequency).filter(|(b, _)| **b == bin).map(|(_, &n)| n);
        Some(own().min()?..=own().max()?)
    }
}
