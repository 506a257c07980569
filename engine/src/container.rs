//! One mapped file of named arrays: what `prepare` writes and everything else reads without a copy.
//!
//! ```text
//! 0         64                                             table          end
//! | header | section 0 | pad | section 1 | pad | … | pad | one row a section |
//!
//! header (64 bytes)   magic[8] version:u32 sections:u32 kind[16]
//!                     length:u64 table:u64 xxh3(table):u64 xxh3(header[..56]):u64
//! row    (64 bytes)   name[32] scalar:u32 zero:u32 offset:u64 bytes:u64 xxh3(section):u64
//! ```
//! Little-endian; every section and the table start at a multiple of 64, in the order of the rows and with
//! nothing but zero padding between them. So an offset is never a matter of trust: it follows from the
//! lengths before it, and sections cannot overlap. The header is written last, into a temporary name that
//! is then renamed.

mod disk;
mod spool;
mod view;
mod write;

pub use disk::{Disk, DiskFile, Spare, System};
use memmap2::Mmap;
pub use spool::{Spool, Spooled};
use view::Mapped;
pub use view::View;
pub use write::{Unsynced, Writer};

use crate::{Error, Kind, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const _: () = assert!(cfg!(target_endian = "little"), "mapped files are little-endian and read in place");

const MAGIC: [u8; 8] = *b"LODEFILE";
const VERSION: u32 = 1;
const ALIGN: u64 = 64;
const HEADER: usize = 64;
const ROW: usize = 64;
const NAME: usize = 32;
const KIND: usize = 16;

/// The number types that a section can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Bytes, and UTF-8 text.
    U8,
    /// Token ids of small vocabularies.
    U16,
    /// Ids.
    U32,
    /// Offsets.
    U64,
    /// Values.
    F32,
}

impl Scalar {
    const ALL: [Scalar; 5] = [Scalar::U8, Scalar::U16, Scalar::U32, Scalar::U64, Scalar::F32];
    fn code(self) -> u32 {
        self as u32 + 1
    }
    fn of_code(code: u32) -> Option<Scalar> {
        Scalar::ALL.into_iter().find(|s| s.code() == code)
    }
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Scalar::U8 => 1,
            Scalar::U16 => 2,
            Scalar::U32 | Scalar::F32 => 4,
            Scalar::U64 => 8,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A number that may be read in place: no padding, every bit pattern valid. Sealed, since `unsafe` code
/// rests on it.
pub trait Plain: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// The type as the file names it.
    const SCALAR: Scalar;
}

macro_rules! plain {
    ($($t:ty => $s:ident),*) => {$(
        impl sealed::Sealed for $t {}
        impl Plain for $t {
            const SCALAR: Scalar = Scalar::$s;
        }
    )*};
}
plain!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, f32 => F32);

/// The bytes of `values`, as they lie in the file.
pub(crate) fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` is sealed to u8, u16, u32, u64 and f32, which have no padding; the length is that of
    // the slice.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// 64-bit xxh3 of `bytes`: the checksum of the sections, and a hash that is the same on every machine.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// [`checksum`] of numbers as they lie in a file.
pub fn checksum_of<T: Plain>(values: &[T]) -> u64 {
    xxh3_64(bytes_of(values))
}

/// 128-bit xxh3 of `bytes`: wide enough to stand for a string in a table of 10⁹.
pub fn checksum_wide(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// How much of a file is checked when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Header, table and length: costs nothing.
    Header,
    /// Every section's checksum too: reads the whole file.
    Full,
}

/// One row of the section table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, unique in the file.
    pub name: String,
    /// The type of its numbers.
    pub scalar: Scalar,
    /// Length in bytes.
    pub bytes: u64,
    /// xxh3 of its bytes.
    pub checksum: u64,
    offset: u64,
}

/// An open container: a read-only mapping and its checked table.
#[derive(Debug)]
pub struct Container {
    path: PathBuf,
    map: Arc<Mapped>,
    sections: Vec<Section>,
    fingerprint: u64,
}

impl Container {
    /// Opens the container at `path`, which must be of `kind`.
    ///
    /// # Errors
    /// `Kind::Damaged` when header, table, bounds or (with [`Verify::Full`]) a checksum are wrong, the
    /// section named; `Kind::Input` when the file is missing, or whole but of another kind or version.
    pub fn open(path: &Path, kind: &str, verify: Verify) -> Result<Container> {
        let map = map_file(path)?;
        let (table_at, count) = check_header(path, &map, kind)?;
        let sections = check_table(path, &map, table_at, count)?;
        let fingerprint = u64_at(&map, 48);
        let container = Container { path: path.to_owned(), map: Arc::new(map), sections, fingerprint };
        if verify == Verify::Full {
            container.sections.iter().try_for_each(|s| container.check(&s.name))?;
        }
        Ok(container)
    }

    /// True when `path` starts like a container of ours, of whatever kind. Says nothing about its health.
    pub fn is_container(path: &Path) -> bool {
        use std::io::Read;
        let mut head = [0; 8];
        File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok() && head == MAGIC
    }

    /// The kind of the container at `path`, by its first bytes; none if it is none of ours. Says nothing about its
    /// health.
    pub fn kind_of(path: &Path) -> Option<String> {
        use std::io::Read;
        let mut head = [0; HEADER];
        File::open(path).and_then(|mut f| f.read_exact(&mut head)).ok()?;
        (head[..8] == MAGIC).then(|| fixed_text(&head[16..16 + KIND]).map(str::to_owned))?
    }
    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The sections, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
    /// The checksum of the section table, and so of every section's checksum: what tells this file from another.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
    /// True when the file has a section `name`.
    pub fn has(&self, name: &str) -> bool {
        self.sections.iter().any(|s| s.name == name)
    }
    /// The bytes of section `name`, of whatever type.
    ///
    /// # Errors
    /// `Kind::Damaged` when there is no such section.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let s = self.find(name)?;
        Ok(&self.map[s.offset as usize..(s.offset + s.bytes) as usize])
    }
    /// The numbers of section `name`.
    ///
    /// # Errors
    /// `Kind::Damaged` when there is no such section, or it holds another type.
    pub fn slice<T: Plain>(&self, name: &str) -> Result<&[T]> {
        let s = self.find_typed::<T>(name)?;
        Ok(view::cast(&self.map, s.offset as usize, s.bytes as usize / size_of::<T>()))
    }
    /// The numbers of section `name` with a handle on the mapping: it may outlive the container.
    ///
    /// # Errors
    /// As [`Container::slice`].
    pub fn view<T: Plain>(&self, name: &str) -> Result<View<T>> {
        let s = self.find_typed::<T>(name)?;
        Ok(View::new(self.map.clone(), s.offset as usize, s.bytes as usize / size_of::<T>()))
    }

    /// Checks section `name` against its checksum: what [`Verify::Full`] does to all. For who opened with
    /// [`Verify::Header`] and reads a few sections of many.
    ///
    /// # Errors
    /// `Kind::Damaged` when there is no such section, or its bytes are not those that were written.
    pub fn check(&self, name: &str) -> Result<()> {
        if xxh3_64(self.bytes(name)?) == self.find(name)?.checksum {
            return Ok(());
        }
        let e = Error::damaged(&self.path, name, "its checksum does not match its bytes");
        Err(e.help("the file was changed or the disk is failing; make the file again"))
    }

    fn find(&self, name: &str) -> Result<&Section> {
        let found = self.sections.iter().find(|s| s.name == name);
        found.ok_or_else(|| Error::damaged(&self.path, name, "is not in the file"))
    }
    fn find_typed<T: Plain>(&self, name: &str) -> Result<&Section> {
        let s = self.find(name)?;
        if s.scalar != T::SCALAR {
            let why = format!("holds {:?}, {:?} was expected", s.scalar, T::SCALAR);
            return Err(Error::damaged(&self.path, name, why));
        }
        Ok(s)
    }
}

fn map_file(path: &Path) -> Result<Mapped> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let meta = file.metadata().map_err(|e| Error::io(path, e))?;
    if meta.is_dir() {
        return Err(Error::io(path, std::io::ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() || meta.len() < (HEADER + ROW) as u64 {
        return Err(truncated(path, "it is shorter than any file of ours"));
    }
    // A file system without locks has none for `Disk::reopen` either, which then writes over nothing.
    if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
        let what = "another process has it locked for writing: a run that no longer keeps it, or a backup";
        return Err(
            Error::io(path, std::io::Error::new(std::io::ErrorKind::WouldBlock, what)).help("try again")
        );
    }
    // SAFETY: the mapping is read-only, and nobody of ours writes files of this format in place while it lasts:
    // `Writer` replaces them by rename, which leaves mapped pages alone, or writes over one that has no name any more
    // and that `Disk::reopen` alone has locked, which the lock above prevents. Whoever truncates the file from outside
    // causes SIGBUS, not a wild read.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
    Ok(Mapped { map, _locked: Some(file) })
}

fn truncated(path: &Path, why: &str) -> Error {
    Error::damaged(path, "header", why).help("the file is truncated, or is no file of Lode's; make it again")
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has the length asked for")
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(number(bytes, at))
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(number(bytes, at))
}

/// Text in a field of fixed width, filled up with zeros.
fn fixed_text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let zeros = field[end..].iter().all(|&b| b == 0);
    std::str::from_utf8(&field[..end]).ok().filter(|s| zeros && !s.is_empty())
}

/// Checks the header and the table's checksum; gives where the table starts and how many rows it has.
fn check_header(path: &Path, map: &[u8], kind: &str) -> Result<(usize, usize)> {
    let damaged = |why: &str| Error::damaged(path, "header", why);
    let head = &map[..HEADER];
    if head[..8] != MAGIC {
        return Err(damaged("these are not the first bytes of a file of Lode's")
            .help("`lode prepare` makes a data set; was another file named here?"));
    }
    if xxh3_64(&head[..56]) != u64_at(head, 56) {
        return Err(damaged("its checksum does not match").help("make the file again"));
    }
    let (version, count) = (u32_at(head, 8), u32_at(head, 12) as usize);
    if version != VERSION {
        let e = Error::input(format!("format version {version}, this program reads {VERSION}")).at(path);
        return Err(e.help("make the file again with this version"));
    }
    let (length, table) = (u64_at(head, 32), u64_at(head, 40));
    if length != map.len() as u64 {
        return Err(truncated(path, &format!("{length} bytes were written, {} are there", map.len())));
    }
    let found = fixed_text(&head[16..16 + KIND]).ok_or_else(|| damaged("its kind is no text"))?;
    if found != kind {
        return Err(
            Error::new(Kind::Input, format!("is a file of kind `{found}`, `{kind}` was expected")).at(path)
        );
    }
    // `count` is below 2³², so the product fits; the sum is checked.
    let rows = count as u64 * ROW as u64;
    if table < HEADER as u64 || table % ALIGN != 0 || table.checked_add(rows) != Some(length) || count == 0 {
        return Err(damaged("the section table lies outside the file"));
    }
    if xxh3_64(&map[table as usize..]) != u64_at(head, 48) {
        return Err(Error::damaged(path, "table", "its checksum does not match").help("make the file again"));
    }
    Ok((table as usize, count))
}

/// Reads the rows and checks that they tile the file in order.
fn check_table(path: &Path, map: &[u8], table: usize, count: usize) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::with_capacity(count);
    let mut names = std::collections::HashSet::with_capacity(count);
    let mut next = HEADER as u64;
    for row in map[table..].chunks_exact(ROW) {
        let name =
            fixed_text(&row[..NAME]).ok_or_else(|| Error::damaged(path, "table", "a name is no text"))?;
        let damaged = |why: &str| Error::damaged(path, name, why);
        let scalar = Scalar::of_code(u32_at(row, NAME)).ok_or_else(|| damaged("unknown number type"))?;
        let (offset, bytes, checksum) = (u64_at(row, 40), u64_at(row, 48), u64_at(row, 56));
        let end = offset.checked_add(bytes).filter(|&end| end <= table as u64);
        let end = end.ok_or_else(|| damaged("lies outside the file"))?;
        if offset != next || u32_at(row, 36) != 0 {
            return Err(damaged("does not start where the section before it ends"));
        }
        if bytes % scalar.size() as u64 != 0 {
            return Err(damaged("its length is no multiple of its number's size"));
        }
        if !names.insert(name) {
            return Err(damaged("stands twice in the table"));
        }
        next = end.next_multiple_of(ALIGN);
        sections.push(Section { name: name.to_owned(), scalar, bytes, checksum, offset });
    }
    if next != table as u64 {
        return Err(Error::damaged(path, "table", "does not start where the last section ends"));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests;
