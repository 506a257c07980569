//! The step of a cross-encoder.
//!
//! ```text
//! rows → batch → lists → pairs → numbers → loss of each list → gradients → clip → update
//! ```
//! The loss of a list knows no other list, so the gradient of a batch is the sum of those of its lists, however many
//! are read at once (`train.chunk` pairs, a list at least): nothing is read twice, and dropout goes by the place of a
//! pair in the batch.

use super::lists::{Pairs, lists};
use crate::batch::Batch;
use crate::exec::Record;
use crate::step::{Gradient, Measured, StepReport};
use crate::trainer::Trainer;
use autograd::{Grad, ParamGrads};
use engine::{Result, Stream};
use models::{Scope, Terms};
use samplers::Lists;

impl Trainer {
    /// One update of the cross-encoder, from one or more batches of training queries.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite ([`engine::Kind::Numeric`]) and the run may not pass over it, or a
    /// text cannot be spelled: nothing has changed then.
    ///
    /// # Panics
    /// If the run has no cross-encoder.
    pub(crate) fn cross_step(&mut self, batches: &[Vec<u32>], record: Record<'_>) -> Result<StepReport> {
        let (grads, report) = self.gradient_of_pairs(batches, record)?;
        if !report.is_finite() {
            return self.pairs_ran_away(report, batches);
        }
        if !matches!(record, Record::Watched(_)) {
            let cross = self.cross.as_mut().expect("the run has a cross-encoder");
            cross.optimizer.step(&self.engine, &mut cross.judge.params, &grads, report.rate as f32);
            self.advance(batches.len());
        }
        Ok(report)
    }
    /// The loss of the cross-encoder on the next batch, and its gradient with respect to all parameters, one after
    /// another, without an update: for tests and for the curious.
    ///
    /// # Errors
    /// If the observer wants to stop while lists are made.
    ///
    /// # Panics
    /// If the run has no cross-encoder.
    pub fn cross_gradient_of_next_batch(
        &mut self,
        observer: &mut dyn crate::Observer,
    ) -> Result<(f64, Vec<f64>)> {
        let batches = self.next_batches(observer)?;
        let (measured, grads) = self.of_pairs(&batches[0], self.stream(0), Record::Plain)?;
        let params = &self.cross.as_ref().expect("the run has a cross-encoder").judge.params;
        let one = |id| grads.get(id).map_or_else(|| vec![0.0; params.value(id).len()], Grad::to_f64);
        Ok((measured.loss, params.ids().flat_map(one).collect()))
    }
    /// The gradient of one or more batches, clipped, and what a step with it would report.
    pub(crate) fn gradient_of_pairs(
        &self,
        batches: &[Vec<u32>],
        record: Record<'_>,
    ) -> Result<(ParamGrads, StepReport)> {
        let of_pairs = |rows: &[u32], stream| {
            let (measured, model) = self.of_pairs(rows, stream, record)?;
            Ok((measured, Gradient { model, ..Gradient::default() }))
        };
        let (_, Gradient { model: grads, .. }, report) = self.accumulated(batches, of_pairs)?;
        let rate = self.rate() / self.config.train.lr * self.config.cross.lr;
        Ok((grads, StepReport { rate, ..report }))
    }
    /// From the ids of a batch to the gradient of the cross-encoder.
    fn of_pairs(&self, rows: &[u32], stream: Stream, record: Record<'_>) -> Result<(Measured, ParamGrads)> {
        let cross = self.cross.as_ref().expect("the run has a cross-encoder");
        let batch = Batch::compose(self.source(), rows, stream);
        let of = lists(&batch, self.config.negatives.own);
        let pairs = Pairs::of(&cross.judge, &self.data, &batch, &of)?;
        let weights = batch.row_weight.clone().unwrap_or_else(|| vec![1.0; batch.rows.len()]);
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let (mut grads, mut numbers, mut loss, mut anomaly) = (ParamGrads::default(), vec![], 0.0, None);
        for group in pairs.groups(self.config.train.chunk) {
            let tape = record.tape(&self.engine, "cross-encoder");
            let (params, recompute) = (&cross.judge.params, self.config.model.recompute);
            let scope = Scope { dropout: Some(stream), recompute, ..Scope::new(&tape, params) };
            let from = pairs.starts[group.start];
            let range = from as usize..pairs.starts[group.end] as usize;
            let read = cross.judge.model.score(&scope, &pairs.part(range), from);
            numbers.extend_from_slice(read.value().data::<f32>());
            let starts: Vec<u32> =
                pairs.starts[group.start..=group.end].iter().map(|&start| start - from).collect();
            let part = cross.loss.loss(read, &starts, &weights[group]).scale(1.0 / total);
            loss += part.value().item();
            grads.add(&self.engine, tape.backward_from(part).into_params());
            anomaly = anomaly.or(tape.anomaly());
        }
        let (terms, scores) = as_matrix(&batch, &of, &numbers);
        Ok((
            Measured {
                anomaly,
                loss,
                tokens: pairs.tokens() as u64,
                texts: pairs.len() as u64,
                masked: batch.masked() as u64,
                negatives: terms.negatives(),
                hardness: terms.hardness(&scores),
                found: self.truth.as_ref().map(|truth| truth.found(&batch, &terms.keep)),
                ..Measured::default()
            },
            grads,
        ))
    }
    fn pairs_ran_away(&mut self, report: StepReport, batches: &[Vec<u32>]) -> Result<StepReport> {
        let mut found = (None, 0);
        for (micro, rows) in batches.iter().enumerate() {
            let anomaly = self.of_pairs(rows, self.stream(micro), Record::Checked)?.0.anomaly;
            if anomaly.is_some() {
                found = (anomaly, micro);
                break;
            }
        }
        let error = self.not_finite(&report, "the loss of the cross-encoder", &batches[found.1], found.0);
        let error = error
            .help("the parameters are those before this step; try a lower cross.lr, or cross.loss=pairs");
        self.pass_over(error, report, batches.len())
    }
}

/// The numbers of lists in the columns of the batch, and which of these count.
fn as_matrix(batch: &Batch, lists: &Lists, numbers: &[f32]) -> (Terms, Vec<f32>) {
    let width = batch.keep.len() / batch.rows.len().max(1);
    let (mut keep, mut scores) = (vec![false; batch.keep.len()], vec![0.0; batch.keep.len()]);
    let mut numbers = numbers.iter();
    for i in 0..batch.rows.len() {
        for &column in lists.row(i) {
            let at = i * width + column as usize;
            (keep[at], scores[at]) = (true, *numbers.next().expect("a number for each pair"));
        }
    }
    (Terms::masked(batch.targets.clone(), keep.into()), scores)
}
