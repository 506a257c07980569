//! Lines that were left out, each with its reason: `DATA.rejected.jsonl`.

use crate::source::OnBadLine;
use engine::{Error, Kind, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Collects what is left out in a temporary file, which gets its name when the data set does.
pub(crate) struct Rejected {
    policy: OnBadLine,
    target: PathBuf,
    temporary: PathBuf,
    out: Option<BufWriter<File>>,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

impl Rejected {
    pub(crate) fn new(data: &Path, policy: OnBadLine) -> Rejected {
        let target = with_suffix(data, ".rejected.jsonl");
        let temporary = with_suffix(&target, &format!(".tmp-{}", std::process::id()));
        Rejected { policy, target, temporary, out: None }
    }

    /// Notes the line of `error`, or gives the error back when it is not about one line, or lines are not
    /// to be left out.
    pub(crate) fn add(&mut self, error: Error) -> Result<()> {
        let place = error.place().filter(|p| error.kind() == Kind::Input && p.line.is_some()).cloned();
        let (OnBadLine::Skip, Some(place)) = (self.policy, place) else { return Err(error) };
        let failed = |e| Error::io(&self.temporary, e);
        let out = match &mut self.out {
            Some(out) => out,
            none => none.insert(BufWriter::new(File::create(&self.temporary).map_err(failed)?)),
        };
        let row = serde_json::json!({
            "file": place.path.file_name().unwrap_or_default().to_string_lossy(),
            "line": place.line,
            "column": place.column,
            "reason": error.message(),
            "text": place.shown,
        });
        writeln!(out, "{row}").map_err(failed)
    }

    /// Gives the list its name; removes an older one when nothing was left out.
    pub(crate) fn commit(mut self) -> Result<()> {
        let Some(out) = self.out.take() else {
            return match std::fs::remove_file(&self.target) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&self.target, e)),
                _ => Ok(()),
            };
        };
        let failed = |e| Error::io(&self.target, e);
        let renamed = out
            .into_inner()
            .map_err(|e| e.into_error())
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&self.temporary, &self.target));
        if renamed.is_err() {
            // The rename's error is the one that counts.
            let _ = std::fs::remove_file(&self.temporary);
        }
        renamed.map_err(failed)
    }
}

impl Drop for Rejected {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            // Nobody is left to hear of an error here.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}
