//! The step of a run with a classifier.
//!
//! ```text
//! the encoder rests     rows of the bank → head
//! it learns too         texts → encoder → head → dL/dx → encoder, at its own rate
//! from texts as well    texts of queries and of the labels of the step → encoder → head → dL/dx, dL/dz → encoder
//! ```

use super::{Embedded, Found, Learned, Texts, norm};
use crate::exec::{Encoded, Record};
use crate::step::{StepReport, first};
use crate::text_ids::place;
use crate::trainer::Trainer;
use autograd::{Anomaly, ParamGrads, clip};
use engine::{Packed, Result, Tensor};
use std::collections::HashMap;

impl Trainer {
    /// One update of the label weights, and of the encoder where it learns, from one batch of training queries.
    ///
    /// # Errors
    /// If the loss or its gradient is not finite ([`engine::Kind::Numeric`]): the encoder stays as it was. Losses over
    /// all labels have moved some labels then, on a device all of them; the last checkpoint is what can be gone back
    /// to.
    ///
    /// # Panics
    /// If the run has no head.
    pub(crate) fn head_step(&mut self, rows: &[u32], record: Record<'_>) -> Result<StepReport> {
        match self.config.head.is_frozen(self.progress.epoch) {
            true => self.frozen_step(rows, record),
            false => self.joint_step(rows, record),
        }
    }
    fn frozen_step(&mut self, rows: &[u32], record: Record<'_>) -> Result<StepReport> {
        let bank = self.bank.as_ref().expect("a head has a bank").matrix();
        let mut x = self.engine.buffer::<f32>(rows.len() * bank.width);
        for (to, &row) in x.chunks_mut(bank.width).zip(rows) {
            to.copy_from_slice(bank.row(row as usize));
        }
        let x = self.engine.place(&Tensor::from_buf([rows.len(), bank.width], x));
        let (rate, stream) = (self.rate() as f32, self.stream(0));
        let head = self.head.as_mut().expect("the run has a head");
        let batch = Embedded { x, rows, data: &self.data, ids: &self.text_ids, stream, texts: None };
        let learned = head.learn(&self.engine, &batch, rate, record);
        let anomaly = match learned.is_finite() {
            true => None,
            // Some labels have moved already where all are scored; else this is the step again.
            false => {
                learned.anomaly.or_else(|| head.learn(&self.engine, &batch, rate, Record::Checked).anomaly)
            }
        };
        let report = self.report(learned.loss, norm(&learned.dx), learned.masked, (0, 0));
        self.demand_finite(&report, rows, anomaly)?;
        self.advance(1);
        Ok(report)
    }
    fn joint_step(&mut self, rows: &[u32], record: Record<'_>) -> Result<StepReport> {
        let head = self.head.as_ref().expect("the run has a head");
        let pool = head.pool((&self.data, &self.text_ids), rows, self.stream(0));
        let pool = pool.as_ref();
        let (texts, places) = self.packed(rows, pool.map_or(&[], Found::labels));
        let (learned, mut grads) = self.walk_jointly((rows, pool), &texts, &places, record);
        let grad_norm = clip(&self.engine, &mut grads, self.config.train.norm_max());
        let encoded = (texts.len() as u64, texts.tokens.len() as u64);
        let report = self.report(learned.loss, grad_norm, learned.masked, encoded);
        if !report.is_finite() {
            let again = || self.walk_jointly((rows, pool), &texts, &places, Record::Checked).0.anomaly;
            let anomaly = learned.anomaly.or_else(again);
            self.demand_finite(&report, rows, anomaly)?;
        }
        let rate = self.encoder_rate() as f32;
        self.optimizer.step(&self.engine, &mut self.network.model.params, &grads, rate);
        self.advance(1);
        Ok(report)
    }
    /// Encodes, lets the head learn, and goes back through the encoder with what it gives. `places` are those of the
    /// rows, then those of the labels of the pool.
    pub(super) fn walk_jointly(
        &mut self,
        (rows, pool): (&[u32], Option<&Found>),
        texts: &Packed,
        places: &[u32],
        record: Record<'_>,
    ) -> (Learned, ParamGrads) {
        let (rate, stream) = (self.rate() as f32, self.stream(0));
        let [encoder_tape, tape] = ["encoder", "queries"].map(|name| record.tape(&self.engine, name));
        let encoded = Encoded::new(&encoder_tape, &self.network, texts, (stream, self.exec), record);
        let embeddings = tape.leaf(encoded.embeddings());
        let (of_rows, of_labels) = places.split_at(rows.len());
        let queries = embeddings.gather(of_rows.into());
        let labels = pool.map(|found| {
            let z = embeddings.gather(of_labels.into());
            self.network.auxiliary.as_ref().map_or(z, |own| own.beside(z, found.labels()))
        });
        let bank = self.bank.as_mut().expect("a head has a bank");
        bank.write(self.progress.step, rows, queries.value().to_cpu().data());
        let head = self.head.as_mut().expect("the run has a head");
        let texts = pool.zip(labels).map(|(found, z)| Texts { found: found.clone(), z: z.value() });
        let (x, data, ids) = (queries.value(), &self.data, &self.text_ids);
        let learned = head.learn(&self.engine, &Embedded { x, rows, data, ids, stream, texts }, rate, record);
        let seeds = [(queries, learned.dx.clone())].into_iter().chain(labels.zip(learned.dz.clone()));
        let pulled = tape.backward(seeds.collect()).take(embeddings);
        let pulled = pulled.expect("the queries are rows of the embeddings");
        let (grads, anomaly) = encoded.backward(&self.engine, pulled);
        let anomaly = first(anomaly, learned.anomaly.clone().or(tape.anomaly()));
        (Learned { anomaly, ..learned }, grads)
    }
    /// Every distinct text of the rows and of these labels once, and which of them is each row's, then each label's.
    pub(crate) fn packed(&self, rows: &[u32], labels: &[u32]) -> (Packed, Vec<u32>) {
        let (mut texts, mut slots) = (Packed::default(), HashMap::new());
        let mut slot = |text: u32, of: data::Texts<'_>, i: usize| {
            *slots.entry(text).or_insert_with(|| {
                of.push_to(i, &mut texts);
                texts.len() as u32 - 1
            })
        };
        let mut places = Vec::with_capacity(rows.len() + labels.len());
        for &q in rows {
            let (of, i) = place(&self.data, q);
            places.push(slot(self.text_ids.queries[q as usize], of, i));
        }
        for &label in labels {
            places.push(slot(self.text_ids.labels[label as usize], self.data.labels(), label as usize));
        }
        (texts, places)
    }
    /// Stops a run whose numbers have run away.
    fn demand_finite(&self, report: &StepReport, rows: &[u32], anomaly: Option<Anomaly>) -> Result<()> {
        match report.is_finite() {
            true => Ok(()),
            false => Err(self
                .not_finite(report, "the loss of the classifier", rows, anomaly)
                .help("try a lower --lr, or a larger head.temperature")),
        }
    }
    fn report(&self, loss: f64, grad_norm: f64, masked: u64, (texts, tokens): (u64, u64)) -> StepReport {
        let (step, epoch, rate) = (self.progress.step + 1, self.progress.epoch, self.rate());
        StepReport {
            step,
            epoch,
            loss,
            grad_norm,
            rate,
            tokens,
            texts,
            masked,
            negatives: None,
            hardness: None,
            false_negatives: None,
            skipped: None,
        }
    }
}
