//! Sparse matrices as `scipy.sparse.save_npz` writes them: a zip of arrays, each with the header of `.npy`
//! (NumPy enhancement proposal 1).
//!
//! ```text
//! format.npy   b'csr'            shape.npy   rows, columns
//! indptr.npy   rows + 1 ends     indices.npy nnz columns     data.npy   nnz values
//! row i has the columns indices[indptr[i] .. indptr[i+1]] and the values beside them
//! ```
//! The arrays go through spools: what a file claims takes disk as its bytes come, and never memory. All lengths
//! are compared before the first row is given; a column and a value are looked at with their row.

use crate::build::relevance;
use crate::lines::{GZIP_RATIO, GZIP_SLACK};
use engine::container::{Plain, Spool, Spooled};
use engine::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

const AGAIN: &str = "fetch the file again, or make it with scipy.sparse.save_npz(path, matrix.tocsr())";
/// A longer header describes a structure, not an array of numbers. NumPy itself stops at 10,000.
const HEADER_LIMIT: u32 = 10_000;

/// A matrix of relevance, row after row.
pub(super) struct Matrix {
    path: PathBuf,
    rows: u32,
    pub(super) columns: u32,
    next: usize,
    ends: Spooled<u64>,
    indices: Spooled<u64>,
    values: Spooled<f32>,
}

impl Matrix {
    /// Reads `path`; the spools lie `beside` the data set to come.
    ///
    /// # Errors
    /// `Kind::Input` with the member and the number that is wrong.
    pub(super) fn open(path: &Path, beside: &Path) -> Result<Matrix> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let size = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|e| broken(path, e))?;
        let mut archive = Archive { path, zip };
        archive.check_format()?;
        let [rows, columns] = archive.shape()?;
        let plausible = |count: u64, what: &str| match count.saturating_mul(4)
            > GZIP_SLACK.max(size * GZIP_RATIO)
        {
            true => Err(wrong(path, format!("{count} {what} are more than a file of {size} bytes can hold"))),
            false => Ok(()),
        };
        plausible(u64::from(rows), "rows")?;
        let ends = archive.integers("indptr", u64::from(rows) + 1, beside)?;
        if ends.first() != Some(&0) || !ends.is_sorted() {
            return Err(wrong(path, "`indptr.npy` has to begin with 0 and may never fall"));
        }
        let nnz = ends.last().copied().unwrap_or(0);
        plausible(nnz, "entries")?;
        let indices = archive.integers("indices", nnz, beside)?;
        let values = archive.values("data", nnz, beside)?;
        Ok(Matrix { path: path.to_owned(), rows, columns, next: 0, ends, indices, values })
    }
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
    /// True when every row was given.
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.rows as usize
    }
    /// The (label, relevance) pairs of the next row.
    ///
    /// # Errors
    /// When there is no further row, a column is out of range or a value is no relevance.
    pub(super) fn next(&mut self, pairs: &mut Vec<(u32, f32)>) -> Result<()> {
        pairs.clear();
        if self.is_over() {
            return Err(wrong(&self.path, format!("more texts than the matrix has rows ({})", self.rows)));
        }
        let row = self.next;
        self.next += 1;
        let (from, to) = (self.ends[row] as usize, self.ends[row + 1] as usize);
        for (&index, &value) in self.indices[from..to].iter().zip(&self.values[from..to]) {
            let label = u32::try_from(index).ok().filter(|&l| l < self.columns).ok_or_else(|| {
                let of = self.columns;
                wrong(
                    &self.path,
                    format!("label index {index} in row {row} is out of range: there are {of} labels"),
                )
            })?;
            let value = relevance(f64::from(value)).map_err(|why| {
                wrong(&self.path, format!("{why} ({value}) for label {label} in row {row}"))
            })?;
            pairs.push((label, value));
        }
        Ok(())
    }
}

fn wrong(path: &Path, message: impl Into<String>) -> Error {
    Error::input(message).at(path).help(AGAIN)
}

fn broken(path: &Path, e: ZipError) -> Error {
    match e {
        ZipError::Io(e) if e.kind() != std::io::ErrorKind::InvalidData => unreadable(path, "the archive", e),
        e => wrong(path, "not a zip archive that can be read, which .npz is").caused_by(e),
    }
}

/// A damaged member is bad input; a failing disk is not.
fn unreadable(path: &Path, what: &str, e: std::io::Error) -> Error {
    use std::io::ErrorKind as E;
    match e.kind() {
        E::UnexpectedEof => wrong(path, format!("truncated: {what} ends in the middle")).caused_by(e),
        E::InvalidData | E::InvalidInput | E::Unsupported | E::Other => {
            wrong(path, format!("damaged: {what}")).caused_by(e)
        }
        _ => Error::io(path, e),
    }
}

/// The zip, its members asked for by name.
struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
}

impl Archive<'_> {
    fn member(&mut self, name: &str) -> Result<Member<'_>> {
        let name = format!("{name}.npy");
        let names: Vec<_> = self.zip.file_names().filter_map(|n| n.ok()).collect();
        let names = names.join(", ");
        match self.zip.by_name(&name) {
            Ok(file) => Member::open(self.path, name, file),
            Err(ZipError::FileNotFound) => {
                let e = wrong(self.path, format!("no member `{name}`: this is no sparse matrix of scipy"));
                Err(e.note(format!("it holds {}", names)))
            }
            Err(e) => Err(broken(self.path, e)),
        }
    }
    fn check_format(&mut self) -> Result<()> {
        let path = self.path;
        match self.member("format")?.characters()?.as_str() {
            "csr" => Ok(()),
            other => Err(wrong(path, format!("the format is `{other}`, `csr` is needed"))),
        }
    }
    fn shape(&mut self) -> Result<[u32; 2]> {
        let mut shape = self.member("shape")?;
        shape.check(2, true)?;
        let mut size = || {
            let n = shape.index()?;
            let fits = u32::try_from(n).ok().filter(|&n| n < u32::MAX);
            fits.ok_or_else(|| shape.wrong(&format!("has {n}, at most {} can be used", u32::MAX - 1)))
        };
        Ok([size()?, size()?])
    }
    fn integers(&mut self, name: &str, count: u64, beside: &Path) -> Result<Spooled<u64>> {
        self.numbers(name, (count, true), |member| member.index(), beside)
    }
    fn values(&mut self, name: &str, count: u64, beside: &Path) -> Result<Spooled<f32>> {
        self.numbers(name, (count, false), |member| member.value(), beside)
    }
    /// So many numbers of an array, integers or any, each read by `next`.
    fn numbers<T: Plain>(
        &mut self,
        name: &str,
        (count, integers): (u64, bool),
        next: impl Fn(&mut Member<'_>) -> Result<T>,
        beside: &Path,
    ) -> Result<Spooled<T>> {
        let mut member = self.member(name)?;
        member.check(count, integers)?;
        let mut spool = Spool::beside(beside)?;
        for _ in 0..count {
            spool.append(&[next(&mut member)?])?;
        }
        member.end()?;
        spool.finish()
    }
}

/// One array of the archive: its header read, its numbers to come.
struct Member<'a> {
    path: &'a Path,
    name: String,
    input: BufReader<ZipFile<'a, BufReader<File>>>,
    kind: String,
    count: u64,
}

impl<'a> Member<'a> {
    fn open(path: &'a Path, name: String, file: ZipFile<'a, BufReader<File>>) -> Result<Member<'a>> {
        let (kind, count) = (String::new(), 0);
        let mut member = Member { path, name, input: BufReader::with_capacity(1 << 16, file), kind, count };
        let head: [u8; 8] = member.bytes()?;
        let length = match (&head[..6], head[6]) {
            (b"\x93NUMPY", 1) => u32::from(u16::from_le_bytes(member.bytes()?)),
            (b"\x93NUMPY", 2 | 3) => u32::from_le_bytes(member.bytes()?),
            _ => return Err(member.wrong("is no array of NumPy")),
        };
        if length > HEADER_LIMIT {
            return Err(member.wrong(&format!("has a header of {length} bytes, {HEADER_LIMIT} are allowed")));
        }
        let header = String::from_utf8_lossy(&member.take(u64::from(length))?).into_owned();
        let parsed = descriptor(&header);
        (member.kind, member.count) = parsed
            .ok_or_else(|| member.wrong(&format!("has a header that cannot be read: {}", header.trim())))?;
        Ok(member)
    }
    fn wrong(&self, what: &str) -> Error {
        wrong(self.path, format!("`{}` {what}", self.name))
    }
    /// There must be `count` numbers of a kind that is known.
    fn check(&self, count: u64, integers: bool) -> Result<()> {
        let kinds: &[&str] = match integers {
            true => &["<i4", "<i8"],
            false => &["<f4", "<f8", "<i4", "<i8", "|i1", "|u1", "|b1"],
        };
        if !kinds.contains(&self.kind.as_str()) {
            return Err(self.wrong(&format!(
                "has numbers of kind `{}`, not {}",
                self.kind,
                kinds.join(", ")
            )));
        }
        if self.count != count {
            return Err(self.wrong(&format!("has {} numbers, {count} were expected", self.count)));
        }
        Ok(())
    }
    fn integer(&mut self) -> Result<i64> {
        Ok(match self.kind.as_str() {
            "<i4" => i64::from(i32::from_le_bytes(self.bytes()?)),
            _ => i64::from_le_bytes(self.bytes()?),
        })
    }
    fn index(&mut self) -> Result<u64> {
        let n = self.integer()?;
        u64::try_from(n).map_err(|_| self.wrong(&format!("has {n}, numbers from 0 were expected")))
    }
    fn value(&mut self) -> Result<f32> {
        Ok(match self.kind.as_str() {
            "<f4" => f32::from_le_bytes(self.bytes()?),
            "<f8" => f64::from_le_bytes(self.bytes()?) as f32,
            "|i1" => f32::from(i8::from_le_bytes(self.bytes()?)),
            "|u1" | "|b1" => f32::from(u8::from_le_bytes(self.bytes()?)),
            _ => self.integer()? as f32,
        })
    }
    /// A short string. NumPy pads it with zeros, and older versions write four bytes a character; without the
    /// zeros ASCII is the same in both.
    fn characters(mut self) -> Result<String> {
        let bytes = self.take(64)?;
        Ok(bytes.into_iter().filter(|&b| b != 0).map(char::from).flat_map(char::escape_default).collect())
    }
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|e| unreadable(self.path, &self.name, e))?;
        Ok(bytes)
    }
    /// At most `limit` bytes more.
    fn take(&mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        let read = self.input.by_ref().take(limit).read_to_end(&mut bytes);
        read.map_err(|e| unreadable(self.path, &self.name, e))?;
        Ok(bytes)
    }
    /// Nothing may follow. The archive compares its checksum here.
    fn end(mut self) -> Result<()> {
        match self.take(1)?.is_empty() {
            true => Ok(()),
            false => Err(self.wrong("is longer than its header says")),
        }
    }
}

/// Kind and number of items of an array of at most one axis, from the header's Python text:
/// `{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }`.
fn descriptor(header: &str) -> Option<(String, u64)> {
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start());
    let kind = after("'descr':")?.strip_prefix('\'')?.split_once('\'')?.0;
    let shape = after("'shape':")?.strip_prefix('(')?.split_once(')')?.0.trim();
    let count = match shape {
        "" => 1,
        _ => shape.trim_end_matches(',').trim().parse().ok()?,
    };
    Some((kind.to_owned(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_arrays_are_understood() {
        let of = |header| descriptor(header);
        let good = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }      \n";
        assert_eq!(of(good), Some(("<i4".into(), 3)));
        assert_eq!(of("{'shape': (), 'descr': '|S3'}"), Some(("|S3".into(), 1)));
        assert_eq!(of("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }"), None);
        assert_eq!(of("{'descr': [('a', '<f8')], 'shape': (3,), }"), None);
        assert_eq!(of("{'descr': '<f8', 'shape': (-3,), }"), None);
        assert_eq!(of("{'descr': '<f8'"), None);
    }
}
