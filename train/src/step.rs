//! **The step**: the heart of the project, in the order in which data walks through it.
//!
//! ```text
//! rows → batch → embeddings → scores → shaped → loss → gradients → clip → update
//! ```
//! The composer has chosen the rows; everything else of a step can be read in [`Trainer::gradient`] and
//! [`Trainer::step`]. The loss has a tape of its own whose leaf is the matrix of embeddings: its gradient is then pulled
//! back through the encoder, at once or chunk by chunk ([`crate::exec`]), with the same result.

use crate::batch::Batch;
use crate::exec::Encoded;
use crate::trainer::Trainer;
use autograd::{ParamGrads, Tape, clip};
use engine::Result;

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// How many updates there have been, this one included.
    pub step: u64,
    /// The epoch in which it fell, from 0.
    pub epoch: u32,
    /// The loss before the update.
    pub loss: f64,
    /// The global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// Tokens that were encoded, no padding among them.
    pub tokens: u64,
    /// Pairs that were masked as known positives, duplicates or filtered.
    pub masked: u64,
}

impl Trainer {
    /// The loss of a batch and its gradient with respect to every parameter.
    pub(crate) fn gradient(&mut self, rows: &[u32]) -> Result<(Measured, ParamGrads)> {
        let stream = self.stream();
        let batch = Batch::compose(&self.data, &self.text_ids, rows, stream);
        let (encoder_tape, loss_tape) = (Tape::new(&self.engine), Tape::new(&self.engine));
        let encoded = Encoded::new(&encoder_tape, &self.model, &batch.texts, stream, self.exec);

        let embeddings = loss_tape.leaf(encoded.embeddings());
        let queries = embeddings.gather(batch.query_texts.clone());
        let labels = embeddings.gather(batch.label_texts.clone());
        let scores = queries.matmul_nt(labels);
        let keep = self.parts.shape(&scores.value(), &batch);
        let loss = self.parts.objective.loss(scores, &batch.targets, &keep);

        self.bank.write(&batch.rows, queries.value().data(), self.progress.step);
        let measured = Measured::new(loss, &batch);
        let pulled = loss_tape.backward_from(loss).take(embeddings);
        Ok((measured, encoded.backward(&self.engine, pulled)))
    }

    /// One update of the parameters from one or more batches of training queries.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite ([`engine::Kind::Numeric`]): nothing is updated then.
    pub fn step(&mut self, batches: &[&[u32]]) -> Result<StepReport> {
        let (mut total, mut grads) = self.gradient(batches[0])?;
        for rows in &batches[1..] {
            let (measured, more) = self.gradient(rows)?;
            total.add(&measured);
            grads.add(&self.engine, more);
        }
        grads.scale(&self.engine, 1.0 / batches.len() as f64);
        let grad_norm = clip::global_norm(&self.engine, &grads);
        self.demand_finite(total.loss, grad_norm, batches)?;
        clip::clip_to(&self.engine, &mut grads, grad_norm, self.config.train.clip);
        let rate = self.rate();
        self.optimizer.step(&self.engine, &mut self.model.params, &grads, rate as f32);
        self.progress.step += 1;
        Ok(total.report(self.progress, batches.len(), grad_norm, rate))
    }
}
