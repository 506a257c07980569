//! CSV and TSV records (RFC 4180) over [`Lines`].
//!
//! Written by hand, because a parser that takes an unclosed quote for the rest of the file loses rows in
//! silence: here it is an error that names the line where the quote opens. The crate `csv` is the oracle of
//! the tests.

use crate::lines::{LINE_LIMIT, Line, Lines};
use engine::{Error, Result};
use std::path::Path;

/// No table has more columns than this. A line of nothing but commas would make a field of each.
const FIELDS_MAX: usize = 1 << 16;

/// How a file separates its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Between two fields.
    pub delimiter: char,
    /// Whether `"` quotes a field.
    pub quotes: bool,
}

impl Dialect {
    /// Tabs for `.tsv` and `.tab` (also before `.gz`), commas for the rest; with quotes.
    pub fn of(path: &Path) -> Dialect {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let tab = name.ends_with(".tsv") || name.ends_with(".tab");
        Dialect { delimiter: if tab { '\t' } else { ',' }, quotes: true }
    }
}

/// Reads records one by one.
pub(crate) struct Records {
    lines: Lines,
    dialect: Dialect,
    fields: Vec<String>,
    first_line: String,
}

/// One record: its fields, and the line on which it starts.
pub(crate) struct Record<'a> {
    pub(crate) line: Line<'a>,
    pub(crate) fields: &'a [String],
}

/// Inside a record: whether a quoted field is still open, and where it opened.
#[derive(Clone, Copy)]
enum State {
    FieldStart,
    Bare,
    Quoted { line: u64, at: usize },
}

impl Records {
    pub(crate) fn open(path: &Path, dialect: Dialect) -> Result<Records> {
        Ok(Records { lines: Lines::open(path)?, dialect, fields: vec![], first_line: String::new() })
    }
    pub(crate) fn path(&self) -> &Path {
        self.lines.path()
    }
    pub(crate) fn progress(&self) -> (u64, u64) {
        self.lines.progress()
    }

    /// The next record; empty lines between records do not count.
    ///
    /// # Errors
    /// As [`Lines::next`]; and a quote that is never closed, with the place where it opens.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>> {
        self.fields.clear();
        let mut number = 0;
        let mut state = State::FieldStart;
        let mut size = 0;
        while let Some(line) = self.lines.next()? {
            if number == 0 {
                if line.text.is_empty() {
                    continue;
                }
                number = line.number;
                line.text.clone_into(&mut self.first_line);
                self.fields.push(String::new());
            }
            size += line.text.len() + 1;
            state = take_line(line, self.dialect, state, &mut self.fields);
            if self.fields.len() > FIELDS_MAX {
                let e = Error::input(format!("more than {FIELDS_MAX} fields"));
                let e = e.at_line(self.lines.path(), number, None).showing(&self.first_line);
                return Err(e.help("is the delimiter another one?"));
            }
            match state {
                State::Quoted { line: from, .. } if size > LINE_LIMIT => {
                    let e = Error::input("a quoted field is longer than 16 MB");
                    return Err(e.at_line(self.lines.path(), from, None).showing(&self.first_line));
                }
                State::Quoted { .. } => {}
                _ => {
                    let line = Line { path: self.lines.path(), number, text: &self.first_line };
                    return Ok(Some(Record { line, fields: &self.fields }));
                }
            }
        }
        let State::Quoted { line: from, at } = state else { return Ok(None) };
        let e = Error::input("a quoted field is never closed").at_line(
            self.lines.path(),
            from,
            Some(at as u64 + 1),
        );
        let e = if from == number { e.showing(&self.first_line) } else { e };
        Err(e.help("close the quote, double it inside a field (\"\"), or read the file without quoting"))
    }
}

/// Adds one line to the record. The state at its end tells whether the record goes on.
fn take_line(line: Line, dialect: Dialect, mut state: State, fields: &mut Vec<String>) -> State {
    let mut chars = line.text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        let is_full = fields.len() > FIELDS_MAX;
        let field = fields.last_mut().expect("a record starts with one field");
        match state {
            State::Quoted { .. } if c == '"' => match chars.peek() {
                Some((_, '"')) => {
                    field.push('"');
                    chars.next();
                }
                _ => state = State::Bare,
            },
            State::Quoted { .. } => field.push(c),
            State::FieldStart if c == '"' && dialect.quotes => {
                state = State::Quoted { line: line.number, at }
            }
            // One more than may be: the record is refused, and what follows needs no place.
            _ if c == dialect.delimiter && is_full => return State::Bare,
            _ if c == dialect.delimiter => {
                fields.push(String::new());
                state = State::FieldStart;
            }
            _ => {
                field.push(c);
                state = State::Bare;
            }
        }
    }
    if let (State::Quoted { .. }, Some(field)) = (state, fields.last_mut()) {
        field.push('\n');
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Stream;

    fn read(name: &str, text: &str, dialect: Dialect) -> Result<Vec<(u64, Vec<String>)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut records = Records::open(&path, dialect)?;
        let mut all = vec![];
        while let Some(r) = records.next()? {
            all.push((r.line.number, r.fields.to_vec()));
        }
        Ok(all)
    }

    #[test]
    fn quoted_fields_hold_delimiters_quotes_and_line_ends() {
        let comma = Dialect::of(Path::new("a.csv"));
        let got = read("a.csv", "a,\"b,\"\"c\"\"\nd\",\n\nx\n", comma).unwrap();
        assert_eq!(got[0], (1, vec!["a".to_owned(), "b,\"c\"\nd".to_owned(), String::new()]));
        assert_eq!(got[1], (4, vec!["x".to_owned()]));
        let bare = Dialect { quotes: false, ..Dialect::of(Path::new("A.TSV.gz")) };
        assert_eq!(read("a.tsv", "5\" pipe\t\"x\n", bare).unwrap()[0].1, ["5\" pipe", "\"x"]);
    }

    #[test]
    fn a_line_of_delimiters_is_refused() {
        let comma = Dialect::of(Path::new("a.csv"));
        let most = ",".repeat(FIELDS_MAX - 1);
        assert_eq!(read("a.csv", &most, comma).unwrap()[0].1.len(), FIELDS_MAX);
        let e = read("a.csv", &format!("a\n{most},,,\n"), comma).unwrap_err().to_string();
        assert!(e.contains("a.csv:2: more than 65536 fields") && e.contains("delimiter"), "{e}");
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_where_it_opens() {
        let e =
            read("a.csv", "h,i\nä,\"open\n1,2\n", Dialect::of(Path::new("a.csv"))).unwrap_err().to_string();
        assert!(e.contains("a.csv:2:3: a quoted field is never closed\n  | ä,\"open"), "{e}");
    }

    /// 3,000 random texts over the characters that matter, against the crate `csv`.
    #[test]
    fn records_agree_with_another_parser() {
        let alphabet = ['a', 'ä', ',', '"', '"', '\n', ' '];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let mut compared = 0;
        for case in 0..3000 {
            let s = Stream { seed: 1, step: case, tag: 0 };
            let text: String =
                (0..1 + s.below(0, 12)).map(|i| alphabet[s.below(i + 1, 7) as usize]).collect();
            std::fs::write(&path, &text).unwrap();
            let mut ours = vec![];
            let mut records = Records::open(&path, Dialect::of(&path)).unwrap();
            let closed = loop {
                match records.next() {
                    Ok(Some(r)) => ours.push(r.fields.to_vec()),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let theirs: Vec<Vec<String>> =
                reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
            if closed {
                assert_eq!(ours, theirs, "{text:?}");
                compared += 1;
            }
        }
        assert!(compared > 1500, "{compared}");
    }
}
