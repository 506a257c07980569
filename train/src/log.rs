//! The log of a run, which a disk that takes nothing for a while does not end.

use engine::{Error, Result};
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of JSON lines that only grows.
pub struct Log {
    path: PathBuf,
    /// Lines that the system has not taken yet.
    unwritten: String,
    /// Bytes of whole lines in the file: what is behind them is a line that broke off.
    whole: u64,
}

impl Log {
    /// The log at `path`, whether or not it exists.
    pub fn at(path: &Path) -> Log {
        let whole = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Log { path: path.to_owned(), unwritten: String::new(), whole }
    }
    /// Appends one object, behind those that could not be written before.
    ///
    /// # Errors
    /// If the system refuses; the line is kept, and comes with the next one.
    pub fn append(&mut self, line: &impl Serialize) -> Result<()> {
        self.unwritten += &serde_json::to_string(line).expect("a line of the log is plain data");
        self.unwritten.push('\n');
        self.flush()
    }
    /// Writes the lines that are kept.
    ///
    /// # Errors
    /// If the system refuses; they are still kept.
    pub fn flush(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let length = file.metadata()?.len();
            self.whole = self.whole.min(length);
            if length > self.whole {
                file.set_len(self.whole)?;
            }
            file.write_all(self.unwritten.as_bytes())
        };
        write().map_err(|e| Error::io(&self.path, e))?;
        self.whole += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }
    /// True when the file has all that was appended.
    pub fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    #[test]
    fn lines_that_could_not_be_written_come_with_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, aside) = (dir.path().join("log.jsonl"), dir.path().join("aside"));
        let mut log = Log::at(&path);
        log.append(&json!({"step": 1})).expect("appended");
        fs::rename(&path, &aside).expect("moved");
        fs::create_dir(&path).expect("in its place");
        for step in [2, 3] {
            assert!(log.append(&json!({"step": step})).is_err(), "a folder takes no lines");
        }
        assert!(!log.is_written());
        fs::remove_dir(&path).expect("gone");
        fs::rename(&aside, &path).expect("back");
        // As a full disk leaves it: a line that broke off.
        OpenOptions::new().append(true).open(&path).and_then(|mut f| f.write_all(b"{\"st")).expect("torn");
        log.append(&json!({"step": 4})).expect("appended");
        let want: String = (1..=4).map(|step| format!("{{\"step\":{step}}}\n")).collect();
        assert!(log.is_written() && fs::read_to_string(&path).expect("read") == want);
    }
}
