//! What the model itself found of each query an epoch ago, as part of the target (PS-KD: Kim, Ji, Yoon, Hwang,
//! "Self-knowledge distillation with progressive refinement of targets", ICCV 2021, eq. 3 and 4).
//!
//! ```text
//! t = (1 − α_e) y + α_e p_{e−1}        α_e = α (e + 1)/E        e from 0, E epochs; p := y in the first
//! ```
//! p is kept for the `kept` most likely labels of a query. Columns change from batch to batch: what is remembered of a
//! label that is no column of the batch now, or that is masked, goes to the target, as does what was not kept. Where
//! every label is a column (`negatives.from=all`) and all are kept, this is the published method.

use super::State;
use crate::batch::Batch;
use crate::config::MemoryConfig;
use engine::{Result, Tensor};
use models::{Outcome, Terms};

/// Probabilities of every training query.
pub(crate) struct Past {
    share: f64,
    kept: usize,
    /// The most likely labels of each query, `[N, kept]`, the likeliest first.
    labels: Vec<u32>,
    /// Their probabilities; 0 where nothing is known.
    values: Vec<f32>,
}

impl Past {
    /// No more is kept of a query than there are labels.
    pub(crate) fn new(config: &MemoryConfig, queries: usize, labels: usize) -> Past {
        let kept = config.kept.min(labels);
        let entries = queries * kept;
        Past { share: config.past, kept, labels: vec![0; entries], values: vec![0.0; entries] }
    }
    /// What each row of a batch takes for right, the likeliest first.
    pub(super) fn likeliest(&self, batch: &Batch, outcome: &Outcome, width: usize) -> Vec<Vec<(u32, f32)>> {
        let one = |i: usize| {
            let row = &outcome.probabilities[i * width..][..batch.labels.len()];
            let mut all: Vec<(u32, f32)> = batch.labels.iter().copied().zip(row.iter().copied()).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(self.kept);
            all
        };
        (0..batch.rows.len()).map(one).collect()
    }
    pub(super) fn observe(&mut self, queries: &[u32], found: &[Vec<(u32, f32)>]) {
        for (&query, found) in queries.iter().zip(found) {
            let at = query as usize * self.kept;
            let (labels, values) =
                (&mut self.labels[at..at + self.kept], &mut self.values[at..at + self.kept]);
            values.fill(0.0);
            for (k, &(label, p)) in found.iter().enumerate() {
                (labels[k], values[k]) = (label, p);
            }
        }
    }
    /// The targets of a batch, `[n, C]`: of `epoch` of so many. None in the first, where there is no past.
    pub(crate) fn targets(
        &self,
        batch: &Batch,
        terms: &Terms,
        (epoch, epochs): (u32, u32),
    ) -> Option<Tensor> {
        if epoch == 0 {
            return None;
        }
        let share = (self.share * f64::from(epoch + 1) / f64::from(epochs.max(1))).min(self.share) as f32;
        let (n, width) = (batch.rows.len(), terms.keep.len() / batch.rows.len().max(1));
        let mut targets = vec![0.0; n * width];
        for (i, row) in targets.chunks_exact_mut(width.max(1)).enumerate() {
            let (target, at) = (batch.targets[i] as usize, batch.rows[i] as usize * self.kept);
            let mut rest = 1.0;
            for (label, &p) in self.labels[at..].iter().zip(&self.values[at..at + self.kept]) {
                let Ok(column) = batch.labels.binary_search(label) else { continue };
                if p > 0.0 && column != target && terms.keep[i * width + column] {
                    row[column] = share * p;
                    rest -= share * p;
                }
            }
            row[target] = rest;
        }
        Some(Tensor::from_vec([n, width], targets))
    }
    pub(super) fn state(&self) -> Vec<(String, Tensor)> {
        let n = self.labels.len();
        vec![
            ("past.labels".into(), Tensor::from_vec([n], self.labels.clone())),
            ("past.values".into(), Tensor::from_vec([n], self.values.clone())),
        ]
    }
    pub(super) fn restore(&mut self, state: &mut State) -> Result<()> {
        let n = self.labels.len();
        self.labels = state.numbers("past.labels", n)?;
        self.values = state.numbers("past.values", n)?;
        Ok(())
    }
    pub(super) fn bytes(&self) -> usize {
        8 * self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    /// Rows of queries 4 and 5 against labels 1, 3 and 8, of which 3 and 8 are their positives.
    fn batch() -> Batch {
        testing::batch(vec![1, 3, 8], [1, 2])
    }

    #[test]
    fn what_is_no_column_or_masked_goes_to_the_target() {
        let config = MemoryConfig { past: 0.8, kept: 3, ..MemoryConfig::default() };
        let mut past = Past::new(&config, 6, 9);
        // Of query 4 label 7 is no column now; of query 5 label 1 is masked.
        past.observe(&[4, 5], &[vec![(7, 0.5), (1, 0.3), (3, 0.2)], vec![(1, 0.6), (3, 0.4)]]);
        let keep = [true, true, true, false, true, true];
        let terms = Terms::masked(batch().targets, keep.into());
        assert!(past.targets(&batch(), &terms, (0, 4)).is_none(), "nothing is known in the first epoch");
        // α = 0.8 · 2/4
        let got = past.targets(&batch(), &terms, (1, 4)).expect("targets");
        let want = [0.12, 0.88, 0.0, 0.0, 0.16, 0.84];
        assert!(got.to_f64().iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?}");
    }

    #[test]
    fn the_likeliest_labels_of_each_row_are_kept() {
        let config = MemoryConfig { past: 0.5, kept: 2, ..MemoryConfig::default() };
        let past = Past::new(&config, 6, 9);
        // A fourth column is no label of the batch.
        let probabilities = vec![0.2, 0.3, 0.1, 0.4, 0.1, 0.1, 0.7, 0.1];
        let found = past.likeliest(&batch(), &Outcome { losses: vec![0.0; 2], probabilities }, 4);
        assert_eq!(found, [[(3, 0.3), (1, 0.2)], [(8, 0.7), (1, 0.1)]]);
        assert_eq!(Past::new(&MemoryConfig { kept: 99, ..config }, 6, 9).kept, 9);
    }
}
