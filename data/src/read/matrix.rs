//! A matrix of relevance, read row by row: text with a header `rows columns` and rows of `label:value`, or
//! the arrays of scipy.

use super::npz;
use crate::build::relevance;
use crate::lines::{Line, Lines};
use engine::{Error, Result};
use std::path::Path;

/// One matrix, whatever its file.
pub(super) enum Matrix {
    Text(Text),
    Arrays(npz::Matrix),
}

impl Matrix {
    /// Opens `path`; what has to be laid aside lies `beside` the data set to come.
    pub(super) fn open(path: &Path, beside: &Path) -> Result<Matrix> {
        match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
            true => Ok(Matrix::Arrays(npz::Matrix::open(path, beside)?)),
            false => Ok(Matrix::Text(Text::open(path)?)),
        }
    }
    pub(super) fn path(&self) -> &Path {
        match self {
            Matrix::Text(text) => text.lines.path(),
            Matrix::Arrays(arrays) => arrays.path(),
        }
    }
    pub(super) fn columns(&self) -> u32 {
        match self {
            Matrix::Text(text) => text.columns,
            Matrix::Arrays(arrays) => arrays.columns,
        }
    }
    /// The pairs of the next row. False when a text has ended: what its header promised need not be there.
    pub(super) fn next(&mut self, pairs: &mut Vec<(u32, f32)>) -> Result<bool> {
        match self {
            Matrix::Text(text) => text.next(pairs),
            Matrix::Arrays(arrays) => arrays.next(pairs).map(|()| true),
        }
    }
    /// No row may be left when the texts have ended.
    pub(super) fn end(&mut self, texts: &Path) -> Result<()> {
        let message = format!("a row without text: `{}` has ended", texts.display());
        let e = match self {
            Matrix::Text(text) => text.lines.next()?.map(|line| line.error(message)),
            Matrix::Arrays(arrays) if arrays.is_over() => None,
            Matrix::Arrays(arrays) => Some(Error::input(message).at(arrays.path())),
        };
        e.map_or(Ok(()), |e| Err(e.help("both files need one line a row; was one of them cut?")))
    }
}

/// The text form.
pub(super) struct Text {
    lines: Lines,
    rows: u64,
    columns: u32,
}

impl Text {
    fn open(path: &Path) -> Result<Text> {
        let mut lines = Lines::open(path)?;
        let (rows, columns) = match lines.next()? {
            Some(line) => header(&line)?,
            None => return Err(Error::input("the file is empty").at(path)),
        };
        Ok(Text { lines, rows, columns })
    }
    fn next(&mut self, pairs: &mut Vec<(u32, f32)>) -> Result<bool> {
        pairs.clear();
        let Some(line) = self.lines.next()? else { return Ok(false) };
        // The header is line 1.
        if line.number - 1 > self.rows {
            let e = line.error(format!("more rows than the header says ({})", self.rows));
            return Err(e.help("correct the header on line 1"));
        }
        parse_row(&line, self.columns, pairs)?;
        Ok(true)
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
