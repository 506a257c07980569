//! What the terminal gives to a run and shows of it: the clock, the wish to stop, progress, memory.

use crate::context::Context;
use crate::memory::{self, Sampler};
use crate::meter::Meter;
use crate::processes;
use crate::profile;
use crate::quantity::{Bytes, count, span};
use crate::render::{Style, percent};
use crate::session;
use crate::stop::Stop;
use crate::tensorboard::Events;
use engine::Result;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;
use train::plan::bytes;
use train::{Event, Held, Observer, RunDir, StepReport};

/// Seconds over which the speed is taken.
const SPEED_OVER: f64 = 5.0;

/// The observer of the command line.
pub(crate) struct Terminal {
    started: Instant,
    meter: Meter,
    style: Style,
    verbose: bool,
    stop: Stop,
    memory: Sampler,
    /// The most that a job may hold.
    limit: Option<usize>,
    steps: u64,
    done_before: u64,
    stepping_since: f64,
    speed: Speed,
    validation: Option<f64>,
    /// What is written beside the log of a run as soon as training begins.
    pub(crate) begins: Option<(RunDir, Value)>,
    /// The folder of event files that a run asks for.
    pub(crate) tensorboard: Option<PathBuf>,
    /// The one of this process, once training has begun.
    events: Option<Events>,
    /// Whether the user was told that it cannot be written.
    events_fail: bool,
    /// Tokens in the steps so far.
    pub(crate) tokens: u64,
    /// The last checkpoint: its step and the seconds that it took.
    pub(crate) saved: Option<(u64, f64)>,
}

/// Tokens a second, over the last few seconds.
#[derive(Default)]
struct Speed {
    since: f64,
    tokens: u64,
    last: f64,
}

impl Speed {
    fn add(&mut self, tokens: u64, now: f64) -> f64 {
        self.tokens += tokens;
        let span = now - self.since;
        if span >= SPEED_OVER {
            *self = Speed { since: now, tokens: 0, last: self.tokens as f64 / span };
        } else if self.last == 0.0 && span > 0.0 {
            return self.tokens as f64 / span;
        }
        self.last
    }
}

impl Terminal {
    /// Begins to watch.
    pub(crate) fn new(context: &Context) -> Terminal {
        Terminal {
            started: Instant::now(),
            meter: context.meter(),
            style: context.style,
            verbose: context.verbose,
            stop: context.stop.clone(),
            memory: Sampler::start(),
            limit: None,
            steps: 0,
            done_before: 0,
            stepping_since: 0.0,
            speed: Speed::default(),
            validation: None,
            begins: None,
            tensorboard: None,
            events: None,
            events_fail: false,
            tokens: 0,
            saved: None,
        }
    }
    /// Begins to watch a job that may hold so much.
    pub(crate) fn limited(context: &Context, limit: Option<Bytes>) -> Terminal {
        Terminal { limit: limit.map(|bytes| bytes.0), ..Terminal::new(context) }
    }
    /// The most anonymous memory so far, in bytes.
    pub(crate) fn anonymous_peak(&self) -> Option<u64> {
        self.memory.anonymous_peak()
    }
    /// Takes the bar away and, with `-v`, says what it took.
    pub(crate) fn finish(&self) {
        self.meter.clear();
        if self.verbose {
            let took = span(self.started.elapsed().as_secs_f64());
            let peak = self
                .anonymous_peak()
                .map_or_else(String::new, |p| format!(", memory at most {}", bytes(p as usize)));
            self.meter.line(&format!("took {took}{peak}"));
        }
    }
    fn stepped(&mut self, report: &StepReport) {
        let now = self.seconds();
        self.tokens += report.tokens;
        let speed = self.speed.add(report.tokens, now);
        let here = report.step.saturating_sub(self.done_before).max(1);
        let left = (now - self.stepping_since) / here as f64 * self.steps.saturating_sub(report.step) as f64;
        let (steps, validation) = (self.steps, self.validation);
        self.meter.show("train", report.step, steps, || {
            let measured = validation.map_or_else(String::new, |p| format!("  P@1 {}", percent(p)));
            let (step, speed) = (count(report.step), count(speed as u64));
            let loss = report.loss;
            if steps == 0 {
                return format!("step {step}  loss {loss:.4}  {speed} tokens/s");
            }
            format!(
                "step {step} of {}  loss {loss:.4}{measured}  {speed} tokens/s  {} left",
                count(steps),
                span(left)
            )
        });
    }
    /// Begins the event file of this process, or adds a line to it. Nothing depends on it: where the system refuses,
    /// the user hears of it once.
    fn write_events(&mut self, write: impl FnOnce(&mut Option<Events>) -> Result<()>) {
        let failed = write(&mut self.events).err();
        if let (Some(error), false) = (&failed, self.events_fail) {
            let warning = self.style.warning("warning:");
            self.meter.warning(&format!("{warning} {error}\ntraining goes on; so does its log"));
        }
        self.events_fail = failed.is_some();
    }
    fn more(&self, text: &str) {
        if self.verbose {
            self.meter.line(text);
        }
    }
}

impl Observer for Terminal {
    fn memory_limit(&self) -> Option<usize> {
        session::limit(self.limit)
    }
    fn afford(&mut self, held: &Held) -> Result<()> {
        session::afford(held, self.limit, self.style, "")
    }
    fn seconds(&mut self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
    fn processor_seconds(&mut self) -> f64 {
        profile::clock().cpu
    }
    fn stop(&mut self) -> bool {
        self.stop.requested().is_some()
    }
    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Started { steps, done, steps_per_epoch } => {
                (self.steps, self.done_before, self.stepping_since) = (steps, done, self.seconds());
                self.speed.since = self.stepping_since;
                if let Some((dir, line)) = self.begins.take() {
                    processes::append(&dir, &line);
                }
                if let Some(folder) = self.tensorboard.take() {
                    self.write_events(|events| {
                        *events = Some(Events::create(&folder, done)?);
                        Ok(())
                    });
                }
                let from = if done > 0 { format!(", {} done before", count(done)) } else { String::new() };
                let (steps, epoch) = (count(steps), count(steps_per_epoch));
                self.meter.line(&format!("train: {steps} steps, {epoch} in an epoch{from}"));
            }
            Event::Heat { entrant, stage, seed, steps } => {
                (self.steps, self.done_before, self.stepping_since) = (steps, 0, self.seconds());
                self.speed = Speed { since: self.stepping_since, ..Speed::default() };
                let seed = if stage == "final" { format!(" {seed}") } else { String::new() };
                self.meter.line(&format!("{entrant}: {stage}{seed}"));
            }
            Event::Stepped(report) => self.stepped(report),
            Event::Embedding { what, done, total } => {
                let shown = || format!("{} of {}", count(done as u64), count(total as u64));
                self.meter.show(&format!("embed {what}"), done as u64, total as u64, shown);
            }
            Event::Clustered { epoch, sizes, seconds } => {
                let (clusters, took) = (count(sizes.len() as u64), span(seconds));
                self.more(&format!("epoch {epoch}: {clusters} clusters in {took}"));
            }
            Event::Ranked { step, kept, empty, seconds } => {
                let (step, took) = (count(step), span(seconds));
                let none = match empty {
                    0 => String::new(),
                    some => format!("; {} queries have none", count(some as u64)),
                };
                self.meter.line(&format!("  step {step}: lists of {kept:.1} labels a query in {took}{none}"));
            }
            Event::Taught { near, empty, seconds } => {
                let (took, none) = (span(seconds), count(empty as u64));
                let told = format!("{near:.1} near labels for the text of a label, none for {none}");
                self.meter.line(&format!("  teacher: {told}, in {took}"));
            }
            Event::Mined { done, total } => {
                let shown = || format!("{} of {}", count(done as u64), count(total as u64));
                self.meter.show("mine queries", done as u64, total as u64, shown);
            }
            Event::Validated { step, p_at_1, queries } => {
                self.validation = Some(p_at_1);
                let (step, p) = (count(step), percent(p_at_1));
                self.meter.line(&format!("  step {step}: P@1 {p} on {queries} validation queries"));
            }
            Event::OldLabels { p_at_1, queries } => {
                let (p, queries) = (percent(p_at_1), count(queries as u64));
                self.meter
                    .line(&format!("  before the first step: P@1 {p} on {queries} queries of old labels"));
            }
            Event::Logged(line) => {
                self.write_events(|events| events.as_mut().map_or(Ok(()), |events| events.add(line)));
            }
            Event::Saved { step, seconds } => {
                self.saved = Some((step, seconds));
                self.more(&format!("saved step {}, waited for {seconds:.2} s", count(step)));
            }
            Event::Warning(text) => self.meter.warning(&format!("{} {text}", self.style.warning("warning:"))),
            _ => {}
        }
    }
    fn memory_peak(&mut self) -> Option<u64> {
        memory::resident_peak()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_of_the_last_seconds_and_not_of_the_whole_run() {
        let mut speed = Speed::default();
        assert_eq!(speed.add(100, 1.0), 100.0);
        assert_eq!(speed.add(900, 5.0), 200.0);
        assert_eq!(speed.add(1, 6.0), 200.0);
        assert_eq!(speed.add(49, 10.0), 10.0);
    }
}
