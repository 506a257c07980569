//! One heat: a run in memory whose encoder forwards are counted.

use crate::batch::Batch;
use crate::config::{Config, Settings};
use crate::embed::embed;
use crate::evaluate::{LabelSet, Queries};
use crate::held::Held;
use crate::observer::{Event, Observer, Silent};
use crate::run::assemble;
use crate::step::StepReport;
use crate::trainer::Trainer;
use crate::validation::measure;
use autograd::Tape;
use data::Split;
use data::metrics::Metric;
use engine::container::checksum;
use engine::{Engine, Error, Kind, Packed, Result, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is measured.
const METRICS: &str = "nDCG@5,P@1,R@10";
/// The metric that decides trials, and that a race is about.
pub const DECIDES: &str = "nDCG@5";

/// What a heat is for, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    /// What an epoch encodes is counted.
    Epoch,
    /// Steps are counted while the budget lasts.
    Rehearsal {
        /// The budget.
        forwards: u64,
    },
    /// So many steps, then the validation queries.
    Trial {
        /// How many.
        steps: u64,
    },
    /// So many steps with measurements on the way, then the test queries.
    Final {
        /// How many.
        steps: u64,
        /// Measurements.
        marks: u32,
    },
}

/// A heat that is to be run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Course {
    pub(super) seed: u32,
    pub(super) stage: Stage,
}

impl Course {
    /// The stage in words, and the number that sets its length.
    pub(super) fn key(&self) -> (&'static str, u64) {
        match self.stage {
            Stage::Epoch => ("epoch", 0),
            Stage::Rehearsal { forwards } => ("rehearsal", forwards),
            Stage::Trial { steps } => ("trial", steps),
            Stage::Final { steps, .. } => ("final", steps),
        }
    }
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Texts encoded by then.
    pub forwards: u64,
    /// Seconds of training by then, measurements left out.
    pub seconds: f64,
    /// Processor seconds of the same.
    pub processor_seconds: f64,
    /// Metrics of the validation queries.
    pub validation: BTreeMap<String, f64>,
}

/// A heat that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Who.
    pub entrant: String,
    /// `epoch`, `rehearsal`, `trial` or `final`.
    pub stage: String,
    /// The number that set its length: steps, or forwards of a rehearsal.
    pub length: u64,
    /// The seed of all randomness.
    pub seed: u32,
    /// The learning rate at its peak.
    pub rate: f64,
    /// The temperature of the loss.
    pub temperature: f64,
    /// A hash of all settings that are not as by default, in hexadecimal.
    pub settings: String,
    /// Hashes of the models and lists that were read: where it starts from, guide, ranker. Empty without any.
    #[serde(default)]
    pub models: String,
    /// Why it ended before its end: its numbers ran away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Steps taken.
    pub steps: u64,
    /// Texts encoded: in steps, by guides, for clusters and lists.
    pub forwards: u64,
    /// Of these, texts encoded outside of steps.
    pub mined: u64,
    /// Seconds of training, measurements left out.
    pub seconds: f64,
    /// Processor seconds of the same.
    pub processor_seconds: f64,
    /// Negatives that the loss saw of a row, in the mean.
    pub negatives: f64,
    /// The share of them that answer their query, where `data.truth` tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_negatives: Option<f64>,
    /// The mean loss of the last tenth of the steps.
    pub loss: f64,
    /// Validation queries on the way and at the end.
    pub curve: Vec<Mark>,
    /// Metrics of the test queries; empty but in finals.
    pub test: BTreeMap<String, f64>,
}

impl Finish {
    /// What decides between trials; −∞ of one that failed.
    pub(super) fn validation_score(&self) -> f64 {
        let end = self.curve.last().filter(|_| self.failed.is_none());
        end.and_then(|mark| mark.validation.get(DECIDES)).copied().unwrap_or(f64::NEG_INFINITY)
    }
}

/// Counts what is encoded, and passes on what happens.
struct Counting<'a> {
    inner: &'a mut dyn Observer,
    /// Texts encoded for clusters and lists.
    mined: u64,
}

impl Observer for Counting<'_> {
    fn seconds(&mut self) -> f64 {
        self.inner.seconds()
    }
    fn processor_seconds(&mut self) -> f64 {
        self.inner.processor_seconds()
    }
    fn stop(&mut self) -> bool {
        self.inner.stop()
    }
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Embedding { done, total, .. } = event
            && done == total
        {
            self.mined += *total as u64;
        }
        self.inner.event(event);
    }
    fn memory_limit(&self) -> Option<usize> {
        self.inner.memory_limit()
    }
    fn afford(&mut self, held: &Held) -> Result<()> {
        self.inner.afford(held)
    }
    fn memory_peak(&mut self) -> Option<u64> {
        self.inner.memory_peak()
    }
}

/// Runs a heat.
pub(super) fn run(
    engine: &Engine,
    (entrant, models): (&str, &str),
    mut settings: Settings,
    course: &Course,
    observer: &mut dyn Observer,
) -> Result<Finish> {
    let hash = fingerprint(&settings)?;
    settings.set(&format!("train.seed={}", course.seed))?;
    let (stage, length) = course.key();
    match course.stage {
        Stage::Epoch => settings.set("train.epochs=1").and_then(|()| settings.set("train.steps=0"))?,
        // A batch has at least one text: there are never more steps than forwards.
        Stage::Rehearsal { forwards: steps } | Stage::Trial { steps } | Stage::Final { steps, .. } => {
            settings.set(&format!("train.steps={}", steps.min(u64::from(u32::MAX))))?;
        }
    }
    let mut trainer = assemble(engine, &settings)?;
    let marks = match course.stage {
        Stage::Final { marks, .. } => u64::from(marks).max(1),
        _ => 1,
    };
    let steps = match course.stage {
        Stage::Rehearsal { .. } => 0,
        _ => trainer.total_steps(),
    };
    observer.event(&Event::Heat { entrant, stage, seed: course.seed, steps });
    let (rate, temperature) = (trainer.config().train.lr, trainer.config().loss.temperature);
    let mut heat = Heat {
        forwards: 0,
        steps: 0,
        seconds: 0.0,
        processor_seconds: 0.0,
        negatives: 0.0,
        false_negatives: None,
        losses: vec![],
        mined: 0,
        curve: vec![],
    };
    let failed = match heat.go(&mut trainer, course.stage, marks, (entrant, observer)) {
        Err(e) if e.kind() == Kind::Numeric => Some(e.to_string()),
        ended => ended.map(|()| None)?,
    };
    let test = match course.stage {
        Stage::Final { .. } if failed.is_none() => {
            let queries = Queries { split: Split::Test, rows: None };
            measured(&trainer, queries, observer)?
        }
        _ => BTreeMap::new(),
    };
    let tail = &heat.losses[heat.losses.len() - heat.losses.len().div_ceil(10)..];
    Ok(Finish {
        entrant: entrant.to_owned(),
        stage: stage.to_owned(),
        length,
        seed: course.seed,
        rate,
        temperature,
        settings: hash,
        models: models.to_owned(),
        failed,
        steps: heat.steps,
        forwards: heat.forwards + heat.mined,
        mined: heat.mined,
        seconds: heat.seconds,
        processor_seconds: heat.processor_seconds,
        negatives: heat.negatives / heat.steps.max(1) as f64,
        false_negatives: heat.false_negatives.map(|sum| sum / heat.steps.max(1) as f64),
        loss: tail.iter().sum::<f64>() / tail.len().max(1) as f64,
        curve: heat.curve,
        test,
    })
}

/// A hash of all values that are not what they are by default, so that a journal knows what its heats were told. A
/// setting that a later version brings along, and that nobody has touched, changes no hash; nor does a default that a
/// later version has changed.
///
/// # Errors
/// If a value lies outside its range.
pub(super) fn fingerprint(settings: &Settings) -> Result<String> {
    let [told, default] =
        [&settings.config()?, &Config::default()].map(|c| serde_json::to_value(c).expect("plain data"));
    Ok(format!("{:016x}", checksum(changed(&told, &default).to_string().as_bytes())))
}

/// The entries of an object, and of the objects in it, that are not those of another.
fn changed(told: &Value, default: &Value) -> Value {
    match (told, default) {
        (Value::Object(told), Value::Object(default)) => {
            let known = |key: &str| default.get(key).unwrap_or(&Value::Null);
            let others = told.iter().filter(|(key, value)| *value != known(key));
            others.map(|(key, value)| (key.clone(), changed(value, known(key)))).collect()
        }
        (told, _) => told.clone(),
    }
}

/// What is counted while a heat runs.
struct Heat {
    /// Texts encoded in steps.
    forwards: u64,
    mined: u64,
    steps: u64,
    seconds: f64,
    processor_seconds: f64,
    negatives: f64,
    /// The sum of the shares of the steps.
    false_negatives: Option<f64>,
    losses: Vec<f64>,
    curve: Vec<Mark>,
}

impl Heat {
    /// What a step tells besides what it encoded.
    fn learned(&mut self, report: &StepReport) {
        self.negatives += report.negatives.unwrap_or(0.0);
        let shares = self.false_negatives.into_iter().chain(report.false_negatives);
        self.false_negatives = shares.reduce(|sum, share| sum + share);
        self.losses.extend(report.skipped.is_none().then_some(report.loss));
    }
    fn go(
        &mut self,
        trainer: &mut Trainer,
        stage: Stage,
        marks: u64,
        (entrant, observer): (&str, &mut dyn Observer),
    ) -> Result<()> {
        let total = trainer.total_steps();
        while self.steps < total {
            let mut counting = Counting { inner: &mut *observer, mined: 0 };
            let since = (counting.seconds(), counting.processor_seconds());
            let (texts, report) = match stage {
                Stage::Epoch | Stage::Rehearsal { .. } if trainer.counts_without_learning() => {
                    (trainer.count_step(&mut counting)?, None)
                }
                _ => trainer.next_step(&mut counting).map(|report| (report.texts, Some(report)))?,
            };
            let (seconds, mined) = (counting.seconds() - since.0, counting.mined);
            let processor_seconds = counting.processor_seconds() - since.1;
            if let Stage::Rehearsal { forwards } = stage
                && self.forwards + self.mined + texts + mined > forwards
            {
                return Ok(());
            }
            self.steps += 1;
            self.seconds += seconds;
            self.processor_seconds += processor_seconds;
            self.forwards += texts;
            self.mined += mined;
            if let Some(report) = report {
                self.learned(&report);
                observer.event(&Event::Stepped(&report));
            }
            if observer.stop() {
                return Err(Error::new(
                    Kind::Interrupted,
                    format!("{entrant}: stopped at step {}", self.steps),
                ));
            }
            let measures = matches!(stage, Stage::Trial { .. } | Stage::Final { .. });
            // The last step is the last mark.
            if measures && self.steps * marks / total > (self.steps - 1) * marks / total {
                let queries = Queries { split: Split::Train, rows: Some(&trainer.validation_rows) };
                let validation = measured(trainer, queries, observer)?;
                let forwards = self.forwards + self.mined;
                let (seconds, processor_seconds) = (self.seconds, self.processor_seconds);
                self.curve.push(Mark { forwards, seconds, processor_seconds, validation });
            }
        }
        Ok(())
    }
}

impl Trainer {
    /// Whether what a run encodes can be counted while nobody learns. A cross-encoder's turns cannot.
    fn counts_without_learning(&self) -> bool {
        !self.config().cross.learns()
    }
    /// The texts that the next step would encode; it is not taken. Batches are composed, and lists and clusters made,
    /// by the model as it starts. Where a bank has no embeddings of what a batch is composed of, the step would have
    /// left some there, so they are made.
    ///
    /// # Errors
    /// If the observer wants to stop while texts are embedded.
    fn count_step(&mut self, observer: &mut dyn Observer) -> Result<u64> {
        let batches = self.next_batches(observer)?;
        let mut texts = 0;
        for (micro, rows) in batches.iter().enumerate() {
            let batch = Batch::compose(self.source(), rows, self.stream(micro));
            texts += self.texts_encoded(&batch);
            let ids = if batch.of_labels { &batch.labels } else { &batch.rows };
            if self.bank.as_ref().is_none_or(|bank| bank.covers(ids)) {
                continue;
            }
            let (count, width) = (batch.texts.len(), self.network.width());
            let push = |i: usize, packed: &mut Packed| packed.push(batch.texts.text(i).iter().copied());
            let all = embed(&self.engine, &self.network, count, push, "", &mut Silent)?;
            let tape = Tape::inference(&self.engine);
            let embeddings = tape.constant(Tensor::from_vec([count, width], all));
            let columns = match batch.of_labels {
                true => batch.columns(embeddings, None, self.network.auxiliary.as_ref()),
                false => embeddings,
            };
            let (ids, values) = batch.composed(&embeddings.value().to_cpu(), &columns.value().to_cpu());
            let (ids, step) = (ids.to_vec(), self.progress.step);
            self.bank.iter_mut().for_each(|bank| bank.write(step, &ids, &values));
        }
        self.advance(batches.len());
        Ok(texts)
    }
}

fn measured(
    trainer: &Trainer,
    queries: Queries<'_>,
    observer: &mut dyn Observer,
) -> Result<BTreeMap<String, f64>> {
    let found = measure(trainer, queries, Metric::list(METRICS)?, LabelSet::All, observer)?;
    Ok(found.metrics.into_iter().map(|(metric, value)| (metric.to_string(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_heat_is_known_by_what_is_not_as_it_is_by_default() {
        let told =
            json!({"loss": {"name": "infonce", "temperature": 0.1, "new": 0}, "seed": 3, "list": [1, 2]});
        let default =
            json!({"loss": {"name": "infonce", "temperature": 0.05, "new": 0}, "seed": 3, "list": [1]});
        assert_eq!(changed(&told, &default), json!({"loss": {"temperature": 0.1}, "list": [1, 2]}));
        let hash = |change: &str| {
            let mut settings = Settings::default();
            settings.set(change).expect("a setting");
            fingerprint(&settings).expect("in range")
        };
        let plain = fingerprint(&Settings::default()).expect("in range");
        assert_ne!(hash("train.batch=7"), plain);
        assert_ne!(hash("train.batch=7"), hash("train.batch=8"));
        assert_eq!(hash(&format!("train.batch={}", Config::default().train.batch)), plain);
    }
}
