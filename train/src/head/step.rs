//! The step of a run with a classifier.
//!
//! ```text
//! the encoder rests     rows of the bank → head
//! it learns too         texts → encoder → head → dL/dx → encoder, at its own rate
//! ```

use super::{Embedded, Learned, norm};
use crate::exec::Encoded;
use crate::step::StepReport;
use crate::text_ids::place;
use crate::trainer::Trainer;
use autograd::{ParamGrads, Tape, clip};
use engine::{Error, Kind, Packed, Result, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

impl Trainer {
    /// One update of the label weights, and of the encoder where it learns, from one batch of training queries.
    ///
    /// # Errors
    /// If the loss or its gradient is not finite ([`engine::Kind::Numeric`]): the encoder stays as it was. Losses over
    /// all labels have moved some labels then; the last checkpoint is what can be gone back to.
    ///
    /// # Panics
    /// If the run has no head.
    pub(crate) fn head_step(&mut self, rows: &[u32]) -> Result<StepReport> {
        match self.config.head.is_frozen(self.progress.epoch) {
            true => self.frozen_step(rows),
            false => self.joint_step(rows),
        }
    }
    fn frozen_step(&mut self, rows: &[u32]) -> Result<StepReport> {
        let bank = self.bank.as_ref().expect("a head has a bank").matrix();
        let mut x = self.engine.buffer::<f32>(rows.len() * bank.width);
        for (to, &row) in x.chunks_mut(bank.width).zip(rows) {
            to.copy_from_slice(bank.row(row as usize));
        }
        let x = Tensor::from_buf([rows.len(), bank.width], x);
        let (rate, stream) = (self.rate() as f32, self.stream(0));
        let head = self.head.as_mut().expect("the run has a head");
        let batch = Embedded { x, rows, data: &self.data, ids: &self.text_ids, stream };
        let learned = head.learn(&self.engine, &batch, rate);
        let report = self.report(learned.loss, norm(&learned.dx), learned.masked, (0, 0));
        demand_finite(&report)?;
        self.advance(1);
        Ok(report)
    }
    fn joint_step(&mut self, rows: &[u32]) -> Result<StepReport> {
        let (texts, places) = self.packed(rows);
        let (learned, mut grads) = self.walk_jointly(rows, &texts, places);
        let grad_norm = clip(&self.engine, &mut grads, self.config.train.norm_max());
        let encoded = (texts.len() as u64, texts.tokens.len() as u64);
        let report = self.report(learned.loss, grad_norm, learned.masked, encoded);
        demand_finite(&report)?;
        let rate = self.encoder_rate() as f32;
        self.optimizer.step(&self.engine, &mut self.network.model.params, &grads, rate);
        self.advance(1);
        Ok(report)
    }
    /// Encodes, lets the head learn, and goes back through the encoder with what it gives.
    fn walk_jointly(&mut self, rows: &[u32], texts: &Packed, places: Arc<[u32]>) -> (Learned, ParamGrads) {
        let (rate, stream) = (self.rate() as f32, self.stream(0));
        let (encoder_tape, tape) = (Tape::new(&self.engine), Tape::new(&self.engine));
        let encoded = Encoded::new(&encoder_tape, &self.network, texts, stream, self.exec);
        let embeddings = tape.leaf(encoded.embeddings());
        let queries = embeddings.gather(places);
        let bank = self.bank.as_mut().expect("a head has a bank");
        bank.write(self.progress.step, rows, queries.value().data());
        let head = self.head.as_mut().expect("the run has a head");
        let batch = Embedded { x: queries.value(), rows, data: &self.data, ids: &self.text_ids, stream };
        let learned = head.learn(&self.engine, &batch, rate);
        let pulled = tape.backward(vec![(queries, learned.dx.clone())]).take(embeddings);
        let pulled = pulled.expect("the queries are rows of the embeddings");
        let (grads, _) = encoded.backward(Tape::new, &self.engine, pulled);
        (learned, grads)
    }
    /// Every distinct text of the rows once, and which of them is each row's.
    fn packed(&self, rows: &[u32]) -> (Packed, Arc<[u32]>) {
        let (mut texts, mut slots) = (Packed::default(), HashMap::new());
        let slot = |&q: &u32| {
            *slots.entry(self.text_ids.queries[q as usize]).or_insert_with(|| {
                let (of, i) = place(&self.data, q);
                of.push_to(i, &mut texts);
                texts.len() as u32 - 1
            })
        };
        let places = rows.iter().map(slot).collect();
        (texts, places)
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
            false_negatives: None,
        }
    }
}

fn demand_finite(report: &StepReport) -> Result<()> {
    if report.loss.is_finite() && report.grad_norm.is_finite() {
        return Ok(());
    }
    let (loss, norm, step) = (report.loss, report.grad_norm, report.step);
    let what =
        format!("step {step}: the loss of the classifier is {loss} and the norm of its gradient {norm}");
    Err(Error::new(Kind::Numeric, what).help("try a lower --lr, or a larger head.temperature"))
}
