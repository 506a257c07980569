//! What the readers fill: texts, ids and relevance, spooled to disk as they come.
//!
//! A row is checked whole before a byte of it is kept, so that a bad line can be left out without a trace.
//! In memory stay 24 bytes a uid (to find duplicates), the filter pairs, and nothing of the texts.

use crate::lines::Line;
use crate::reject::Rejected;
use crate::source::{PrepareOptions, Progress, Stage};
use engine::container::{Spool, checksum_wide};
use engine::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// A row has no place in its table: it was left out.
const LEFT_OUT: u32 = u32::MAX;

/// Texts with their ids, in the order in which they came.
pub(crate) struct TextSpool {
    pub(crate) titles: Strings,
    /// What follows the title, as far as it is used.
    pub(crate) contents: Strings,
    pub(crate) uids: Strings,
    /// Hash of the uid → row and line. Looked up, never iterated.
    seen: HashMap<u128, (u32, u64)>,
}

/// Strings one after another, and where each starts.
pub(crate) struct Strings {
    pub(crate) bytes: Spool<u8>,
    pub(crate) starts: Spool<u64>,
}

impl Strings {
    fn new(beside: &Path) -> Result<Strings> {
        let mut starts = Spool::beside(beside)?;
        starts.append(&[0])?;
        Ok(Strings { bytes: Spool::beside(beside)?, starts })
    }
    fn push(&mut self, text: &str) -> Result<()> {
        self.bytes.append(text.as_bytes())?;
        self.starts.append(&[self.bytes.len() as u64])
    }
}

/// The uid of a row: given, or its number in the source.
#[derive(Clone, Copy)]
pub(crate) enum Uid<'a> {
    Given(&'a str),
    Number(u64),
}

/// One text as a reader found it.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) uid: Uid<'a>,
    pub(crate) title: &'a str,
    pub(crate) content: &'a str,
}

impl TextSpool {
    fn new(beside: &Path) -> Result<TextSpool> {
        let strings = || Strings::new(beside);
        Ok(TextSpool { titles: strings()?, contents: strings()?, uids: strings()?, seen: HashMap::new() })
    }
    /// The number of texts.
    pub(crate) fn rows(&self) -> u32 {
        (self.uids.starts.len() - 1) as u32
    }
    /// The row of a given uid.
    pub(crate) fn find(&self, uid: &str) -> Option<u32> {
        self.seen.get(&checksum_wide(uid.as_bytes())).map(|&(row, _)| row)
    }
    fn check_new(&self, uid: Uid, line: &Line) -> Result<()> {
        if self.rows() >= LEFT_OUT - 1 {
            return Err(Error::input("more than 4,294,967,293 rows").at(line.path));
        }
        let Uid::Given(uid) = uid else { return Ok(()) };
        match self.seen.get(&checksum_wide(uid.as_bytes())) {
            Some((_, first)) => Err(line
                .error(format!("duplicate uid `{uid}`"))
                .note(format!("it stands on line {first} too"))
                .help("every row needs an id of its own; drop or rename one of them")),
            None => Ok(()),
        }
    }
    fn push(&mut self, text: Text, with_content: bool, line: &Line) -> Result<u32> {
        let row = self.rows();
        let (title, content) = match (text.title.trim(), text.content.trim()) {
            // A text without a title is shown by its content.
            ("", content) => (content, ""),
            (title, content) => (title, if with_content { content } else { "" }),
        };
        self.titles.push(title)?;
        self.contents.push(content)?;
        self.remember(text.uid, row, line);
        match text.uid {
            Uid::Given(uid) => self.uids.push(uid)?,
            Uid::Number(n) => self.uids.push(&n.to_string())?,
        }
        Ok(row)
    }
    fn remember(&mut self, uid: Uid, row: u32, line: &Line) {
        if let Uid::Given(uid) = uid {
            self.seen.insert(checksum_wide(uid.as_bytes()), (row, line.number));
        }
    }
}

/// Rows of (label, relevance), compressed: labels ascending in each row.
pub(crate) struct Rows {
    pub(crate) starts: Spool<u64>,
    pub(crate) labels: Spool<u32>,
    pub(crate) values: Spool<f32>,
    /// Whether any value differs from 1; only then values are kept in the data set.
    pub(crate) graded: bool,
}

impl Rows {
    fn new(beside: &Path) -> Result<Rows> {
        let mut starts = Spool::beside(beside)?;
        starts.append(&[0])?;
        Ok(Rows { starts, labels: Spool::beside(beside)?, values: Spool::beside(beside)?, graded: false })
    }
    fn push(&mut self, row: &[(u32, f32)]) -> Result<()> {
        for &(label, value) in row {
            self.labels.append(&[label])?;
            self.values.append(&[value])?;
            self.graded |= value != 1.0;
        }
        self.starts.append(&[self.labels.len() as u64])
    }
}

/// The queries of one split.
pub(crate) struct Queries {
    pub(crate) texts: TextSpool,
    pub(crate) rows: Rows,
    /// Pairs (row, label) to be left out of ranking.
    pub(crate) filtered: Vec<(u32, u32)>,
    /// Rows of the source seen so far, and which of them were left out (ascending).
    pub(crate) source_rows: u32,
    left_out: Vec<u32>,
}

impl Queries {
    fn new(beside: &Path) -> Result<Queries> {
        let (texts, rows) = (TextSpool::new(beside)?, Rows::new(beside)?);
        Ok(Queries { texts, rows, filtered: vec![], source_rows: 0, left_out: vec![] })
    }
    /// Where row `source` of the source stands here, unless it was left out.
    pub(crate) fn row_of(&self, source: u32) -> Option<u32> {
        match self.left_out.binary_search(&source) {
            Ok(_) => None,
            Err(before) => Some(source - before as u32),
        }
    }
    /// Counts a row of the source that has no place here.
    pub(crate) fn leave_out(&mut self) {
        self.left_out.push(self.source_rows);
        self.source_rows += 1;
    }
}

/// What was met on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) dropped_without_labels: u64,
    pub(crate) kept_without_labels: u64,
    pub(crate) zero_relevance: u64,
    pub(crate) repeated_labels: u64,
    pub(crate) rejected_lines: u64,
}

/// Which table a query belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Learnt from.
    Train,
    /// Measured on.
    Test,
}

/// Everything that the readers have found.
pub(crate) struct Build<'a> {
    pub(crate) options: &'a PrepareOptions,
    pub(crate) observer: &'a mut dyn FnMut(Progress),
    pub(crate) labels: TextSpool,
    pub(crate) train: Queries,
    pub(crate) test: Queries,
    pub(crate) counts: Counts,
    pub(crate) warnings: Vec<String>,
    pub(crate) rejected: Rejected,
}

impl<'a> Build<'a> {
    pub(crate) fn new(
        options: &'a PrepareOptions,
        observer: &'a mut dyn FnMut(Progress),
    ) -> Result<Build<'a>> {
        let out = &options.out;
        Ok(Build {
            options,
            observer,
            labels: TextSpool::new(out)?,
            train: Queries::new(out)?,
            test: Queries::new(out)?,
            counts: Counts::default(),
            warnings: vec![],
            rejected: Rejected::new(out, options.on_bad_line),
        })
    }

    pub(crate) fn queries(&mut self, split: Split) -> &mut Queries {
        match split {
            Split::Train => &mut self.train,
            Split::Test => &mut self.test,
        }
    }

    /// Adds a label.
    pub(crate) fn label(&mut self, line: &Line, text: Text) -> Result<u32> {
        self.labels.check_new(text.uid, line)?;
        self.labels.push(text, self.options.content, line)
    }

    /// Says whether a row of this uid is new to both splits, which one file is divided into.
    pub(crate) fn check_new_query(&self, line: &Line, uid: Uid) -> Result<()> {
        self.train.texts.check_new(uid, line)?;
        self.test.texts.check_new(uid, line)
    }

    /// Adds a row of `split` with its (label, relevance) pairs; labels are below the number of labels by now.
    ///
    /// Zero relevance is dropped; a label that stands twice counts once, with the larger value; a training
    /// row that has no label is left out.
    pub(crate) fn query(
        &mut self,
        split: Split,
        line: &Line,
        text: Text,
        pairs: &mut Vec<(u32, f32)>,
    ) -> Result<()> {
        let content = self.options.content;
        self.queries(split).texts.check_new(text.uid, line)?;
        let all = pairs.len();
        pairs.retain(|&(_, value)| value != 0.0);
        let positive = pairs.len();
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        pairs.dedup_by_key(|&mut (label, _)| label);
        self.counts.zero_relevance += (all - positive) as u64;
        self.counts.repeated_labels += (positive - pairs.len()) as u64;
        match (split, pairs.is_empty()) {
            (Split::Train, true) => {
                self.counts.dropped_without_labels += 1;
                self.train.texts.remember(text.uid, LEFT_OUT, line);
                self.train.leave_out();
                return Ok(());
            }
            (Split::Test, true) => self.counts.kept_without_labels += 1,
            (_, false) => {}
        }
        let queries = self.queries(split);
        queries.texts.push(text, content, line)?;
        queries.source_rows += 1;
        queries.rows.push(pairs)
    }

    /// Leaves out a line with an error of its own, if that is wanted; anything else is the end.
    pub(crate) fn reject(&mut self, error: Error) -> Result<()> {
        self.rejected.add(error)?;
        self.counts.rejected_lines += 1;
        Ok(())
    }
    /// As [`Build::reject`], for a line that would have been a row of `split`.
    pub(crate) fn reject_row(&mut self, split: Split, error: Error) -> Result<()> {
        self.reject(error)?;
        self.queries(split).leave_out();
        Ok(())
    }

    /// Tells the observer about reading, once in a thousand lines.
    pub(crate) fn read_progress(&mut self, line: u64, (done, of): (u64, u64)) {
        if line.is_multiple_of(1000) {
            (self.observer)(Progress { stage: Stage::Read, done, of });
        }
    }
}

/// A relevance that can be trained on: a number, not negative, not infinite.
pub(crate) fn relevance(value: f64) -> Result<f32, &'static str> {
    if value.is_nan() {
        Err("relevance is NaN")
    } else if value < 0.0 {
        Err("relevance is negative")
    } else if (value as f32).is_infinite() {
        Err("relevance is infinite")
    } else {
        Ok(value as f32)
    }
}
