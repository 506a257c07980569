//! The sparse layout: `trn_X_Y.txt` and `tst_X_Y.txt` with a header `rows columns` and rows of
//! `label:value`, beside raw texts, one a line.

use super::{find_file, need_file};
use crate::build::{Build, Split, Text, Uid, relevance};
use crate::lines::{Line, Lines};
use engine::{Error, Result};
use std::path::Path;

const ENDINGS: [&str; 2] = [".txt", ".txt.gz"];
const MATRIX: [[&str; 1]; 2] = [["trn_X_Y"], ["tst_X_Y"]];
const TEXTS: [[&str; 3]; 2] = [["trn_X", "trn.raw", "raw/trn_X"], ["tst_X", "tst.raw", "raw/tst_X"]];
const LABELS: [&str; 4] = ["Y", "lbl.raw", "raw/Y", "lbl"];

/// True when the folder has a training matrix.
pub(crate) fn is_layout(folder: &Path) -> bool {
    !matches!(find_file(folder, &MATRIX[0], &ENDINGS), Ok(None))
}

/// Reads labels, then both splits.
pub(crate) fn read(folder: &Path, build: &mut Build) -> Result<()> {
    let help = "the folder needs trn_X_Y.txt, tst_X_Y.txt, trn_X.txt, tst_X.txt and Y.txt";
    let need = |stems: &[&str]| need_file(folder, stems, &ENDINGS).map_err(|e| e.help(help));
    let mut matrices = vec![];
    for stems in &MATRIX {
        matrices.push(Matrix::open(&need(stems)?)?);
    }
    let columns = matrices[0].columns;
    if matrices[1].columns != columns {
        let e = Error::input(format!("{} columns, the training matrix has {columns}", matrices[1].columns));
        return Err(e.at_line(matrices[1].lines.path(), 1, None));
    }
    read_labels(&need(&LABELS)?, columns, build)?;
    for ((split, matrix), stems) in [Split::Train, Split::Test].into_iter().zip(matrices).zip(&TEXTS) {
        read_split(matrix, &need(stems)?, split, build)?;
    }
    Ok(())
}

/// Labels are as many as the matrix has columns; those behind the last line have no text.
fn read_labels(path: &Path, columns: u32, build: &mut Build) -> Result<()> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        let row = build.labels.rows();
        if row >= columns {
            let e = line.error(format!("more label texts than the matrix has columns ({columns})"));
            return Err(e.help("does this file belong to these matrices?"));
        }
        build.label(&line, Text { uid: Uid::Number(u64::from(row)), title: line.text, content: "" })?;
    }
    let missing = columns - build.labels.rows();
    if missing > 0 {
        build.warnings.push(format!("{missing} labels have no line in the label file"));
    }
    let end = Line { path, number: 0, text: "" };
    for row in columns - missing..columns {
        build.label(&end, Text { uid: Uid::Number(u64::from(row)), title: "", content: "" })?;
    }
    Ok(())
}

struct Matrix {
    lines: Lines,
    rows: u64,
    columns: u32,
}

impl Matrix {
    fn open(path: &Path) -> Result<Matrix> {
        let mut lines = Lines::open(path)?;
        let (rows, columns) = match lines.next()? {
            Some(line) => header(&line)?,
            None => return Err(Error::input("the file is empty").at(path)),
        };
        Ok(Matrix { lines, rows, columns })
    }
}

fn header(line: &Line) -> Result<(u64, u32)> {
    let mut parts = line.text.split_whitespace();
    let (rows, columns) = (parts.next().map(str::parse), parts.next().map(str::parse));
    match (rows, columns, parts.next()) {
        (Some(Ok(rows)), Some(Ok(columns)), None) => Ok((rows, columns)),
        _ => Err(line
            .error("the header must be two numbers: rows and columns")
            .help("for example `294805 131073`")),
    }
}

/// Reads texts and rows side by side.
fn read_split(mut matrix: Matrix, texts: &Path, split: Split, build: &mut Build) -> Result<()> {
    let mut texts = Lines::open(texts)?;
    let mut pairs = vec![];
    let mut short = 0u64;
    for row in 0.. {
        let title = match texts.next() {
            Ok(None) => break,
            Ok(Some(line)) => Ok(line),
            Err(e) => Err(e),
        };
        let targets = match matrix.lines.next() {
            Ok(None) => {
                short += 1;
                pairs.clear();
                Ok(())
            }
            Ok(Some(line)) if row >= matrix.rows => Err(more_rows(&line, matrix.rows)),
            Ok(Some(line)) => parse_row(&line, matrix.columns, &mut pairs),
            Err(e) => Err(e),
        };
        let added = title.and_then(|line| {
            targets?;
            let text = Text { uid: Uid::Number(row), title: line.text, content: "" };
            build.query(split, &line, text, &mut pairs)
        });
        if let Err(e) = added {
            build.reject_row(split, e)?;
        }
        build.read_progress(row, texts.progress());
    }
    if let Some(line) = matrix.lines.next()? {
        let e = line.error(format!("a row without text: `{}` has ended", texts.path().display()));
        return Err(e.help("both files need one line a row; was one of them cut?"));
    }
    if short > 0 {
        let name = matrix.lines.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        build.warnings.push(format!("{name} ends {short} rows before the texts do; those have no labels"));
    }
    Ok(())
}

fn more_rows(line: &Line, rows: u64) -> Error {
    line.error(format!("more rows than the header says ({rows})")).help("correct the header on line 1")
}

/// `label:value label:value …`; an empty line is an empty row.
fn parse_row(line: &Line, columns: u32, pairs: &mut Vec<(u32, f32)>) -> Result<()> {
    pairs.clear();
    let mut at = 0;
    for word in line.text.split([' ', '\t']) {
        let start = at;
        at += word.len() + 1;
        if word.is_empty() {
            continue;
        }
        let parsed =
            word.split_once(':').and_then(|(l, v)| Some((l.parse::<i64>().ok()?, v.parse::<f64>().ok()?)));
        let (label, value) = parsed.ok_or_else(|| line.error_at(start, "`label:value` was expected"))?;
        let index = u32::try_from(label).ok().filter(|&l| l < columns).ok_or_else(|| {
            let message =
                format!("label index {label} is out of range: there are {columns} labels, counted from 0");
            line.error_at(start, message)
                .help("are the labels counted from 1? They have to be counted from 0")
        })?;
        let value = relevance(value).map_err(|why| line.error_at(start, format!("{why} ({word})")))?;
        pairs.push((index, value));
    }
    Ok(())
}
