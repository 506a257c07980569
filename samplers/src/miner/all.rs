//! All labels: every row is scored against every label there is. No negative is missed, and none has to be looked for.
//!
//! ```text
//! shared = 0 … L − 1         target[i] = π(i)
//! ```
//! L texts are encoded in every step, and B·L scores are held (Gupta et al., "Dual-encoders for extreme multi-label
//! classification", ICLR 2024, who could afford it for a million labels on many accelerators). Encoded chunk by chunk
//! with cached gradients the activations of one chunk bound the memory; nothing bounds the time but L.

use engine::Stream;

use super::{Batch, Candidates, Miner};

/// Every label is a candidate.
#[derive(Clone, Copy, Debug)]
pub struct AllLabels {
    /// L.
    pub labels: u32,
}

impl Miner for AllLabels {
    fn columns(&self, _pairs: usize) -> usize {
        self.labels as usize
    }
    fn candidates(&self, batch: &Batch<'_>, _stream: Stream) -> Candidates {
        let (shared, target) = ((0..self.labels).collect(), batch.positives.to_vec());
        Candidates { shared, target, own: Vec::new(), own_width: 0, log_q: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_a_column_at_its_own_number() {
        let batch = Batch { queries: &[3, 1, 4], positives: &[2, 0, 2] };
        let miner = AllLabels { labels: 4 };
        let got = miner.candidates(&batch, Stream::new(1, 0));
        assert_eq!((got.shared, got.target, got.own_width), (vec![0, 1, 2, 3], vec![2, 0, 2], 0));
        assert_eq!(miner.columns(3), 4);
    }
}
