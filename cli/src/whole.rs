//! A file that has its name only when it is whole.

use engine::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file under a temporary name beside its own, which [`Whole::commit`] gives it.
///
/// Dropped without that it leaves nothing behind, and an older file of its name stays as it was.
#[derive(Debug)]
pub(crate) struct Whole {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
}

impl Whole {
    /// Begins a file.
    ///
    /// # Errors
    /// If the folder does not take a file.
    pub(crate) fn create(path: &Path) -> Result<Whole> {
        if path.is_dir() {
            return Err(Error::input("is a folder, a file will be written").at(path));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let out = File::create(&temporary).map_err(|e| Error::io(path, e))?;
        Ok(Whole { path: path.to_owned(), temporary, out: BufWriter::new(out) })
    }
    /// Appends bytes.
    ///
    /// # Errors
    /// If the disk is full.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }
    /// Writes what follows over the beginning.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn rewind(&mut self) -> Result<()> {
        self.out.seek(SeekFrom::Start(0)).map(|_| ()).map_err(|e| Error::io(&self.path, e))
    }
    /// Brings all to the disk, and gives the file its name.
    ///
    /// # Errors
    /// If the disk is full.
    pub(crate) fn commit(mut self) -> Result<()> {
        let mut finish = || -> io::Result<()> {
            self.out.flush()?;
            self.out.get_ref().sync_all()?;
            fs::rename(&self.temporary, &self.path)
        };
        finish().map_err(|e| Error::io(&self.path, e))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // After a commit there is nothing of this name, which is as well.
        let _ = fs::remove_file(&self.temporary);
    }
}
