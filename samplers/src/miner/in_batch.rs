//! In-batch negatives: the positives of the others. B texts are encoded, each row meets U − 1 negatives, for
//! free.
//!
//! ```text
//! columns = the distinct labels of (π(1) … π(B)), ascending         target[i] = the column of π(i)
//! ```
//! The published NGAME code keeps duplicates (B columns) and masks them; one column for each label gives the
//! same negatives and encodes less.

use engine::Stream;

use super::{Batch, Drawn, Miner};

/// The positives of the batch are the candidates.
#[derive(Clone, Copy, Debug, Default)]
pub struct InBatch;

impl Miner for InBatch {
    fn draw(&self, _batch: &Batch<'_>, _stream: Stream) -> Drawn {
        Drawn::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miner::Candidates;

    #[test]
    fn each_label_is_one_column_and_every_row_finds_its_own() {
        let batch = Batch { queries: &[3, 1, 4, 0], positives: &[9, 2, 9, 5] };
        let got = Candidates::of(&InBatch, &batch, Stream::new(1, 0));
        assert_eq!((got.columns, got.target), (vec![2, 5, 9], vec![2, 0, 2, 1]));
        assert_eq!((got.own, got.chance), (None, None));
    }
}
