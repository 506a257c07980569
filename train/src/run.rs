//! The loop around the step: epochs, log, validation, checkpoints, stopping.

use crate::checkpoint::{self, Checkpoint};
use crate::config::{Config, OWN, Settings};
use crate::cross::Cross;
use crate::guide::{self, Guide};
use crate::head::Head;
use crate::judge::Judge;
use crate::load;
use crate::log::Log;
use crate::noted::Noted;
use crate::observer::{Event, Observer};
use crate::plan;
use crate::run_dir::RunDir;
use crate::saver::Saver;
use crate::step::StepReport;
use crate::trainer::Trainer;
use crate::truth::Truth;
use crate::validation::{by_frequency, by_name, measure_old_labels, measure_validation};
use crate::warm_start::{OldLabels, WarmStart};
use data::DataSet;
use data::metrics::Metric;
use engine::container::Verify;
use engine::{Engine, Error, Kind, Result};
use serde_json::{Value, json};
use std::path::Path;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Updates done in all.
    pub step: u64,
    /// False when it was stopped on request: `lode resume` goes on.
    pub finished: bool,
    /// Measured on the validation queries, if there are any and the run is finished.
    pub validation: Vec<(Metric, f64)>,
    /// Of a finished run that went on from another: how well it finds the labels that one knew, if a query has one.
    pub old_labels: Option<OldLabels>,
}

impl Outcome {
    fn unfinished(step: u64) -> Outcome {
        Outcome { step, finished: false, validation: vec![], old_labels: None }
    }
}

/// Begins a run in a new directory.
///
/// # Errors
/// If the directory is not empty, the data set or the model cannot be read, or they do not fit each other.
pub fn begin(engine: &Engine, settings: &Settings, out: &Path) -> Result<(Trainer, RunDir)> {
    let trainer = assemble(engine, settings)?;
    let dir = found(&trainer, settings, out)?;
    Ok((trainer, dir))
}

/// The first half of [`begin`]: everything in memory, nothing on disk yet.
///
/// # Errors
/// If the data set or the model cannot be read, or they do not fit each other.
pub fn assemble(engine: &Engine, settings: &Settings) -> Result<Trainer> {
    let config = settings.config()?;
    let data = DataSet::open(&config.data.path, Verify::Header)?;
    let network = load::source(&config, &data)?;
    let guide = Guide::of(&config, &data, || load::source(&config, &data))?;
    let cross = Cross::of(&config, &data, &network)?;
    let mut trainer = Trainer::new(engine, data, network, config)?;
    (trainer.guide, trainer.cross) = (guide, cross);
    trainer.truth = Truth::of(&trainer.config, &trainer.data)?;
    trainer.warm = warm_start(&trainer)?;
    let ranks = &trainer.config.negatives;
    if ranks.from == "file" {
        // Its faults are told before a run has a folder.
        data::read_negatives(Path::new(&ranks.file), &trainer.data, |_| ())?;
    }
    if let Some(head) = &mut trainer.head {
        head.read_teacher(&trainer.data)?;
    }
    if !ranks.rescore.is_empty() && ranks.rescore != OWN {
        trainer.judge = Some(Judge::read(Path::new(&ranks.rescore))?);
    }
    if ranks.embedded() && !ranks.model.is_empty() {
        trainer.ranker = Some(guide::named(Path::new(&ranks.model), &trainer.data)?);
    }
    Ok(trainer)
}

/// The second half of [`begin`]: the directory, with the configuration and the model as it starts.
///
/// # Errors
/// If the directory is not empty, or the system refuses; nothing is left behind.
pub fn found(trainer: &Trainer, settings: &Settings, out: &Path) -> Result<RunDir> {
    let dir = RunDir::create(out)?;
    load::write_models(trainer, &dir, &[])
        .and_then(|()| keep_excluded(trainer, &dir))
        .and_then(|()| trainer.keep_vectors(&dir))
        .and_then(|()| RunDir::write_text(&dir.config(), &settings.to_string()))
        .inspect_err(|_| dir.discard())?;
    Ok(dir)
}

/// The file of excluded pairs may grow while somebody looks at this run: what counts here is what it was.
fn keep_excluded(trainer: &Trainer, dir: &RunDir) -> Result<()> {
    let path = &trainer.config.data.exclude;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::input("is no plain text").at(path).help("unpack it, if it is packed"))?;
    let kept = dir.keep_excluded(&text)?;
    match trainer.excludes(&data::read_judgements(&kept, trainer.data())?) {
        true => Ok(()),
        false => Err(Error::new(Kind::Refused, "this file was changed while the run began").at(path)),
    }
}

/// Takes a run up where its newest whole checkpoint left it.
///
/// # Errors
/// If there is no run, no whole checkpoint, or its data set has gone or changed.
pub fn resume(engine: &Engine, run: &Path, observer: &mut dyn Observer) -> Result<(Trainer, RunDir)> {
    let (mut trainer, dir) = open(engine, run)?;
    take_up(&mut trainer, &dir, observer)?;
    Ok((trainer, dir))
}

/// The first half of [`resume`]: the run as it began.
///
/// # Errors
/// If there is no run, or its data set has gone or changed.
pub fn open(engine: &Engine, run: &Path) -> Result<(Trainer, RunDir)> {
    let (dir, settings) = load::run_settings(run)?;
    opened(engine, dir, settings.config()?)
}

/// [`open`] for who looks and does not train: on the CPU, wherever the run was trained.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_to_look(engine: &Engine, run: &Path) -> Result<(Trainer, RunDir)> {
    let (dir, settings) = load::run_settings(run)?;
    let mut config = settings.config()?;
    (config.train.device, config.train.gemm) = ("cpu".into(), "auto".into());
    opened(engine, dir, config)
}

fn opened(engine: &Engine, dir: RunDir, mut config: Config) -> Result<(Trainer, RunDir)> {
    if !config.data.exclude.as_os_str().is_empty() {
        config.data.exclude = dir.excluded()?;
    }
    let data = DataSet::open(&config.data.path, Verify::Header)?;
    // Until a run ends its folder has the model that it started from.
    let start = || load::network(&dir.model());
    let guide = Guide::of(&config, &data, start)?;
    let cross = match config.cross.is_on() {
        true => Some(Cross::learning(Judge::of_directory(&dir.cross())?, &config)),
        false => None,
    };
    let mut trainer = Trainer::new(engine, data, start()?, config)?;
    (trainer.guide, trainer.cross) = (guide, cross);
    plan::foresee(&mut trainer, &dir)?;
    // Nothing learns from it, so a file that has gone is no reason not to go on.
    trainer.truth = Truth::of(&trainer.config, &trainer.data).unwrap_or(None);
    Ok((trainer, dir))
}

/// What a run takes from the one that it goes on from; its label weights while it has none of its own.
fn warm_start(trainer: &Trainer) -> Result<Option<WarmStart>> {
    WarmStart::of(&trainer.config, &trainer.data, trainer.network.width(), wants_start(trainer))
}

fn wants_start(trainer: &Trainer) -> bool {
    trainer.head.as_ref().is_some_and(Head::wants_start)
}

/// The second half of [`resume`]: its newest whole checkpoint.
///
/// # Errors
/// If there are checkpoints and none is whole, or it is of another data set or configuration.
pub fn take_up(trainer: &mut Trainer, dir: &RunDir, observer: &mut dyn Observer) -> Result<()> {
    let truth = &trainer.config.data.truth;
    if trainer.truth.is_none() && !truth.as_os_str().is_empty() {
        let text = format!("{}: cannot be read any more: no false negatives are counted", truth.display());
        observer.event(&Event::Warning(&text));
    }
    if checkpoint::list(&dir.checkpoints()).is_empty() {
        observer.event(&Event::Warning("there is no checkpoint yet: training starts from the beginning"));
        trainer.demand_none_taken()?;
        trainer.warm = warm_start(trainer)?;
        warn_of_gone(trainer, observer);
        return Ok(());
    }
    let (checkpoint, path, passed) = Checkpoint::newest(&dir.checkpoints())?;
    for damaged in passed {
        observer.event(&Event::Warning(&format!("passed over: {damaged}")));
    }
    let (made_on, here) = (checkpoint.kernel_class.clone(), trainer.kernel_class());
    if made_on != here {
        let text =
            format!("{}: made with {made_on} kernels, this is {here}: bits will differ", path.display());
        observer.event(&Event::Warning(&text));
    }
    trainer.restore(checkpoint)?;
    trainer.warm = match warm_start(trainer) {
        // With weights of its own, nothing but the report at the end depends on the run from which this one went on.
        Err(e) if !wants_start(trainer) => {
            observer.event(&Event::Warning(&format!("old labels will not be measured: {e}")));
            None
        }
        found => found?,
    };
    warn_of_gone(trainer, observer);
    Ok(())
}

/// Says so where label weights cannot go on from those of the run that this one starts from.
fn warn_of_gone(trainer: &Trainer, observer: &mut dyn Observer) {
    let source = Path::new(&trainer.config.model.source);
    let is_gone = source.components().count() > 1 && !source.exists();
    if trainer.warm.is_none() && wants_start(trainer) && is_gone {
        let text = format!("{} is gone: label weights start from texts, not from its", source.display());
        observer.event(&Event::Warning(&text));
    }
}

/// Trains until the last step or until the observer wants to stop. A checkpoint is written at intervals and at the end.
/// Of a finished run only the outcome is told again.
///
/// # Errors
/// If a step fails or a file cannot be written; the last checkpoint stays.
pub fn run(trainer: &mut Trainer, dir: &RunDir, observer: &mut dyn Observer) -> Result<Outcome> {
    let _lock = dir.lock()?;
    // What a killed process left: half a checkpoint, and lines of steps that are now done again. Another process may
    // write both, so this waits for the lock.
    checkpoint::remove_unfinished(&dir.checkpoints())?;
    let (total, done) = (trainer.total_steps(), trainer.progress().step);
    if done >= total && dir.final_line().is_some() {
        observer.event(&Event::Warning("this run is finished: nothing is left to do, nothing was changed"));
        let (validation, old_labels) = (dir.final_metrics(), dir.final_old_labels());
        return Ok(Outcome { step: done, finished: true, validation, old_labels });
    }
    dir.rewind_log(done)?;
    let mut state = Loop::new(dir, trainer, observer);
    observer.event(&Event::Started { steps: total, done, steps_per_epoch: trainer.steps_per_epoch() });
    match state.go(trainer, observer) {
        // Stopped while texts were embedded: the trainer stands where its last step left it.
        Err(e) if e.kind() == Kind::Interrupted => {
            state.leave(trainer, observer).map_err(|e| dir.way_on(e))?;
            Ok(Outcome::unfinished(trainer.progress().step))
        }
        ended => ended.map_err(|e| dir.way_on(e)),
    }
}

/// What the loop remembers between steps.
struct Loop<'a> {
    dir: &'a RunDir,
    log: Log,
    /// Whether the user was told that the log cannot be written.
    log_fails: bool,
    saver: Saver,
    since: f64,
    /// When the last checkpoint began, and how long training waited for it.
    saved_at: f64,
    waited: f64,
    /// Tokens since the last line of the log.
    tokens: u64,
    logged_at: Option<f64>,
}

impl Loop<'_> {
    fn new<'a>(dir: &'a RunDir, trainer: &Trainer, observer: &mut dyn Observer) -> Loop<'a> {
        let last = Some(checkpoint::path_of(&dir.checkpoints(), trainer.progress().step));
        let now = observer.seconds();
        Loop {
            dir,
            log: Log::at(&dir.log()),
            log_fails: false,
            saver: Saver::new(
                dir.checkpoints(),
                trainer.config.save.background,
                last.filter(|path| path.is_file()),
            ),
            since: now,
            saved_at: now,
            waited: 0.0,
            tokens: 0,
            logged_at: None,
        }
    }
    fn go(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<Outcome> {
        let total = trainer.total_steps();
        let takes = trainer.warm_start().is_some_and(WarmStart::has_weights);
        trainer.warn_of_vectors_left(observer);
        if wants_start(trainer) && (takes || trainer.config.head.has_teacher()) {
            // The other model may go, or be trained further: what was taken from it is kept from here on.
            self.begin_epoch(trainer, observer)?;
            self.save(trainer, observer)?;
        }
        self.measure_before(trainer, observer)?;
        while trainer.progress().step < total {
            let report = self.noting(trainer, observer, Trainer::next_step)?;
            observer.event(&Event::Stepped(&report));
            self.log_step(&report, trainer, observer);
            if self.validation_is_due(&report, trainer) {
                self.validate(trainer, observer, &report)?;
            }
            if observer.stop() && report.step < total {
                self.leave(trainer, observer)?;
                return Ok(Outcome::unfinished(report.step));
            }
            self.save_if_due(trainer, observer)?;
        }
        self.finish(trainer, observer)
    }
    /// Does what may make clusters or lists, and logs those.
    fn noting<T>(
        &mut self,
        trainer: &mut Trainer,
        observer: &mut dyn Observer,
        work: impl FnOnce(&mut Trainer, &mut dyn Observer) -> Result<T>,
    ) -> Result<T> {
        let mut noted = Noted::before(trainer.progress().step + 1, observer);
        let done = work(trainer, &mut noted);
        let lines = noted.lines;
        lines.iter().for_each(|line| self.line(observer, line));
        done
    }
    fn begin_epoch(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
        self.noting(trainer, observer, |trainer, observer| trainer.next_batches(observer).map(|_| ()))
    }
    fn log_step(&mut self, report: &StepReport, trainer: &Trainer, observer: &mut dyn Observer) {
        self.tokens += report.tokens;
        let every = trainer.config.save.log_every.max(1);
        if !report.step.is_multiple_of(every) && report.step != trainer.total_steps() {
            return;
        }
        let now = observer.seconds();
        let span = now - self.logged_at.unwrap_or(self.since);
        let speed = if span > 0.0 { self.tokens as f64 / span } else { 0.0 };
        (self.tokens, self.logged_at) = (0, Some(now));
        self.line(
            observer,
            &json!({
                "step": report.step,
                "epoch": report.epoch,
                "loss": report.loss,
                "rate": report.rate,
                "grad_norm": report.grad_norm,
                "masked": report.masked,
                "negatives": report.negatives,
                "positive_score": report.hardness.map(|(positive, _)| positive),
                "hardest_score": report.hardness.map(|(_, hardest)| hardest),
                "false_negatives": report.false_negatives,
                "skipped": trainer.skipped(),
                "tokens_per_s": speed.round(),
                "seconds": now - self.since,
            }),
        );
    }
    fn validation_is_due(&self, report: &StepReport, trainer: &Trainer) -> bool {
        let every = trainer.config.save.validate_every;
        let last = report.step == trainer.total_steps();
        let ends_epoch = trainer.progress().epoch != report.epoch;
        !trainer.validation_rows.is_empty()
            && !last
            && if every > 0 { report.step.is_multiple_of(every) } else { ends_epoch }
    }
    fn validate(
        &mut self,
        trainer: &Trainer,
        observer: &mut dyn Observer,
        report: &StepReport,
    ) -> Result<()> {
        let measured = measure_validation(trainer, observer)?;
        let (step, queries, p_at_1) = (report.step, trainer.validation_rows.len(), measured.metrics[0].1);
        observer.event(&Event::Validated { step, p_at_1, queries });
        let seconds = observer.seconds() - self.since;
        self.line(
            observer,
            &json!({
                "step": step,
                "epoch": trainer.progress().epoch,
                "split": "validation",
                "queries": queries,
                "metrics": by_name(&measured.metrics),
                "by_frequency": by_frequency(&measured),
                "seconds": seconds,
            }),
        );
        Ok(())
    }
    /// Appends to the log. What cannot be written comes with the next line, and the user hears of it once.
    fn line(&mut self, observer: &mut dyn Observer, line: &Value) {
        let failed = self.log.append(line).err();
        observer.event(&Event::Logged(line));
        if let (Some(e), false) = (&failed, self.log_fails) {
            observer.event(&Event::Warning(&format!(
                "{e}\ntraining goes on; lines of the log are kept in memory"
            )));
        }
        self.log_fails = failed.is_some();
    }
    /// Begins a checkpoint where one is due, and hears of the one before. A disk that takes none stops no training; a
    /// device that fails does.
    fn save_if_due(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
        let every = trainer.config.save.every_seconds;
        // The last step is saved when all is over.
        let is_last = trainer.progress().step == trainer.total_steps();
        let is_due = every > 0.0 && !is_last && observer.seconds() - self.saved_at >= every;
        let heard = self.settle(observer, is_due);
        let begun = if is_due { self.begin(trainer, observer) } else { Ok(()) };
        for error in [heard.err(), begun.err()].into_iter().flatten() {
            if error.kind() == Kind::Other {
                return Err(error);
            }
            let text = format!("{error}\ntraining goes on; the next try is in {every} s");
            observer.event(&Event::Warning(&text));
        }
        Ok(())
    }
    fn begin(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
        self.saved_at = observer.seconds();
        self.saver.begin(trainer)?;
        self.waited = observer.seconds() - self.saved_at;
        if trainer.config.save.background { Ok(()) } else { self.settle(observer, true) }
    }
    /// Hears how the checkpoint that is on its way ended, if it did.
    fn settle(&mut self, observer: &mut dyn Observer, wait: bool) -> Result<()> {
        let since = observer.seconds();
        let step = self.saver.settled(wait)?;
        self.waited += observer.seconds() - since;
        step.into_iter().for_each(|step| observer.event(&Event::Saved { step, seconds: self.waited }));
        Ok(())
    }
    /// Saves, and returns when the disk has it.
    fn save(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
        if let Err(before) = self.settle(observer, true) {
            observer.event(&Event::Warning(&before.to_string()));
        }
        self.begin(trainer, observer)?;
        self.settle(observer, true)
    }
    /// Saves and stops.
    fn leave(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
        self.save(trainer, observer)?;
        self.log.flush()
    }
    fn finish(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<Outcome> {
        self.save(trainer, observer)?;
        let measured = match trainer.validation_rows.is_empty() {
            true => None,
            false => Some(measure_validation(trainer, observer)?),
        };
        let validation = measured.as_ref().map_or_else(Vec::new, |found| found.metrics.clone());
        let old_labels = match self.dir.old_labels_before() {
            None => None,
            Some(before) => measure_old_labels(trainer, observer)?
                .map(|(labels, queries, after)| OldLabels { labels, queries, before, after }),
        };
        load::write_models(trainer, self.dir, &validation)?;
        let last = json!({
            "final": true,
            "step": trainer.progress().step,
            "epoch": trainer.progress().epoch,
            "split": "validation",
            "queries": trainer.validation_rows.len(),
            "metrics": by_name(&validation),
            "by_frequency": measured.as_ref().map(by_frequency),
            "old_labels": old_labels.map(|o| {
                json!({"labels": o.labels, "queries": o.queries, "before": o.before, "after": o.after})
            }),
            "skipped": trainer.skipped(),
            "auxiliary_vectors": trainer.has_vectors(),
            "peak_rss_bytes": observer.memory_peak(),
            "seconds": observer.seconds() - self.since,
        });
        self.log.append(&last).map(|()| observer.event(&Event::Logged(&last)))?;
        Ok(Outcome { step: trainer.progress().step, finished: true, validation, old_labels })
    }
    /// Of a run that goes on from another: what that one knew, measured and logged before the first step.
    fn measure_before(&mut self, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
        if trainer.progress().step > 0 || self.dir.old_labels_before().is_some() {
            return Ok(());
        }
        if trainer.warm.as_ref().and_then(WarmStart::old_labels).is_none() {
            return Ok(());
        }
        // The epoch begins here, so that a classifier has its first weights.
        self.begin_epoch(trainer, observer)?;
        let Some((_, queries, p_at_1)) = measure_old_labels(trainer, observer)? else { return Ok(()) };
        observer.event(&Event::OldLabels { p_at_1, queries });
        let line = json!({"step": 0, "old_labels": {"P@1": p_at_1, "queries": queries}});
        self.log.append(&line).map(|()| observer.event(&Event::Logged(&line)))
    }
}
