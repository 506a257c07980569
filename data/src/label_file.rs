//! A file of labels by itself: read as `prepare` reads it, with the same demands and the same errors.

use crate::build::Build;
use crate::read::csv;
use crate::source::{PrepareOptions, TokenizerChoice};
use crate::spooled::TextTable;
use engine::Result;
use std::borrow::Cow;
use std::path::Path;

/// Labels with ids and texts: JSON lines `{"id", "text"}`, or a table with those columns.
pub struct LabelFile {
    table: TextTable,
}

impl LabelFile {
    /// Reads a file; what is read is spooled, without a name, in the folder of `beside`.
    ///
    /// # Errors
    /// `Kind::Input` with file, line and what to do, for whatever is wrong with it.
    pub fn read(path: &Path, beside: &Path) -> Result<LabelFile> {
        let options = PrepareOptions::new(beside, TokenizerChoice::Train(0));
        let mut nobody = |_| {};
        let mut build = Build::new(&options, &mut nobody)?;
        csv::read_labels(path, &mut build)?;
        Ok(LabelFile { table: TextTable::new(build.labels)? })
    }
    /// The number of labels.
    pub fn len(&self) -> usize {
        self.table.len()
    }
    /// True when there is no label.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The id of label `i`.
    ///
    /// # Panics
    /// When there is no label `i`; so do the other accessors.
    pub fn uid(&self, i: usize) -> &str {
        self.table.uids.get(i)
    }
    /// The title of label `i`, by which it is shown.
    pub fn title(&self, i: usize) -> &str {
        self.table.titles.get(i)
    }
    /// All of its text, which is tokenized.
    pub fn text(&self, i: usize) -> Cow<'_, str> {
        self.table.text(i)
    }
}
