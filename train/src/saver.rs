//! Who brings checkpoints to the disk while training goes on.
//!
//! ```text
//! step n   stage: every byte is given to the system        training waits: a copy into the cache
//! step n+1 …        sync, rename, sync the folder, prune    a thread waits: the disk
//! ```
//! The system's own cache is the snapshot, so there is no second copy of the weights in the process, and tables that
//! are larger than memory are saved alike. One checkpoint is on its way at a time, since the next may add to it.
//!
//! Each is written over the file of one that is no longer kept, which waits under a temporary name: its pages are in
//! the cache already, and having new ones is most of what a copy costs. So one file more than `save.keep` lies on the
//! disk.

use crate::checkpoint::{self, Saved, Staged};
use crate::trainer::Trainer;
use engine::container::Spare;
use engine::{Error, Kind, Result};
use std::path::PathBuf;
use std::thread::JoinHandle;

/// Checkpoints of a run, and which of them is there for good.
pub(crate) struct Saver {
    folder: PathBuf,
    background: bool,
    last: Option<PathBuf>,
    /// What the next one is written over.
    spare: Option<Spare>,
    /// One failed, and where its folder was out of reach its temporary file stayed.
    litter: bool,
    on_its_way: Option<(u64, JoinHandle<Result<Saved>>)>,
}

impl Saver {
    /// For checkpoints in `folder`, of which `last` is the newest.
    pub(crate) fn new(folder: PathBuf, background: bool, last: Option<PathBuf>) -> Saver {
        Saver { folder, background, last, spare: None, litter: false, on_its_way: None }
    }
    /// Begins to save where `trainer` stands, when the one before is on the disk. Its outcome comes with
    /// [`Saver::settled`].
    ///
    /// # Errors
    /// If the bytes cannot be written; older checkpoints are untouched then.
    pub(crate) fn begin(&mut self, trainer: &mut Trainer) -> Result<()> {
        assert!(self.on_its_way.is_none(), "the one before was settled");
        let step = trainer.progress().step;
        if self.litter {
            checkpoint::remove_unfinished(&self.folder).map_err(|e| self.failed(step, e))?;
            self.litter = false;
        }
        let staged = trainer.stage(&self.folder, self.spare.take()).map_err(|e| self.failed(step, e))?;
        let commit = move || Staged::commit(staged);
        let started = std::thread::Builder::new().name("save".into()).spawn(commit);
        let thread = started
            .map_err(|e| self.failed(step, Error::new(Kind::Io, format!("no thread can be started: {e}"))))?;
        self.on_its_way = Some((step, thread));
        Ok(())
    }
    /// The step of the checkpoint that was on its way, if it is settled by now; `wait` for it in any case.
    ///
    /// # Errors
    /// If the disk did not take it.
    pub(crate) fn settled(&mut self, wait: bool) -> Result<Option<u64>> {
        let is_settled =
            |(_, thread): &(u64, JoinHandle<_>)| wait || !self.background || thread.is_finished();
        if !self.on_its_way.as_ref().is_some_and(is_settled) {
            return Ok(None);
        }
        let Some((step, thread)) = self.on_its_way.take() else { return Ok(None) };
        match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Ok(saved) => {
                (self.last, self.spare) = (Some(saved.path), saved.spare);
                Ok(Some(step))
            }
            Err(e) => Err(self.failed(step, e)),
        }
    }
    /// Notes that a checkpoint failed, and says what is left.
    fn failed(&mut self, step: u64, error: Error) -> Error {
        self.litter = true;
        let error = error.note(format!("the checkpoint of step {step} was not written"));
        error.note(match &self.last {
            Some(last) => format!("the last one is {}", last.display()),
            None => "there is none before it".to_owned(),
        })
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // The run ends by an error of its own: what was staged is still brought to the disk, and the lock of the
        // directory is held until then.
        self.on_its_way.take().map(|(_, thread)| thread.join());
    }
}
