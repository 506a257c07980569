//! One table with a text column and a column of labels, split by title.

use super::repository;
use crate::build::{Build, Split, Text, Uid};
use crate::delimited::{Dialect, Record, Records};
use crate::lines::Line;
use crate::source::CsvSource;
use crate::title::Ratio;
use engine::{Error, Result};
use std::path::Path;

/// Names of columns that an error lists.
const COLUMNS_SHOWN: usize = 50;

/// Where the columns of interest stand.
struct Columns {
    count: usize,
    text: usize,
    labels: usize,
    content: Option<usize>,
    id: Option<usize>,
}

/// Reads the label file if there is one, then the rows.
pub(crate) fn read(source: &CsvSource, build: &mut Build) -> Result<()> {
    if let Some(path) = &source.labels_file {
        read_labels(path, build)?;
    }
    let dialect = source.dialect.unwrap_or_else(|| Dialect::of(&source.path));
    let mut records = Records::open(&source.path, dialect)?;
    let Some(head) = records.next()? else {
        return Err(Error::input("the file has no header").at(&source.path));
    };
    let columns = find_columns(&head, source)?;
    let mut pairs = vec![];
    for row in 1.. {
        let done = match records.next() {
            Ok(None) => break,
            Ok(Some(record)) => read_row(&record, row, source, &columns, &mut pairs, build),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            build.reject(e)?;
        }
        build.read_progress(row, records.progress());
    }
    if build.train.texts.rows() + build.test.texts.rows() == 0 {
        let e = Error::input("the file has a header and no row that can be used").at(records.path());
        return Err(e.help("rows for training need at least one label"));
    }
    Ok(())
}

/// The names of the columns of a table, as its first line gives them.
///
/// # Errors
/// If the file cannot be read or is empty.
pub fn columns(path: &Path) -> Result<Vec<String>> {
    let mut records = Records::open(path, Dialect::of(path))?;
    match records.next()? {
        Some(head) => Ok(head.fields.iter().map(|f| f.trim().to_owned()).collect()),
        None => Err(Error::input("the file has no header").at(path)),
    }
}

fn find_columns(head: &Record, source: &CsvSource) -> Result<Columns> {
    let find = |name: &str| {
        let at = head.fields.iter().position(|f| f.trim() == name);
        at.ok_or_else(|| {
            let there: Vec<String> =
                head.fields.iter().take(COLUMNS_SHOWN).map(|f| format!("`{}`", f.trim())).collect();
            let more = if head.fields.len() > COLUMNS_SHOWN { ", …" } else { "" };
            let e = head.line.error(format!("no column `{name}`; there are {}{more}", there.join(", ")));
            e.help("name columns as the first line does; is the delimiter another one?")
        })
    };
    Ok(Columns {
        count: head.fields.len(),
        text: find(&source.text)?,
        labels: find(&source.labels)?,
        content: source.content.as_deref().map(find).transpose()?,
        id: source.id.as_deref().map(find).transpose()?,
    })
}

fn ragged(line: &Line, found: usize, expected: usize) -> Error {
    line.error(format!("{found} fields, the first line has {expected}"))
        .help("quote fields that hold the delimiter (\"a, b\")")
}

fn read_row(
    record: &Record,
    row: u64,
    source: &CsvSource,
    columns: &Columns,
    pairs: &mut Vec<(u32, f32)>,
    build: &mut Build,
) -> Result<()> {
    let (line, fields) = (&record.line, record.fields);
    if fields.len() != columns.count {
        return Err(ragged(line, fields.len(), columns.count));
    }
    let uid = columns.id.map_or(Uid::Number(row), |at| Uid::Given(&fields[at]));
    let content = columns.content.map_or("", |at| &fields[at]);
    let text = Text { uid, title: &fields[columns.text], content };
    let all = &fields[columns.labels];
    // One after another: a field of separators alone would be a list many times as long.
    let separator = source.label_separator.as_deref().filter(|s| !s.is_empty());
    let whole = separator.is_none().then_some(all.as_str());
    let names = separator.map(|s| all.split(s)).into_iter().flatten().chain(whole).map(str::trim);
    let rules =
        Labelled { split: source.split, from_file: source.labels_file.is_some(), text_of: str::to_owned };
    put_row(line, text, names.filter(|n| !n.is_empty()), &rules, pairs, build)
}

/// What becomes of a row that names its labels.
pub(super) struct Labelled {
    /// How rows are divided.
    pub(super) split: Ratio,
    /// Whether labels come from a file of their own.
    pub(super) from_file: bool,
    /// The text of a label that no file gives one.
    pub(super) text_of: fn(&str) -> String,
}

/// Adds a row, and labels that are new.
pub(super) fn put_row<'n>(
    line: &Line,
    text: Text,
    names: impl Iterator<Item = &'n str>,
    rules: &Labelled,
    pairs: &mut Vec<(u32, f32)>,
    build: &mut Build,
) -> Result<()> {
    let split = if rules.split.is_train(text.title) { Split::Train } else { Split::Test };
    pairs.clear();
    build.check_new_query(line, text.uid)?;
    for name in names {
        let label = match build.labels.find(name) {
            Some(label) => label,
            None if rules.from_file => {
                let e = line.error(format!("label `{name}` is not in the label file"));
                return Err(e.help("add it there, or take it out of the row"));
            }
            None => {
                let title = (rules.text_of)(name);
                build.label(line, Text { uid: Uid::Given(name), title: &title, content: "" })?
            }
        };
        pairs.push((label, 1.0));
    }
    build.query(split, line, text, pairs)
}

/// Labels with their text: JSON lines, or a table with `id` and `text`.
pub(crate) fn read_labels(path: &Path, build: &mut Build) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.contains(".json") {
        return repository::read_labels(path, build);
    }
    let mut records = Records::open(path, Dialect::of(path))?;
    let Some(head) = records.next()? else {
        return Err(Error::input("the file has no header").at(path));
    };
    let find =
        |names: &[&str]| head.fields.iter().position(|f| names.contains(&f.trim().to_lowercase().as_str()));
    let (Some(id), Some(text)) = (find(&["id", "uid", "label"]), find(&["text", "title", "name"])) else {
        let e = head.line.error("a label file needs the columns `id` and `text`");
        return Err(e.help("the first line names the columns: id,text"));
    };
    let count = head.fields.len();
    while let Some(record) = records.next()? {
        if record.fields.len() != count {
            return Err(ragged(&record.line, record.fields.len(), count));
        }
        let uid = Uid::Given(record.fields[id].trim());
        build.label(&record.line, Text { uid, title: &record.fields[text], content: "" })?;
    }
    Ok(())
}
