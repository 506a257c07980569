//! What a race has run: one JSON object a line, each on disk before the next heat begins.

use super::heat::{Course, Finish, Stage, fingerprint};
use crate::config::Settings;
use crate::run_dir::RunDir;
use engine::{Error, Result};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a journal of this kind says of itself.
const VERSION: u32 = 2;

/// The journal of a race.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    heats: Vec<Finish>,
    /// Held while this process may write.
    _lock: File,
}

impl Journal {
    /// The journal in a folder, made where it is not there.
    ///
    /// # Errors
    /// If the system refuses, another process races here, or the folder has the journal of a race on other data or by
    /// other kernels. A line that a killed process left half written is dropped.
    pub fn open(folder: &Path, data: u64, kernels: &str) -> Result<Journal> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let lock = RunDir::at(folder).lock_of("lock", "another process is racing in this folder")?;
        let path = folder.join("race.jsonl");
        let head = json!({"race": VERSION, "data": format!("{data:016x}"), "kernels": kernels});
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => vec![],
            Err(e) => return Err(Error::io(&path, e)),
        };
        // What has no end of line was being written when its process was killed.
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let mut lines = text.lines();
        match lines.next() {
            None => fs::write(&path, format!("{head}\n")).map_err(|e| Error::io(&path, e))?,
            Some(first) if serde_json::from_str::<Value>(first).is_ok_and(|found| found == head) => {
                if whole < bytes.len() {
                    let file = OpenOptions::new().write(true).open(&path);
                    file.and_then(|file| file.set_len(whole as u64)).map_err(|e| Error::io(&path, e))?;
                }
            }
            Some(first)
                if serde_json::from_str::<Value>(first).is_ok_and(|found| found["race"] != VERSION) =>
            {
                let e =
                    Error::input("this race was begun by another version of Lode, which noted other things");
                return Err(e.at(&path).help("choose another --out"));
            }
            Some(_) => {
                let e = Error::input("this race is on other data, or was begun on another kind of processor");
                return Err(e.at(&path).help("choose another --out"));
            }
        }
        let heat = |(i, line): (usize, &str)| {
            let bad = |e: serde_json::Error| Error::input(e.to_string()).at_line(&path, i as u64 + 2, None);
            serde_json::from_str(line).map_err(bad)
        };
        let heats = lines.enumerate().map(heat).collect::<Result<_>>()?;
        Ok(Journal { path, heats, _lock: lock })
    }
    /// Heats that were run.
    pub fn heats(&self) -> &[Finish] {
        &self.heats
    }
    /// A heat that was run with these settings and models.
    ///
    /// # Errors
    /// If a value of the settings lies outside its range.
    pub(super) fn find(
        &self,
        (entrant, models): (&str, &str),
        settings: &Settings,
        course: &Course,
    ) -> Result<Option<Finish>> {
        let (hash, (stage, length)) = (fingerprint(settings)?, course.key());
        let marks = match course.stage {
            Stage::Final { marks, .. } => Some(marks as usize),
            _ => None,
        };
        let same = |heat: &&Finish| {
            heat.entrant == entrant
                && (&*heat.stage, heat.length, heat.seed) == (stage, length, course.seed)
                && heat.settings == hash
                && heat.models == models
                && marks.is_none_or(|marks| heat.curve.len() == marks.min(heat.steps as usize))
        };
        Ok(self.heats.iter().find(same).cloned())
    }
    /// Notes a heat.
    pub(super) fn append(&mut self, heat: &Finish) -> Result<()> {
        let line = format!("{}\n", serde_json::to_string(heat).expect("plain data"));
        let append = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        append().map_err(|e| Error::io(&self.path, e))?;
        self.heats.push(heat.clone());
        Ok(())
    }
}
