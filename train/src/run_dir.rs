//! A run directory: what a run was told, what it did, and what it made.
//!
//! ```text
//! RUN/config.toml       every value with its origin
//! RUN/log.jsonl         one JSON object every few steps and for each measurement; the last one is final
//! RUN/tensorboard/      the log as event files, where `save.tensorboard` asks for it (written by the command line)
//! RUN/processes.jsonl   which processes trained it, on what (written by the command line)
//! RUN/model/            the encoder as a sentence-transformers directory
//! RUN/cross/            the cross-encoder as one, where the run has one
//! RUN/excluded-*.tsv    pairs that are no negatives, as they were when it began (`train --exclude`); its checksum
//!                       stands in its name
//! RUN/checkpoints/      the newest states, each whole or absent
//! RUN/index*.lode       embeddings of labels and titles, made by the first `lode predict`
//! RUN/overlay.lode      labels added and removed since, for `lode predict`
//! RUN/lock              held while a process trains here; RUN/overlay.lock while one changes the overlay
//! ```

use crate::checkpoint;
use crate::warm_start::OldLabels;
use data::metrics::Metric;
use engine::container::checksum;
use engine::{Error, Kind, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How the name of the file of excluded pairs begins.
const EXCLUDED: &str = "excluded-";

/// A run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The run at `root`, whether or not it exists.
    pub fn at(root: &Path) -> RunDir {
        RunDir { root: root.to_owned() }
    }
    /// Whether a path is a run directory.
    pub fn is_run(path: &Path) -> bool {
        path.join("config.toml").is_file() && path.join("model").is_dir()
    }
    /// Gives its models their names back where a process was killed between the two renames that replace one.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn restore_model(&self) -> Result<()> {
        for (model, previous) in [(self.model(), ".model.previous"), (self.cross(), ".cross.previous")] {
            let previous = self.root.join(previous);
            if !model.exists() && previous.is_dir() {
                fs::rename(&previous, &model).map_err(|e| Error::io(&model, e))?;
            }
        }
        Ok(())
    }
    /// Makes the directory for a new run.
    ///
    /// # Errors
    /// If something is there already, or the system refuses.
    pub fn create(root: &Path) -> Result<RunDir> {
        if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            let help = match RunDir::is_run(root) {
                true => format!("go on with `lode resume {}`, or choose another --out", root.display()),
                false => "choose another --out".to_owned(),
            };
            return Err(Error::input("this directory is not empty").at(root).help(help));
        }
        fs::create_dir_all(root).map_err(|e| Error::io(root, e))?;
        Ok(RunDir::at(root))
    }
    /// What to do where training could not go on, or a checkpoint not be written.
    pub(crate) fn way_on(&self, error: Error) -> Error {
        let run = self.root.display();
        match error.kind() {
            Kind::Other => error.help(format!("`lode resume {run}` goes on from its newest checkpoint")),
            Kind::Io => {
                error.help(format!("see to the disk, then `lode resume {run}` goes on from the last one"))
            }
            _ => error,
        }
    }
    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }
    /// The model directory.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }
    /// The directory of the cross-encoder.
    pub fn cross(&self) -> PathBuf {
        self.root.join("cross")
    }
    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }
    /// The log.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.jsonl")
    }
    /// Keeps the pairs that are no negatives, and gives their file.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn keep_excluded(&self, text: &str) -> Result<PathBuf> {
        let path = self.root.join(format!("{EXCLUDED}{:016x}.tsv", checksum(text.as_bytes())));
        RunDir::write_text(&path, text).map(|()| path)
    }
    /// The file of the pairs that are no negatives. A run goes on with those that it began with, or not at all.
    ///
    /// # Errors
    /// If it is gone, or was changed since.
    pub(crate) fn excluded(&self) -> Result<PathBuf> {
        let help = "a run that goes on needs the pairs that it began with: begin a new one with --exclude";
        let Some(path) = self.excluded_files().pop() else {
            return Err(Error::input("the file of excluded pairs is gone").at(&self.root).help(help));
        };
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let name = format!("{EXCLUDED}{:016x}.tsv", checksum(&bytes));
        match path.file_name().is_some_and(|own| *own == *name) {
            true => Ok(path),
            false => Err(Error::new(Kind::Damaged, "was changed since the run began").at(&path).help(help)),
        }
    }
    fn excluded_files(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let ours = |name: &str| name.starts_with(EXCLUDED) && name.ends_with(".tsv");
        let mut all: Vec<PathBuf> = all
            .filter(|entry| entry.file_name().to_str().is_some_and(ours))
            .map(|entry| entry.path())
            .collect();
        all.sort_unstable();
        all
    }
    /// The file of labels that were added and removed.
    pub fn overlay(&self) -> PathBuf {
        self.root.join("overlay.lode")
    }
    /// Takes the lock of the directory; it is released when the file is dropped.
    ///
    /// # Errors
    /// If another process trains here.
    pub fn lock(&self) -> Result<File> {
        self.lock_of("lock", "another process is training in this directory")
    }
    /// Takes the lock of the overlay, without which a change could undo that of another process.
    ///
    /// # Errors
    /// If another process changes the overlay.
    pub fn lock_overlay(&self) -> Result<File> {
        self.lock_of("overlay.lock", "another process is adding or removing labels in this directory")
    }
    pub(crate) fn lock_of(&self, name: &str, busy: &str) -> Result<File> {
        let path = self.root.join(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::new(Kind::Refused, busy).at(&self.root)),
            Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
        }
    }
    /// Writes a small file: a temporary name, then a rename.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write_text(path: &Path, text: &str) -> Result<()> {
        let temporary = path.with_extension("tmp");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|e| Error::io(path, e))
    }
    /// Cuts the log back to the lines of steps up to `step`: what came after the checkpoint is done again.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn rewind_log(&self, step: u64) -> Result<()> {
        let path = self.log();
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let keep = |line: &&str| {
            let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
            value.is_some_and(|v| v.get("final").is_none() && v["step"].as_u64().is_some_and(|s| s <= step))
        };
        let kept: String = text.lines().filter(keep).flat_map(|line| [line, "\n"]).collect();
        if kept == text { Ok(()) } else { RunDir::write_text(&path, &kept) }
    }
    /// The last line of the log, if the run is finished.
    pub fn final_line(&self) -> Option<serde_json::Value> {
        let text = fs::read_to_string(self.log()).ok()?;
        let last: serde_json::Value = serde_json::from_str(text.lines().last()?).ok()?;
        (last["final"] == true).then_some(last)
    }
    /// What was measured at the end, if the run is finished.
    pub fn final_metrics(&self) -> Vec<(Metric, f64)> {
        let Some(last) = self.final_line() else { return vec![] };
        let all = last["metrics"].as_object().into_iter().flatten();
        all.filter_map(|(name, value)| Some((*Metric::list(name).ok()?.first()?, value.as_f64()?))).collect()
    }
    /// P@1 on the labels of the run from which this one went on, before its first step, if that was measured.
    pub fn old_labels_before(&self) -> Option<f64> {
        let text = fs::read_to_string(self.log()).ok()?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line.get("final").is_none()).find_map(|line| line["old_labels"]["P@1"].as_f64())
    }
    /// What was measured on those labels at the end, if the run is finished.
    pub fn final_old_labels(&self) -> Option<OldLabels> {
        let last = self.final_line()?;
        let (number, fraction) =
            (|key: &str| last["old_labels"][key].as_u64(), |key: &str| last["old_labels"][key].as_f64());
        Some(OldLabels {
            labels: number("labels")? as usize,
            queries: number("queries")? as usize,
            before: fraction("before")?,
            after: fraction("after")?,
        })
    }
    /// Takes away what a failed beginning has left here; the directory itself stays if it holds anything else.
    pub(crate) fn discard(&self) {
        // It is not there, or it stays: the error that led here is the one to report.
        let _ = fs::remove_file(self.config());
        let _ = fs::remove_file(self.config().with_extension("tmp"));
        for path in self.excluded_files() {
            let _ = fs::remove_file(path);
        }
        for folder in ["model", "cross", ".model.partial", ".cross.partial"] {
            let _ = fs::remove_dir_all(self.root.join(folder));
        }
        // What is kept before the first step; others are nothing that a beginning leaves.
        let folder = self.checkpoints();
        let _ = checkpoint::remove_unfinished(&folder);
        let _ = fs::remove_file(checkpoint::path_of(&folder, 0));
        let _ = fs::remove_dir(&folder);
        let _ = fs::remove_dir(&self.root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use serde_json::json;

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("x"), "y").expect("written");
        assert_eq!(RunDir::create(dir.path()).expect_err("not empty").kind(), Kind::Input);
        assert!(RunDir::create(&dir.path().join("new")).is_ok());
    }

    #[test]
    fn two_processes_do_not_train_in_one_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = RunDir::at(dir.path());
        let held = run.lock().expect("free");
        assert_eq!(run.lock().expect_err("held").kind(), Kind::Refused);
        drop(held);
        assert!(run.lock().is_ok());
    }

    #[test]
    fn the_log_is_cut_back_to_the_checkpoint() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = RunDir::at(dir.path());
        let mut log = Log::at(&run.log());
        for step in 1..=4 {
            log.append(&json!({"step": step})).expect("appended");
        }
        log.append(&json!({"step": 4, "final": true})).expect("appended");
        run.rewind_log(2).expect("rewound");
        assert_eq!(fs::read_to_string(run.log()).expect("read"), "{\"step\":1}\n{\"step\":2}\n");
    }
}
