//! One error type for the whole house: what kind (it becomes the exit code), what, where, and what to do next.
//!
//! Our own mistakes panic; this type is for what the world does to us.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything that touches the outside world.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done. The command line maps each kind to one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Anything that fits no other kind (exit 1).
    Other,
    /// Bad input data or configuration (exit 3).
    Input,
    /// A file of ours is damaged or hostile: checksum, header, bounds (exit 4).
    Damaged,
    /// Refused: it would exceed a budget of memory or disk, or a device has no more memory (exit 5).
    Refused,
    /// NaN or infinity in a loss or a gradient (exit 6).
    Numeric,
    /// A required threshold was missed (exit 7).
    Threshold,
    /// The operating system failed us: disk full, permission, truncated mapping (exit 74).
    Io,
    /// Stopped on request, after saving (exit 130).
    Interrupted,
}

/// A place in a file: `path:line:column`, with the line itself where it helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Line, counted from 1.
    pub line: Option<u64>,
    /// Column in characters, counted from 1.
    pub column: Option<u64>,
    /// The offending line, shortened.
    pub shown: Option<String>,
}

/// What went wrong, where, and what to do next.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    place: Option<Place>,
    notes: Vec<String>,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the given kind. The message says what is wrong, in lower case, without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            place: None,
            notes: vec![],
            help: None,
            source: None,
        }))
    }
    /// Bad data or configuration from outside.
    pub fn input(message: impl Into<String>) -> Error {
        Error::new(Kind::Input, message)
    }
    /// A file of our own making that does not hold what it promised.
    pub fn damaged(path: &Path, section: &str, why: impl fmt::Display) -> Error {
        Error::new(Kind::Damaged, format!("section `{section}`: {why}")).at(path)
    }
    /// An operation of the operating system on `path` that failed. A missing file is bad input, not a failing disk.
    pub fn io(path: &Path, source: std::io::Error) -> Error {
        use std::io::ErrorKind as E;
        let (kind, what) = match source.kind() {
            E::NotFound => (Kind::Input, "no such file or directory"),
            E::IsADirectory => (Kind::Input, "is a directory, a file was expected"),
            E::NotADirectory => (Kind::Input, "is not a directory"),
            E::InvalidFilename | E::InvalidInput => (Kind::Input, "is no name that a file can have"),
            // What the library of Rust says where text is no UTF-8.
            E::InvalidData => (Kind::Input, "does not hold what was expected"),
            E::StorageFull => (Kind::Io, "no space left on the device"),
            E::PermissionDenied => (Kind::Io, "permission denied"),
            _ => (Kind::Io, "cannot be read or written"),
        };
        Error::new(kind, what).at(path).caused_by(source)
    }
    /// Names the file.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Error {
        self.0.place = Some(Place { path: path.to_owned(), line: None, column: None, shown: None });
        self
    }
    /// Names the file and the line (from 1), and the column (from 1) where it is known.
    #[must_use]
    pub fn at_line(mut self, path: &Path, line: u64, column: Option<u64>) -> Error {
        self.0.place = Some(Place { path: path.to_owned(), line: Some(line), column, shown: None });
        self
    }
    /// Shows the offending line, cut to 120 characters. Call after [`Error::at_line`].
    #[must_use]
    pub fn showing(mut self, line: &str) -> Error {
        if let Some(place) = &mut self.0.place {
            let mut shown: String = line.trim_end().chars().take(120).collect();
            if shown.len() < line.trim_end().len() {
                shown.push('…');
            }
            place.shown = Some(shown);
        }
        self
    }
    /// Adds a fact that helps to understand.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Error {
        self.0.notes.push(note.into());
        self
    }
    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.0.help = Some(help.into());
        self
    }
    /// Keeps the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }
    /// The kind, from which the exit code follows.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    /// What is wrong, without place and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// Where, if it is known.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
}

/// The longest text in an error. What a file says may be quoted there, and a file may be hostile.
const SHOWN_MAX: usize = 2000;

/// The beginning of a text that nobody would read to its end.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0;
        if let Some(place) = &e.place {
            write!(f, "{}", place.path.display())?;
            if let Some(line) = place.line {
                write!(f, ":{line}")?;
            }
            if let Some(column) = place.column {
                write!(f, ":{column}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", shortened(&e.message))?;
        if let Some(source) = &e.source {
            write!(f, " ({})", shortened(&source.to_string()))?;
        }
        if let Some(shown) = e.place.as_ref().and_then(|p| p.shown.as_ref()) {
            write!(f, "\n  | {shown}")?;
        }
        for note in &e.notes {
            write!(f, "\n  = note: {}", shortened(note))?;
        }
        if let Some(help) = &e.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_text_says_where_what_and_what_next() {
        let e = Error::input("label `B00X` is unknown")
            .at_line(Path::new("d.jsonl"), 18, Some(4))
            .showing("{\"labels\":[\"B00X\"]}\n")
            .help("add it to labels.jsonl");
        let want = "d.jsonl:18:4: label `B00X` is unknown\n  | {\"labels\":[\"B00X\"]}\n  \
                    = help: add it to labels.jsonl";
        assert_eq!(e.to_string(), want);
        assert_eq!(e.kind(), Kind::Input);
    }

    #[test]
    fn what_a_file_says_is_quoted_no_further_than_one_reads() {
        let long = "ä".repeat(1 << 20);
        let e = Error::input(long.clone()).note(long.clone()).caused_by(long);
        assert_eq!(e.to_string().matches('ä').count(), 3 * SHOWN_MAX);
        assert_eq!(e.to_string().matches('…').count(), 3);
    }

    #[test]
    fn missing_file_is_bad_input_and_full_disk_is_not() {
        let missing = Error::io(Path::new("x"), std::io::ErrorKind::NotFound.into());
        let full = Error::io(Path::new("x"), std::io::ErrorKind::StorageFull.into());
        assert_eq!((missing.kind(), full.kind()), (Kind::Input, Kind::Io));
        let name = std::fs::read("x\0y").expect_err("no name");
        assert_eq!(Error::io(Path::new("x"), name).kind(), Kind::Input);
    }
}
