//! What happens when a number of a step is not finite.
//!
//! ```text
//! train.skip_nonfinite = 0    the run ends (exit code 6); what it says names the operation, the batch and a checkpoint
//! train.skip_nonfinite = N    up to N such steps are passed over, then it ends
//! ```
//! A step that is passed over is counted as a step, so that its batch is not met again and a resumed run plans as this
//! one did; it changes neither parameters nor the optimizer's state, nor the bank, nor what is remembered. How many
//! there were is kept in checkpoints, so that the limit is that of the run and not of a process.

use crate::checkpoint::{Trained, list};
use crate::step::StepReport;
use crate::trainer::Trainer;
use autograd::Anomaly;
use engine::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// Ids of a batch that are named.
const NAMED: usize = 20;

impl StepReport {
    /// Whether an update may be made of it.
    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

impl Trainer {
    /// Steps that were passed over so far, where the configuration allows it.
    pub fn skipped(&self) -> Option<u32> {
        self.memory.skipped
    }
    /// Names the step, the operation that made the first number that is not finite, and the batch.
    pub(crate) fn not_finite(
        &self,
        report: &StepReport,
        of: &str,
        rows: &[u32],
        anomaly: Option<Anomaly>,
    ) -> Error {
        let (loss, norm, step) = (report.loss, report.grad_norm, report.step);
        let what = format!("step {step}: {of} is {loss} and the norm of its gradient {norm}");
        let error = anomaly.iter().fold(Error::new(Kind::Numeric, what), |e, a| e.note(a.to_string()));
        let uids: Vec<&str> = rows
            .iter()
            .take(NAMED)
            .map(|&row| {
                let (texts, i) = self.composed(row);
                texts.uid(i)
            })
            .collect();
        let rest = match rows.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        error.note(format!("the batch holds {}{rest}", uids.join(", ")))
    }
    /// Counts a step of so many batches that changes nothing; an error where no more may be passed over.
    pub(crate) fn pass_over(
        &mut self,
        error: Error,
        report: StepReport,
        batches: usize,
    ) -> Result<StepReport> {
        let limit = self.config.train.skip_nonfinite;
        match &mut self.memory.skipped {
            Some(skipped) if *skipped < limit => {
                *skipped += 1;
                let why = format!("passed over, {skipped} of at most {limit}: {error}");
                self.advance(batches);
                Ok(StepReport { skipped: Some(why), ..report })
            }
            Some(skipped) => {
                Err(error.note(format!("{skipped} steps were passed over before (train.skip_nonfinite)")))
            }
            None => Err(error),
        }
    }
}

/// The newest checkpoint whose parameters are finite: of a run that ends here, what can be gone back to.
pub fn last_good(checkpoints: &Path) -> Option<PathBuf> {
    let good = |trained: Trained| {
        let finite = |value: &engine::Tensor| value.data::<f32>().iter().all(|x| x.is_finite());
        trained.params.iter().all(|(_, value)| finite(value))
    };
    list(checkpoints).into_iter().find(|path| Trained::read(path).is_ok_and(good))
}
