//! What the outside gives to a run and hears of it: the clock, the wish to stop, the progress. `train` itself reads no
//! clock and no signal.

use crate::held::Held;
use crate::step::StepReport;
use engine::Result;

/// What happens in a run, as it happens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training begins or goes on.
    Started {
        /// Steps in all.
        steps: u64,
        /// Steps done before.
        done: u64,
        /// Steps of one epoch.
        steps_per_epoch: u64,
    },
    /// A heat of a race begins.
    Heat {
        /// Who runs.
        entrant: &'a str,
        /// `epoch`, `rehearsal`, `trial` or `final`.
        stage: &'a str,
        /// Its seed.
        seed: u32,
        /// Steps that it takes; 0 where they are to be counted.
        steps: u64,
    },
    /// An optimizer step is done.
    Stepped(&'a StepReport),
    /// Texts are being embedded for a refresh, an index or an evaluation.
    Embedding {
        /// What for.
        what: &'a str,
        /// Texts done.
        done: usize,
        /// Texts in all.
        total: usize,
    },
    /// The composer has clustered the training queries anew.
    Clustered {
        /// The epoch that begins.
        epoch: u32,
        /// How many training queries each has, rising.
        sizes: &'a [u32],
        /// Seconds that it took.
        seconds: f64,
    },
    /// Negatives have new ranked lists to be drawn from.
    Ranked {
        /// The step before which.
        step: u64,
        /// Labels in the list of a training query, in the mean.
        kept: f64,
        /// Training queries whose list is empty: they have no hard negatives of their own.
        empty: usize,
        /// Seconds that it took.
        seconds: f64,
    },
    /// A teacher was asked which labels are near to the text of each.
    Taught {
        /// Near labels of a label that has a text, in the mean.
        near: f64,
        /// Labels without a near one.
        empty: usize,
        /// Seconds that it took.
        seconds: f64,
    },
    /// Hard negatives are being mined.
    Mined {
        /// Queries done, with a share of those at hand.
        done: usize,
        /// Queries in all.
        total: usize,
    },
    /// Measured on the validation queries.
    Validated {
        /// After this step.
        step: u64,
        /// P@1, a fraction.
        p_at_1: f64,
        /// How many queries.
        queries: usize,
    },
    /// Measured on the labels that the run knew from which this one goes on, before its first step.
    OldLabels {
        /// P@1, a fraction.
        p_at_1: f64,
        /// How many queries have one of them.
        queries: usize,
    },
    /// A checkpoint is on disk.
    Saved {
        /// The step that it holds.
        step: u64,
        /// Seconds that training waited for it.
        seconds: f64,
    },
    /// A line of the log, `log.jsonl`, as it is appended.
    Logged(&'a serde_json::Value),
    /// Something that the user should know and that stops nothing.
    Warning(&'a str),
}

/// The outside of a run.
pub trait Observer {
    /// Seconds since some fixed moment.
    fn seconds(&mut self) -> f64;
    /// Seconds that the processors worked for this process since some fixed moment: what others do on the machine does
    /// not count. Who does not know gives [`Observer::seconds`].
    fn processor_seconds(&mut self) -> f64 {
        self.seconds()
    }
    /// Whether to save and stop: asked after each step, and between chunks of texts while many are embedded.
    fn stop(&mut self) -> bool {
        false
    }
    /// Hears what happens.
    fn event(&mut self, event: &Event<'_>);
    /// What a job may hold before label tables are mapped; none where they never are for that.
    fn memory_limit(&self) -> Option<usize> {
        None
    }
    /// Asked before a job starts that holds so much; what it answers ends the job.
    ///
    /// # Errors
    /// [`engine::Kind::Refused`] where that is more than the job may hold.
    fn afford(&mut self, _: &Held) -> Result<()> {
        Ok(())
    }
    /// The most resident memory so far, in bytes, where the system tells.
    fn memory_peak(&mut self) -> Option<u64> {
        None
    }
}

/// Nobody watches: time stands still and nothing stops. For tests and small programs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn event(&mut self, _: &Event<'_>) {}
}
