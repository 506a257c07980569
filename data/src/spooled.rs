//! What the readers found, now fixed and mapped: the input of tokenizing, of the summary and of the file.

use crate::build::{Build, Counts, Queries, Rows, Strings, TextSpool};
use crate::reject::Rejected;
use crate::texts::joined;
use engine::Result;
use engine::container::Spooled;
use std::borrow::Cow;
use std::ops::Range;

/// Strings that a reader has checked to be UTF-8.
pub(crate) struct StringTable {
    pub(crate) bytes: Spooled<u8>,
    pub(crate) starts: Spooled<u64>,
}

impl StringTable {
    fn new(strings: Strings) -> Result<StringTable> {
        Ok(StringTable { bytes: strings.bytes.finish()?, starts: strings.starts.finish()? })
    }
    pub(crate) fn get(&self, i: usize) -> &str {
        let bytes = &self.bytes[range(&self.starts, i)];
        std::str::from_utf8(bytes).expect("only whole strings were appended")
    }
}

/// Texts with their ids.
pub(crate) struct TextTable {
    pub(crate) titles: StringTable,
    pub(crate) contents: StringTable,
    pub(crate) uids: StringTable,
}

impl TextTable {
    pub(crate) fn new(spool: TextSpool) -> Result<TextTable> {
        Ok(TextTable {
            titles: StringTable::new(spool.titles)?,
            contents: StringTable::new(spool.contents)?,
            uids: StringTable::new(spool.uids)?,
        })
    }
    pub(crate) fn len(&self) -> usize {
        self.uids.starts.len() - 1
    }
    /// What is tokenized: title, then content.
    pub(crate) fn text(&self, i: usize) -> Cow<'_, str> {
        joined(self.titles.get(i), self.contents.get(i))
    }
}

/// The queries of one split with their labels.
pub(crate) struct QueryTable {
    pub(crate) texts: TextTable,
    pub(crate) starts: Spooled<u64>,
    pub(crate) labels: Spooled<u32>,
    /// Only when one differs from 1.
    pub(crate) values: Option<Spooled<f32>>,
    /// (row, label), ascending.
    pub(crate) filtered: Vec<(u32, u32)>,
}

impl QueryTable {
    fn new(queries: Queries) -> Result<QueryTable> {
        let Rows { starts, labels, values, graded } = queries.rows;
        Ok(QueryTable {
            texts: TextTable::new(queries.texts)?,
            starts: starts.finish()?,
            labels: labels.finish()?,
            values: if graded { Some(values.finish()?) } else { None },
            filtered: queries.filtered,
        })
    }
    pub(crate) fn positives(&self, i: usize) -> &[u32] {
        &self.labels[range(&self.starts, i)]
    }
}

/// All that was read.
pub(crate) struct Parts {
    pub(crate) train: QueryTable,
    pub(crate) test: QueryTable,
    pub(crate) labels: TextTable,
    pub(crate) counts: Counts,
    pub(crate) warnings: Vec<String>,
    pub(crate) rejected: Rejected,
}

impl Parts {
    /// Ends the reading; the tables of uids are forgotten.
    pub(crate) fn new(build: Build) -> Result<Parts> {
        Ok(Parts {
            train: QueryTable::new(build.train)?,
            test: QueryTable::new(build.test)?,
            labels: TextTable::new(build.labels)?,
            counts: build.counts,
            warnings: build.warnings,
            rejected: build.rejected,
        })
    }
}

/// Where entry `i` lies, by `starts`.
pub(crate) fn range(starts: &[u64], i: usize) -> Range<usize> {
    starts[i] as usize..starts[i + 1] as usize
}
