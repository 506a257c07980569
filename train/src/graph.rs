//! What the next step of a run is made of: its tapes, operation by operation.
//!
//! The step is that of [`crate::step`], on tapes that are watched ([`autograd::watch`]). Its batch is the one that the
//! run would take next, and nothing is written. It is computed on the CPU, whatever device the run has: there its bits
//! are those that the run would compute.

use crate::exec::Watches;
use crate::head::Head;
use crate::held::Held;
use crate::load;
use crate::observer::Observer;
use crate::plan::MemoryPlan;
use crate::run;
use crate::step::StepReport;
use crate::trainer::Trainer;
pub use autograd::{Flops, Seen};
use engine::profile::Clock;
use engine::{Engine, Result};
use std::path::Path;

/// One tape of a step.
#[derive(Clone, Debug)]
pub struct TapeSeen {
    /// What it is for: `encoder`, `loss`, `classifier`.
    pub name: &'static str,
    /// Its values, in the order in which they were made.
    pub values: Vec<Seen>,
    /// The parts of the model to which values may belong.
    pub parts: Vec<&'static str>,
}

/// The tapes of a step.
#[derive(Clone, Debug)]
pub struct Graph {
    /// What the step would have told, had it been taken.
    pub report: StepReport,
    /// In the order in which they were begun; the encoder's come again where a step encodes in chunks, or
    /// accumulates.
    pub tapes: Vec<TapeSeen>,
    /// Seconds on the wall of the whole step but the update.
    pub seconds: f64,
    /// What the tapes do not show of this step.
    pub unseen: Vec<String>,
}

impl Graph {
    /// Of the next step of a run, after its newest whole checkpoint.
    ///
    /// # Errors
    /// If it is no run, its data set has gone or changed, or the observer wants to stop or not to afford it.
    pub fn of(engine: &Engine, path: &Path, clock: Clock, observer: &mut dyn Observer) -> Result<Graph> {
        let (mut trainer, dir) = run::open_to_look(engine, path)?;
        let device = load::run_settings(path)?.1.config()?.train.device;
        MemoryPlan::within(&mut trainer, observer.memory_limit(), dir.root());
        observer.afford(&Graph::held(&trainer))?;
        run::take_up(&mut trainer, &dir, observer)?;
        let batches = trainer.next_batches(observer)?;
        if trainer.head.is_none() {
            // A first step waits for memory from the system, which no later one does.
            trainer.rehearse(&batches)?;
        }
        let watches = Watches::new(clock);
        let since = clock().wall;
        let report = trainer.watched_step(&batches, &watches)?;
        let seconds = clock().wall - since;
        let tapes = watches.tapes().into_iter().map(|(name, watch)| TapeSeen {
            name,
            values: watch.seen(),
            parts: watch.parts(),
        });
        // In chunks, the tape of the whole batch stays empty.
        let tapes: Vec<TapeSeen> = tapes.filter(|tape| !tape.values.is_empty()).collect();
        let elsewhere = (device != "cpu").then(|| format!("the run's device, {device}: this is the CPU"));
        let of_head = trainer.head.as_ref().is_some_and(Head::is_over_all).then(|| {
            "the classifier's own gradient and update over its labels, which are computed beside the tapes".to_owned()
        });
        Ok(Graph { report, tapes, seconds, unseen: elsewhere.into_iter().chain(of_head).collect() })
    }
    fn held(trainer: &Trainer) -> Held {
        let help = "the tape of a step takes what the step takes; --max-memory allows more";
        let mut held = Held { what: "the tape of a step", help, ..MemoryPlan::new(trainer).held() };
        // Nothing is saved, so there is no second bank.
        let banks = held.parts.iter_mut().filter(|(name, _)| *name == "memory bank");
        banks.for_each(|(_, bytes)| *bytes /= 2);
        held
    }
    /// All values of all tapes.
    pub fn values(&self) -> impl Iterator<Item = &Seen> {
        self.tapes.iter().flat_map(|tape| &tape.values)
    }
    /// Floating-point operations of the step.
    pub fn flops(&self) -> Flops {
        self.values().map(|value| value.flops).sum()
    }
    /// Bytes that the tapes kept for backward; of tapes that came one after another not all at once.
    pub fn kept(&self) -> u64 {
        self.values().map(|value| value.kept).sum()
    }
    /// Seconds within operations, forward and backward. The rest of the step composes the batch, masks, adds gradients
    /// up, and measures them for this.
    pub fn op_seconds(&self) -> [f64; 2] {
        [0, 1].map(|way| self.values().map(|value| value.seconds[way]).sum())
    }
}
