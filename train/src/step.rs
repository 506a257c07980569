//! **The step**: the heart of the project, in the order in which data walks through it.
//!
//! ```text
//! rows → batch → embeddings → scores → shaped → loss → gradients → clip → update
//! ```
//! The composer has chosen the rows; everything else of a step can be read in [`Trainer::walk`] and
//! [`Trainer::step`]. The loss has a tape of its own whose leaf is the matrix of embeddings: its gradient is then
//! pulled back through the encoder, at once or chunk by chunk ([`crate::exec`]), with the same result.

use crate::batch::Batch;
use crate::exec::{Encoded, Record, Watches};
use crate::memory::Note;
use crate::observer::Observer;
use crate::trainer::Trainer;
use crate::truth::Found;
use autograd::{Anomaly, Grad, ParamGrads, Params, Var, clip_together};
use engine::profile::Way;
use engine::{Result, Stream};
use models::Terms;

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
    /// Texts that were encoded, by the model and by a guide; twice where that is done in chunks.
    pub texts: u64,
    /// Pairs that were masked as known positives, duplicates or filtered.
    pub masked: u64,
    /// Negatives that the loss sees of a row once every rule was applied, in the mean; not counted for a classifier.
    pub negatives: Option<f64>,
    /// What a row's positive and the hardest of its negatives score, in the mean; not counted for a classifier.
    pub hardness: Option<(f64, f64)>,
    /// The share of them that answer their query, where `data.truth` tells; of labels against queries alone.
    pub false_negatives: Option<f64>,
    /// Why it was passed over and changed nothing, where its numbers ran away and the run may go on
    /// ([`crate::config::TrainConfig::skip_nonfinite`]).
    pub skipped: Option<String>,
}

impl Trainer {
    /// The loss of what a batch was composed of and its gradient with respect to every parameter.
    fn gradient(&self, rows: &[u32], stream: Stream, record: Record<'_>) -> Result<(Measured, Gradient)> {
        let batch = self.engine.span("batch", Way::Beside, || Batch::compose(self.source(), rows, stream));
        self.walk(&batch, stream, record)
    }

    /// From the ids and tokens of a batch to the gradient: encode, score, shape, lose, go back.
    fn walk(&self, batch: &Batch, stream: Stream, record: Record<'_>) -> Result<(Measured, Gradient)> {
        let [encoder_tape, loss_tape] = ["encoder", "loss"].map(|name| record.tape(&self.engine, name));
        let how = (stream, self.exec);
        let encoded = Encoded::new(&encoder_tape, &self.network, &batch.texts, how, record);

        let embeddings = loss_tape.leaf(encoded.embeddings());
        let keys = self.memory.embed_keys(&self.engine, batch);
        let columns = batch.columns(embeddings, keys.as_ref(), self.network.auxiliary.as_ref());
        let scores = batch.scores(embeddings, columns, self.parts.similarity);
        let taught = self.taught(batch)?;
        // What is looked at beside the tapes is looked at by the CPU.
        let seen = |var: Var<'_>| var.value().to_cpu();
        let scored = seen(scores);
        let terms = self.parts.shape(&scored, taught, batch);
        let epochs = (self.progress.epoch, self.epochs());
        let terms = self.memory.shape(&self.engine, terms, batch, &scored, epochs);
        let loss = self.parts.objective.loss(scores, &terms);

        let banked = self.bank.is_some().then(|| batch.composed(&seen(embeddings), &seen(columns)));
        let banked = banked.into_iter().map(|(ids, values)| (ids.to_vec(), values)).collect();
        let objective = &*self.parts.objective;
        let notes =
            vec![self.memory.note(&self.engine, batch, &columns.value(), (objective, &scored, &terms))];
        let mut back = loss_tape.backward_from(loss);
        let pulled = back.take(embeddings).expect("a loss depends on its embeddings");
        let vectors = back.into_params();
        let texts = self.texts_encoded(batch);
        let (model, anomaly) = encoded.backward(&self.engine, pulled);
        let anomaly = first(anomaly, loss_tape.anomaly());
        let found = self.truth.as_ref().map(|truth| truth.found(batch, &terms.keep));
        let hardness = terms.hardness(scored.data());
        let measured =
            Measured { anomaly, found, notes, banked, hardness, ..Measured::of(loss, batch, &terms, texts) };
        Ok((measured, Gradient { model, vectors }))
    }

    /// The gradient of one or more batches, clipped, and what a step with it would report.
    fn clipped_gradient(
        &self,
        batches: &[Vec<u32>],
        record: Record<'_>,
    ) -> Result<(Measured, Gradient, StepReport)> {
        self.accumulated(batches, |rows, stream| self.gradient(rows, stream, record))
    }

    /// [`Trainer::clipped_gradient`], of whatever gives the gradient of one batch.
    pub(crate) fn accumulated(
        &self,
        batches: &[Vec<u32>],
        gradient: impl Fn(&[u32], Stream) -> Result<(Measured, Gradient)>,
    ) -> Result<(Measured, Gradient, StepReport)> {
        let (mut total, mut grads) = (Measured::default(), Gradient::default());
        for (micro, rows) in batches.iter().enumerate() {
            let (measured, more) = gradient(rows, self.stream(micro))?;
            total.add(measured);
            grads.model.add(&self.engine, more.model);
            grads.vectors.add(&self.engine, more.vectors);
        }
        let mut sets = [&mut grads.model, &mut grads.vectors];
        sets.iter_mut().for_each(|grads| grads.scale(&self.engine, 1.0 / batches.len() as f64));
        let grad_norm = clip_together(&self.engine, &mut sets, self.config.train.norm_max());
        let report = total.report(self, batches.len(), grad_norm);
        Ok((total, grads, report))
    }

    /// What a step on these batches tells, on tapes that are watched. An encoder alone is not updated; a head learns
    /// while it goes.
    pub(crate) fn watched_step(&mut self, batches: &[Vec<u32>], watches: &Watches) -> Result<StepReport> {
        match self.head {
            Some(_) => self.head_step(&batches[0], Record::Watched(watches)),
            None if self.cross_learns() => self.cross_step(batches, Record::Watched(watches)),
            None => Ok(self.clipped_gradient(batches, Record::Watched(watches))?.2),
        }
    }

    /// Takes the memory of the system that the step of these batches needs; nothing changes.
    ///
    /// # Errors
    /// If a cross-encoder cannot spell a text.
    pub(crate) fn rehearse(&self, batches: &[Vec<u32>]) -> Result<()> {
        match self.cross_learns() {
            true => drop(self.gradient_of_pairs(batches, Record::Plain)?),
            false => drop(self.clipped_gradient(batches, Record::Plain)?),
        }
        self.engine.settle();
        Ok(())
    }

    /// One update of the parameters, from one or more batches of training queries.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite ([`engine::Kind::Numeric`]) and the run may not pass over it: nothing
    /// has changed then.
    pub fn step(&mut self, batches: &[Vec<u32>]) -> Result<StepReport> {
        let (total, grads, report) = self.clipped_gradient(batches, Record::Plain)?;
        if !report.is_finite() {
            return self.ran_away(report, batches);
        }
        self.optimizer.step(&self.engine, &mut self.network.model.params, &grads.model, report.rate as f32);
        let rate = self.vectors_rate() as f32;
        if let (Some(own), Some(optimizer)) = (&mut self.network.auxiliary, &mut self.vectors_optimizer) {
            optimizer.step(&self.engine, &mut own.params, &grads.vectors, rate);
        }
        if let Some(bank) = &mut self.bank {
            total.banked.iter().for_each(|(ids, values)| bank.write(self.progress.step, ids, values));
        }
        self.memory.remember(&self.engine, self.progress.epoch, total.notes, &self.network.model.params);
        self.advance(batches.len());
        Ok(report)
    }

    /// The loss and the gradient of the next batch, all parameters one after another and then the auxiliary vectors,
    /// without an update: for tests and for the curious.
    ///
    /// # Errors
    /// If the observer wants to stop while texts are embedded.
    pub fn gradient_of_next_batch(&mut self, observer: &mut dyn Observer) -> Result<(f64, Vec<f64>)> {
        let batches = self.next_batches(observer)?;
        let (measured, grads) = self.gradient(&batches[0], self.stream(0), Record::Plain)?;
        let all = |params: &Params, grads: &ParamGrads| -> Vec<f64> {
            let one = |id| grads.get(id).map_or_else(|| vec![0.0; params.value(id).len()], Grad::to_f64);
            params.ids().flat_map(one).collect()
        };
        let vectors = self.network.auxiliary.iter().flat_map(|own| all(&own.params, &grads.vectors));
        Ok((
            measured.loss,
            all(&self.network.model.params, &grads.model).into_iter().chain(vectors).collect(),
        ))
    }

    /// Runs the largest batch that can occur without an update, so that the pool holds all buffers that a step needs.
    ///
    /// # Errors
    /// If a cross-encoder that teaches cannot spell a text.
    pub fn warm_up(&self) -> Result<()> {
        let batch = Batch::largest(self.source(), &self.train_rows, self.config.train.batch);
        // Small buffers meet in other sizes in every batch, and a small one may be lent a larger one that the next
        // request misses: one spare of each size from 64 bytes to 64 KiB evens that out.
        let spares: Vec<_> = (4..15).map(|log| self.engine.buffer::<f32>(1 << log)).collect();
        self.walk(&batch, self.stream(0), Record::Plain)?;
        drop(spares);
        self.engine.settle();
        Ok(())
    }

    /// Texts that a batch makes somebody encode: the model as often as it needs, a guide or a cross-encoder that
    /// teaches, and a copy of the model.
    pub(crate) fn texts_encoded(&self, batch: &Batch) -> u64 {
        let keys = batch.key_texts.as_ref().map_or(0, |keys| keys.len() as u64);
        let passes = self.exec.passes(batch.texts.len()) + u64::from(self.guide.is_some());
        passes * batch.texts.len() as u64 + keys + self.pairs_read(batch)
    }

    /// A step is a function of its place: it is walked again on tapes that look at every result, to name the batch and
    /// the operation that made the first number that is not finite.
    fn ran_away(&mut self, report: StepReport, batches: &[Vec<u32>]) -> Result<StepReport> {
        let again = |(micro, rows): (usize, &Vec<u32>)| {
            // It was walked a moment ago, so it can be walked.
            let anomaly = self.gradient(rows, self.stream(micro), Record::Checked).ok()?.0.anomaly;
            anomaly.map(|anomaly| (anomaly, micro))
        };
        let (anomaly, micro) = batches.iter().enumerate().find_map(again).unzip();
        let rows = &batches[micro.unwrap_or(0)];
        let error = self.not_finite(&report, "the loss", rows, anomaly).help(
            "the parameters are those before this step; try a lower --lr, or a larger loss.temperature",
        );
        self.pass_over(error, report, batches.len())
    }
}

/// A gradient of all that a step moves.
#[derive(Default)]
pub(crate) struct Gradient {
    /// Of the encoder, or of a cross-encoder.
    pub(crate) model: ParamGrads,
    /// Of the auxiliary vectors, where there are such.
    pub(crate) vectors: ParamGrads,
}

/// What is added up over the batches of a step.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) loss: f64,
    pub(crate) tokens: u64,
    pub(crate) texts: u64,
    pub(crate) masked: u64,
    pub(crate) negatives: f64,
    /// What positives and the hardest negatives score, of the last batch.
    pub(crate) hardness: Option<(f64, f64)>,
    /// What the truth says of them.
    pub(crate) found: Option<Found>,
    /// What is to be remembered.
    pub(crate) notes: Vec<Note>,
    /// Ids and their embeddings, for the bank.
    pub(crate) banked: Vec<(Vec<u32>, Vec<f32>)>,
    /// The first NaN or infinity, where it was looked for.
    pub(crate) anomaly: Option<Anomaly>,
}

/// Which came first: the encoder runs before the loss, and goes back after it.
pub(crate) fn first(encoder: Option<Anomaly>, loss: Option<Anomaly>) -> Option<Anomaly> {
    let (back, forth) = (encoder.clone().filter(|a| a.backward), encoder.filter(|a| !a.backward));
    forth.or(loss).or(back)
}

impl Measured {
    fn of(loss: Var<'_>, batch: &Batch, terms: &Terms, texts: u64) -> Measured {
        Measured {
            anomaly: None,
            found: None,
            hardness: None,
            loss: loss.value().item(),
            tokens: batch.tokens() as u64,
            notes: vec![],
            banked: vec![],
            texts,
            masked: batch.masked() as u64,
            negatives: terms.negatives(),
        }
    }
    pub(crate) fn add(&mut self, mut other: Measured) {
        self.loss += other.loss;
        self.tokens += other.tokens;
        self.texts += other.texts;
        self.masked += other.masked;
        self.negatives += other.negatives;
        self.notes.append(&mut other.notes);
        self.banked.append(&mut other.banked);
        self.hardness = other.hardness.or(self.hardness);
        self.found = self.found.into_iter().chain(other.found).reduce(Found::plus);
    }
    pub(crate) fn report(&self, of: &Trainer, batches: usize, grad_norm: f64) -> StepReport {
        StepReport {
            step: of.progress.step + 1,
            epoch: of.progress.epoch,
            loss: self.loss / batches as f64,
            grad_norm,
            rate: of.rate(),
            tokens: self.tokens,
            texts: self.texts,
            masked: self.masked,
            negatives: Some(self.negatives / batches as f64),
            hardness: self.hardness,
            false_negatives: self.found.map(Found::share),
            skipped: None,
        }
    }
}

#[cfg(test)]
mod tests;
