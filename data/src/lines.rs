//! Lines of a text file, plain or gzip: the one door through which foreign bytes come in.
//!
//! Whether a file is compressed is decided by its first bytes, not by its name. Lines are limited in
//! length, so that memory stays bounded whatever the file holds; every error says file, line and column.

use engine::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// No line of a data set is longer than this; a longer one is another kind of file.
pub(crate) const LINE_LIMIT: usize = 16 << 20;
/// Text shrinks to a tenth or a twentieth; what grows more than this, past the slack, is made to fill a disk.
pub(crate) const GZIP_RATIO: u64 = 250;
pub(crate) const GZIP_SLACK: u64 = 256 << 20;

/// One line, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) path: &'a Path,
    /// Counted from 1.
    pub(crate) number: u64,
    /// Without its end.
    pub(crate) text: &'a str,
}

impl Line<'_> {
    /// An error about the whole line.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::input(message).at_line(self.path, self.number, None).showing(self.text)
    }
    /// An error about what starts at byte `at` of the line.
    pub(crate) fn error_at(&self, at: usize, message: impl Into<String>) -> Error {
        let column = self.text.char_indices().take_while(|&(i, _)| i < at).count() as u64 + 1;
        Error::input(message).at_line(self.path, self.number, Some(column)).showing(self.text)
    }
}

/// Reads a file line by line. After an error that names a line, reading may go on behind that line.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    compressed: bool,
    size: u64,
    position: Rc<Cell<u64>>,
    number: u64,
    /// Offset of the current line in the (decompressed) text.
    offset: u64,
    next_offset: u64,
    buffer: Vec<u8>,
}

/// Counts the bytes taken from the file itself, for progress.
struct Counted<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.set(self.1.get() + n as u64);
        Ok(n)
    }
}

impl Lines {
    /// Opens `path`.
    ///
    /// # Errors
    /// `Kind::Input` when it is missing, a folder, empty, or named `.gz` without being gzip.
    pub(crate) fn open(path: &Path) -> Result<Lines> {
        let failed = |e| Error::io(path, e);
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let position = Rc::new(Cell::new(0));
        let mut input = BufReader::with_capacity(1 << 16, Counted(file, position.clone()));
        let head = input.fill_buf().map_err(failed)?;
        if head.is_empty() {
            let e = Error::input("the file is empty").at(path);
            return Err(e.help("was it written whole? Fetch or make it again"));
        }
        let compressed = head.starts_with(&[0x1f, 0x8b]);
        if !compressed && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")) {
            let shown: Vec<String> = head.iter().take(4).map(|b| format!("{b:02x}")).collect();
            let e = Error::input(format!("not gzip: it starts with the bytes {}", shown.join(" "))).at(path);
            return Err(e.help("fetch the file again, or take `.gz` off its name if it is plain text"));
        }
        let input: Box<dyn BufRead> = match compressed {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input))),
            false => Box::new(input),
        };
        let (path, size) = (path.to_owned(), meta.len());
        let (number, offset, next_offset) = (0, 0, 0);
        Ok(Lines { path, input, compressed, size, position, number, offset, next_offset, buffer: vec![] })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    /// Bytes taken from the file, and its size.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.position.get().min(self.size), self.size)
    }

    /// The next line, without `\n` or `\r\n`, and without a byte order mark before the first.
    ///
    /// # Errors
    /// With a line: invalid UTF-8, a line that is too long. Without: truncated or broken gzip, reading fails.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>> {
        self.buffer.clear();
        self.offset = self.next_offset;
        let length = self.read_line()?;
        if length == 0 {
            // A gzip member may hold nothing at all: the file has bytes, the text has none.
            if self.number == 0 {
                return Err(Error::input("the file is empty").at(&self.path));
            }
            return Ok(None);
        }
        self.number += 1;
        self.next_offset += length;
        if length > LINE_LIMIT as u64 {
            let e = Error::input(format!("the line is {length} bytes long, {LINE_LIMIT} are allowed"));
            let e = e.at_line(&self.path, self.number, None);
            return Err(e.help("one record a line was expected; is this a file of another kind?"));
        }
        while let [rest @ .., b'\n' | b'\r'] = &self.buffer[..] {
            self.buffer.truncate(rest.len());
        }
        let skip = if self.number == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        match std::str::from_utf8(&self.buffer[skip..]) {
            Ok(text) => Ok(Some(Line { path: &self.path, number: self.number, text })),
            Err(e) => Err(self.invalid(skip, e.valid_up_to())),
        }
    }

    fn invalid(&self, skip: usize, at: usize) -> Error {
        let good = String::from_utf8_lossy(&self.buffer[skip..skip + at]);
        let column = good.chars().count() as u64 + 1;
        let byte = self.buffer[skip + at];
        let offset = self.offset + (skip + at) as u64;
        let inside = if self.compressed { "the decompressed text" } else { "the file" };
        Error::input(format!("invalid UTF-8: byte 0x{byte:02x}"))
            .at_line(&self.path, self.number, Some(column))
            .showing(&String::from_utf8_lossy(&self.buffer[skip..]))
            .note(format!("at byte offset {offset} of {inside}"))
            .help("convert the file, for example with `iconv -f latin1 -t utf-8`")
    }

    /// Reads up to and with the next `\n`; keeps no more than the limit. Gives the length that was read.
    fn read_line(&mut self) -> Result<u64> {
        let mut length = 0;
        loop {
            let part = match self.input.fill_buf() {
                Ok(part) => part,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.read_error(e)),
            };
            if part.is_empty() {
                return Ok(length);
            }
            let end = part.iter().position(|&b| b == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(part.len());
            let room = (LINE_LIMIT + 1).saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&part[..taken.min(room)]);
            self.input.consume(taken);
            length += taken as u64;
            if self.compressed && self.next_offset + length > GZIP_SLACK.max(self.size * GZIP_RATIO) {
                let e = Error::input("the gzip file unpacks to a size that no text has").at(&self.path);
                return Err(
                    e.help("is the file what you think it is? Unpack it yourself and pass the plain text")
                );
            }
            if end.is_some() {
                return Ok(length);
            }
        }
    }

    fn read_error(&self, e: std::io::Error) -> Error {
        use std::io::ErrorKind as E;
        let again = "fetch the file again; `gzip -t` checks it";
        let after = format!("{} lines were read before that", self.number);
        match e.kind() {
            E::UnexpectedEof if self.compressed => {
                Error::input("truncated gzip: the file ends in the middle")
                    .at(&self.path)
                    .note(after)
                    .help(again)
            }
            E::InvalidInput | E::InvalidData if self.compressed => {
                Error::input("broken gzip").at(&self.path).caused_by(e).note(after).help(again)
            }
            _ => Error::io(&self.path, e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        e.write_all(bytes).unwrap();
        e.finish().unwrap()
    }

    fn read_all(name: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Lines::open(&path)?;
        let mut all = vec![];
        while let Some(line) = lines.next()? {
            assert_eq!(line.number, all.len() as u64 + 1);
            all.push(line.text.to_owned());
        }
        Ok(all)
    }

    #[test]
    fn lines_come_without_ends_and_byte_order_mark_compressed_or_not() {
        let text = "\u{feff}a\r\n\nb c\nä".as_bytes();
        let want = ["a", "", "b c", "ä"];
        assert_eq!(read_all("x.txt", text).unwrap(), want);
        assert_eq!(read_all("x.txt.gz", &gzip(text)).unwrap(), want);
        // By content, whatever the name says; members one after another are one text.
        assert_eq!(read_all("x.txt", &gzip(text)).unwrap(), want);
        let members = [gzip(&text[..9]), gzip(&text[9..])].concat();
        assert_eq!(read_all("x.gz", &members).unwrap(), want);
    }

    #[track_caller]
    fn check(name: &str, bytes: &[u8], place: &str, message: &str) {
        let e = read_all(name, bytes).unwrap_err().to_string();
        assert!(e.contains(&format!("{name}{place}: {message}")), "{e}");
    }

    #[test]
    fn what_is_no_text_is_named() {
        let noise: Vec<u8> = (0..2000u32).flat_map(|i| format!("{}\n", i * i).into_bytes()).collect();
        check("x", b"", "", "the file is empty");
        check("x.gz", &gzip(b""), "", "the file is empty");
        check("x.gz", b"plain", "", "not gzip: it starts with the bytes 70 6c 61 69");
        check("x.gz", &gzip(&noise)[..2000], "", "truncated gzip");
        check("x.gz", &gzip(b"text\n")[..5], "", "truncated gzip");
        let mut broken = gzip(&noise);
        broken[1000] ^= 0xff;
        check("x.gz", &broken, "", "broken gzip");
        check("x", b"good\n\xc3\xa4b\xffc\n", ":2:3", "invalid UTF-8: byte 0xff");
        check(
            "x",
            b"good\n\xc3\xa4b\xffc\n",
            ":2:3",
            "invalid UTF-8: byte 0xff\n  | \u{e4}b\u{fffd}c\n  = note: at byte offset 8 of the file",
        );
        check("x", b"ok\ncut \xe2\x82", ":2:5", "invalid UTF-8: byte 0xe2");
        check(
            "x",
            &[b"ok\n".as_slice(), &vec![b'a'; LINE_LIMIT + 1], b"\n"].concat(),
            ":2",
            "the line is 16777218 bytes",
        );
        assert!(
            Lines::open(Path::new("no/such")).map(|_| ()).unwrap_err().to_string().contains("no such file")
        );
    }

    #[test]
    fn reading_goes_on_behind_a_bad_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [b"\xff\n".as_slice(), &vec![b'a'; LINE_LIMIT + 9], b"\nlast"].concat())
            .unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert!(lines.next().is_err());
        assert!(lines.next().is_err());
        let last = lines.next().unwrap().unwrap();
        assert_eq!((last.number, last.text), (3, "last"));
    }

    #[test]
    fn a_gzip_bomb_is_refused() {
        let mut e = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        let zeros = vec![b'\n'; 1 << 20];
        for _ in 0..257 {
            e.write_all(&zeros).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, e.finish().unwrap()).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let e = loop {
            match lines.next() {
                Ok(line) => assert!(line.is_some()),
                Err(e) => break e,
            }
        };
        assert!(e.to_string().contains("unpacks to a size"), "{e}");
    }
}
