//! Folders with `trn`, `tst` and `lbl`: JSON lines, or the sparse layout where there are none.

use super::json::{Id, Row};
use super::{filters, find_file, need_file, need_folder, sparse};
use crate::build::{Build, Split, Text, Uid, relevance};
use crate::lines::{Line, Lines};
use engine::Result;
use std::path::Path;

const ENDINGS: [&str; 4] = [".jsonl", ".jsonl.gz", ".json.gz", ".json"];
const TRAIN: [&str; 2] = ["trn", "train"];
const TEST: [&str; 2] = ["tst", "test"];
const LABELS: [&str; 2] = ["lbl", "labels"];

/// Reads a folder in either layout of the repository.
pub(crate) fn read(folder: &Path, build: &mut Build) -> Result<()> {
    need_folder(folder)?;
    if find_file(folder, &TRAIN, &ENDINGS)?.is_none() && sparse::is_layout(folder) {
        sparse::read(folder, build)?;
    } else {
        refuse_features(folder)?;
        read_json(folder, build)?;
    }
    filters::read(folder, build)
}

/// The repository's older layout has counts of words that only its makers can name: `rows features labels`, then
/// rows of `label,label feature:value …`. There is no text in it for an encoder to read.
fn refuse_features(folder: &Path) -> Result<()> {
    let Some(path) = find_file(folder, &TRAIN, &[".txt", ".txt.gz"])? else { return Ok(()) };
    let mut lines = Lines::open(&path)?;
    let Some(line) = lines.next()? else { return Ok(()) };
    let numbers: Vec<_> = line.text.split_whitespace().map(str::parse::<u64>).collect();
    let [Ok(rows), Ok(features), Ok(labels)] = numbers[..] else { return Ok(()) };
    let e = line.error(format!("{rows} vectors of {features} features with {labels} labels, and no text"));
    Err(e.note("bags of words name no words; an encoder learns from text").help(
        "fetch the raw text of this data set from the repository: trn.json.gz, tst.json.gz, lbl.json.gz",
    ))
}

fn read_json(folder: &Path, build: &mut Build) -> Result<()> {
    let help = "the folder needs trn, tst and lbl, each as .jsonl, .jsonl.gz or .json.gz";
    let need = |stems: &[&str]| need_file(folder, stems, &ENDINGS).map_err(|e| e.help(help));
    let (train, test, labels) = (need(&TRAIN)?, need(&TEST)?, need(&LABELS)?);
    read_labels(&labels, build)?;
    read_queries(&train, Split::Train, build)?;
    read_queries(&test, Split::Test, build)
}

/// Reads labels. A bad line is never left out here: all labels behind it would change their numbers.
pub(crate) fn read_labels(path: &Path, build: &mut Build) -> Result<()> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        let row = Row::parse(&line)?;
        let uid = row.uid(&line)?;
        let empty = Text { uid: Uid::Given(&uid), title: "", content: "" };
        build.label(&line, row.text(&uid).unwrap_or(empty))?;
        let number = line.number;
        build.read_progress(number, lines.progress());
    }
    Ok(())
}

fn read_queries(path: &Path, split: Split, build: &mut Build) -> Result<()> {
    let mut lines = Lines::open(path)?;
    let mut pairs = vec![];
    loop {
        let done = match lines.next() {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => read_query(&line, split, &mut pairs, build),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            build.reject_row(split, e)?;
        }
        let rows = build.queries(split).source_rows;
        build.read_progress(u64::from(rows), lines.progress());
    }
}

fn read_query(line: &Line, split: Split, pairs: &mut Vec<(u32, f32)>, build: &mut Build) -> Result<()> {
    let row = Row::parse(line)?;
    let uid = row.uid(line)?;
    let Some(text) = row.text(&uid) else {
        return Err(line.error("the row has neither `title` nor `text`"));
    };
    targets(&row, line, build, pairs)?;
    build.query(split, line, text, pairs)
}

/// The labels of a row, by number (`target_ind`) and by id (`labels`).
fn targets(row: &Row, line: &Line, build: &Build, pairs: &mut Vec<(u32, f32)>) -> Result<()> {
    pairs.clear();
    let indices = row.target_ind.as_deref().unwrap_or_default();
    let count = build.labels.rows();
    if let Some(values) = row.target_rel.as_ref().filter(|v| v.len() != indices.len()) {
        let (i, v) = (indices.len(), values.len());
        return Err(line.error(format!("`target_ind` has {i} entries, `target_rel` {v}")));
    }
    for (i, &index) in indices.iter().enumerate() {
        let label = u32::try_from(index).ok().filter(|&l| l < count).ok_or_else(|| {
            let e = line.error(format!(
                "label index {index} is out of range: there are {count} labels, counted from 0"
            ));
            e.help("`target_ind` holds line numbers of the label file, counted from 0")
        })?;
        let value = row.target_rel.as_ref().map_or(1.0, |values| values[i]);
        let value = relevance(value).map_err(|why| {
            line.error(format!("{why} ({value}) for label {index}"))
                .help("a relevance is a number above 0; 1 is usual")
        })?;
        pairs.push((label, value));
    }
    for Id(uid) in row.labels.as_deref().unwrap_or_default() {
        let label = build.labels.find(uid).ok_or_else(|| {
            line.error(format!("label `{uid}` is unknown"))
                .help("add it to the label file, or take it out of the row")
        })?;
        pairs.push((label, 1.0));
    }
    Ok(())
}
