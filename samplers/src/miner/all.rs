//! All labels: every row is scored against every label there is. No negative is missed, and none has to be looked for.
//!
//! ```text
//! columns = 0 … L − 1         target[i] = π(i)
//! ```
//! L texts are encoded in every step, and B·L scores are held (Gupta et al., "Dual-encoders for extreme multi-label
//! classification", ICLR 2024, who could afford it for a million labels on many accelerators). Encoded chunk by chunk
//! with cached gradients the activations of one chunk bound the memory; nothing bounds the time but L.

use engine::Stream;

use super::{Batch, Drawn, Miner};

/// Every label is a candidate.
#[derive(Clone, Copy, Debug)]
pub struct AllLabels {
    /// L.
    pub labels: u32,
}

impl Miner for AllLabels {
    fn most(&self, _pairs: usize) -> usize {
        self.labels as usize
    }
    fn draw(&self, _batch: &Batch<'_>, _stream: Stream) -> Drawn {
        Drawn { shared: (0..self.labels).collect(), own: None }
    }
    fn chance(&self, _label: u32, _pairs: usize) -> Option<f64> {
        Some(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miner::Candidates;

    #[test]
    fn every_label_is_a_column_at_its_own_number() {
        let batch = Batch { queries: &[3, 1, 4], positives: &[2, 0, 2] };
        let got = Candidates::of(&AllLabels { labels: 4 }, &batch, Stream::new(1, 0));
        assert_eq!((got.columns, got.target, got.own), (vec![0, 1, 2, 3], vec![2, 0, 2], None));
    }
}
