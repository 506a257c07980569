//! In-batch negatives: the positives of the others. B texts are encoded, each row meets U − 1 negatives, for
//! free.
//!
//! ```text
//! shared = the distinct labels of (π(1) … π(B)), ascending         target[i] = the column of π(i)
//! ```
//! The published NGAME code keeps duplicates (B columns) and masks them; one column for each label gives the
//! same negatives and encodes less.

use engine::Stream;

use super::{Batch, Candidates, Miner};

/// The positives of the batch are the candidates.
#[derive(Clone, Copy, Debug, Default)]
pub struct InBatch;

impl Miner for InBatch {
    fn candidates(&self, batch: &Batch<'_>, _stream: Stream) -> Candidates {
        let mut shared = batch.positives.to_vec();
        shared.sort_unstable();
        shared.dedup();
        let column = |label: &u32| shared.binary_search(label).expect("every positive is a column") as u32;
        let target = batch.positives.iter().map(column).collect();
        Candidates { shared, target, own: Vec::new(), own_width: 0, log_q: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_one_column_and_every_row_finds_its_own() {
        let batch = Batch { queries: &[3, 1, 4, 0], positives: &[9, 2, 9, 5] };
        let got = InBatch.candidates(&batch, Stream::new(1, 0));
        assert_eq!((got.shared, got.target), (vec![2, 5, 9], vec![2, 0, 2, 1]));
        assert_eq!((got.own_width, got.own.len(), got.log_q), (0, 0, None));
    }
}
