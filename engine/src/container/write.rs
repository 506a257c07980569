//! Writing a container: streaming, a fixed amount of memory, and either whole under its name or not there
//! at all.

use super::disk::{Disk, DiskFile, Spare, System, Temporary};
use super::{ALIGN, HEADER, KIND, MAGIC, NAME, Plain, ROW, Scalar, Section, VERSION, bytes_of};
use crate::{Error, Result};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Writes a container under a temporary name beside its target; [`Writer::commit`] gives it its name.
///
/// Dropped without `commit`, it removes the temporary file: whatever fails on the way leaves nothing
/// behind, and an older file under the target's name stays as it is.
pub struct Writer {
    target: PathBuf,
    temporary: Temporary,
    kind: [u8; KIND],
    out: BufWriter<Box<dyn DiskFile>>,
    at: u64,
    sections: Vec<Section>,
    open: Option<Xxh3>,
}

/// A container whose bytes the system has, under a temporary name: whether the disk has them is not known yet.
///
/// Writing costs a copy of the bytes, waiting for the disk much more; so a run goes on between [`Writer::finish`] and
/// the end of [`Unsynced::commit`], which another thread may call. Dropped without it, the temporary file goes.
pub struct Unsynced {
    target: PathBuf,
    temporary: Temporary,
    /// None once it is closed.
    file: Option<Box<dyn DiskFile>>,
    fingerprint: u64,
}

impl Unsynced {
    /// [`super::Container::fingerprint`] of what was written.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
    /// Waits until the bytes are on the disk, and gives the file its name.
    ///
    /// # Errors
    /// `Kind::Io`; the temporary file is gone then, and an older file of that name is untouched.
    pub fn commit(mut self) -> Result<()> {
        let failed = |e| Error::io(&self.target, e);
        // Closed before it has a name: what was written over a spare file is locked until then.
        self.file.take().map_or(Ok(()), |file| file.sync()).map_err(failed)?;
        let disk = &self.temporary.disk;
        disk.rename(&self.temporary.path, &self.target).map_err(failed)?;
        self.temporary.named = true;
        let folder = folder_of(&self.target);
        self.temporary.disk.sync_folder(folder).map_err(|e| Error::io(folder, e))
    }
}

impl Writer {
    /// Starts a container of `kind` (1 to 16 bytes) that will be called `path`.
    ///
    /// # Errors
    /// `Kind::Io` or `Kind::Input` when the folder does not exist or cannot be written.
    pub fn create(path: &Path, kind: &str) -> Result<Writer> {
        Writer::create_on(Arc::new(System), path, kind, None)
    }

    /// [`Writer::create`] on another disk than that of the machine, over a spare file of the same folder where there
    /// is one that can be written over.
    ///
    /// # Errors
    /// As there.
    pub fn create_on(disk: Arc<dyn Disk>, path: &Path, kind: &str, spare: Option<Spare>) -> Result<Writer> {
        let (temporary, file) = match spare.and_then(Spare::reopen) {
            Some(reopened) => reopened,
            None => {
                let (temporary, file) = create_temporary(path, |name| disk.create(name))?;
                (Temporary { disk, path: temporary, named: false }, file)
            }
        };
        let out = BufWriter::with_capacity(1 << 20, file);
        let (target, kind) = (path.to_owned(), fixed(kind));
        let mut w = Writer { target, temporary, kind, out, at: 0, sections: vec![], open: None };
        w.put(&[0; HEADER])?;
        Ok(w)
    }

    /// Writes a whole section.
    ///
    /// # Errors
    /// `Kind::Io`, above all when the disk is full.
    pub fn section<T: Plain>(&mut self, name: &str, values: &[T]) -> Result<()> {
        self.begin(name, T::SCALAR)?;
        self.append(values)?;
        self.end()
    }

    /// Begins a section, to be filled by [`Writer::append`].
    ///
    /// # Panics
    /// When another is open, or `name` was used, or is not 1 to 32 bytes long.
    ///
    /// # Errors
    /// `Kind::Io`.
    pub fn begin(&mut self, name: &str, scalar: Scalar) -> Result<()> {
        assert!(self.open.is_none(), "section `{name}` begins inside another");
        assert!(self.sections.iter().all(|s| s.name != name), "section `{name}` is written twice");
        let _: [u8; NAME] = fixed(name);
        self.pad()?;
        self.sections.push(Section { name: name.to_owned(), scalar, bytes: 0, checksum: 0, offset: self.at });
        self.open = Some(Xxh3::new());
        Ok(())
    }

    /// Appends numbers to the open section.
    ///
    /// # Panics
    /// When no section is open, or it holds another type.
    ///
    /// # Errors
    /// `Kind::Io`, above all when the disk is full.
    pub fn append<T: Plain>(&mut self, values: &[T]) -> Result<()> {
        let section = self.sections.last().expect("append is called between begin and end");
        assert_eq!(section.scalar, T::SCALAR, "section `{}` holds another type", section.name);
        let bytes = bytes_of(values);
        self.open.as_mut().expect("append is called between begin and end").update(bytes);
        self.put(bytes)
    }

    /// Ends the open section.
    ///
    /// # Panics
    /// When none is open.
    ///
    /// # Errors
    /// None today; a `Result`, since a writer may have to flush here.
    pub fn end(&mut self) -> Result<()> {
        let sum = self.open.take().expect("end follows begin").digest();
        let section = self.sections.last_mut().expect("begin has pushed it");
        (section.bytes, section.checksum) = (self.at - section.offset, sum);
        Ok(())
    }

    /// The finished sections with their checksums.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Writes table and header, brings all to the disk, and gives the file its name.
    ///
    /// # Panics
    /// When a section is open, or none was written.
    ///
    /// # Errors
    /// `Kind::Io`; the temporary file is gone then, and an older file of that name is untouched.
    pub fn commit(self) -> Result<()> {
        self.finish()?.commit()
    }

    /// The first half of [`Writer::commit`]: table and header are written, the disk is not waited for.
    ///
    /// # Panics
    /// As there.
    ///
    /// # Errors
    /// As there.
    pub fn finish(mut self) -> Result<Unsynced> {
        assert!(self.open.is_none() && !self.sections.is_empty(), "commit needs finished sections");
        self.pad()?;
        let (table_at, table) = (self.at, self.table());
        self.put(&table)?;
        let fingerprint = xxh3_64(&table);
        let header = self.header(table_at, fingerprint);
        let failed = |e| Error::io(&self.target, e);
        self.out.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.out.write_all(&header).map_err(failed)?;
        let file = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        // A spare file may have been longer.
        file.cut(self.at).map_err(failed)?;
        Ok(Unsynced { target: self.target, temporary: self.temporary, file: Some(file), fingerprint })
    }

    /// Lets a test see what a failing disk does.
    #[cfg(test)]
    pub(super) fn replace_file_for_test(&mut self, file: std::fs::File) {
        self.out = BufWriter::new(Box::new(file));
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(&self.target, e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
    fn pad(&mut self) -> Result<()> {
        let missing = self.at.next_multiple_of(ALIGN) - self.at;
        self.put(&[0; ALIGN as usize][..missing as usize])
    }
    fn table(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity(self.sections.len() * ROW);
        for s in &self.sections {
            table.extend(fixed::<NAME>(&s.name));
            table.extend(s.scalar.code().to_le_bytes());
            table.extend([0; 4]);
            table.extend([s.offset, s.bytes, s.checksum].map(u64::to_le_bytes).as_flattened());
        }
        table
    }
    fn header(&self, table_at: u64, table_sum: u64) -> Vec<u8> {
        let mut h = Vec::with_capacity(HEADER);
        h.extend(MAGIC);
        h.extend(VERSION.to_le_bytes());
        h.extend((self.sections.len() as u32).to_le_bytes());
        h.extend(self.kind);
        h.extend([self.at, table_at, table_sum].map(u64::to_le_bytes).as_flattened());
        let sum = xxh3_64(&h);
        h.extend(sum.to_le_bytes());
        h
    }
}

fn fixed<const N: usize>(text: &str) -> [u8; N] {
    assert!(!text.is_empty() && text.len() <= N, "`{text}` is not 1 to {N} bytes long");
    let mut field = [0; N];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

/// A new file beside `target`, with the first free name: a leftover of a killed process is never written
/// over.
pub(super) fn create_temporary<F>(
    target: &Path,
    create: impl Fn(&Path) -> std::io::Result<F>,
) -> Result<(PathBuf, F)> {
    if target.file_name().is_none() {
        return Err(Error::input("this path cannot be the name of a file").at(target));
    }
    // A rename would put a file in the place of a device or a pipe.
    if std::fs::metadata(target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(
            Error::input("this is a device or a pipe; what is written here must be a file").at(target)
        );
    }
    let mut attempt = 0u32;
    loop {
        let path = target.with_file_name(temporary_name(target, attempt));
        match create(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => attempt += 1,
            Err(e) => return Err(Error::io(folder_of(target), e)),
        }
    }
}

/// The name that a file has before it is called `target`, or after.
pub(super) fn temporary_name(target: &Path, which: impl std::fmt::Display) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".tmp-{}-{which}", std::process::id()));
    name
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
