//! What a race has run: one JSON object a line, each on disk before the next heat begins.

use super::heat::{Course, Finish, Stage, fingerprint};
use crate::config::Settings;
use engine::{Error, Result};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The journal of a race.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    heats: Vec<Finish>,
}

impl Journal {
    /// The journal in a folder, made where it is not there.
    ///
    /// # Errors
    /// If the system refuses, or the folder has the journal of a race on other data or by other kernels. A line that a
    /// killed process left half written is dropped.
    pub fn open(folder: &Path, data: u64, kernels: &str) -> Result<Journal> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let path = folder.join("race.jsonl");
        let head = json!({"race": 1, "data": format!("{data:016x}"), "kernels": kernels});
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io(&path, e)),
        };
        // What has no end of line was being written when its process was killed.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        match lines.next() {
            None => fs::write(&path, format!("{head}\n")).map_err(|e| Error::io(&path, e))?,
            Some(first) if serde_json::from_str::<Value>(first).is_ok_and(|found| found == head) => {
                if whole.len() < text.len() {
                    fs::write(&path, whole).map_err(|e| Error::io(&path, e))?;
                }
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
        Ok(Journal { path, heats })
    }
    /// Heats that were run.
    pub fn heats(&self) -> &[Finish] {
        &self.heats
    }
    /// A heat that was run with these settings.
    ///
    /// # Errors
    /// If a value of the settings lies outside its range.
    pub(super) fn find(&self, entrant: &str, settings: &Settings, course: &Course) -> Result<Option<Finish>> {
        let (hash, (stage, length)) = (fingerprint(settings)?, course.key());
        let marks = match course.stage {
            Stage::Final { marks, .. } => Some(marks as usize),
            _ => None,
        };
        let same = |heat: &&Finish| {
            heat.entrant == entrant
                && (&*heat.stage, heat.length, heat.seed) == (stage, length, course.seed)
                && heat.settings == hash
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
