//! Numbers that wait on disk until they are needed: appended one by one, then read in place.
//!
//! A writer that fills a dozen sections at once cannot write them one after another, and may not hold them
//! in memory.

use super::view::{Mapped, View};
use super::{Plain, bytes_of};
use crate::{Error, Result};
use memmap2::Mmap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A nameless temporary file of numbers, open for appending.
#[derive(Debug)]
pub struct Spool<T> {
    out: BufWriter<File>,
    path: PathBuf,
    len: usize,
    scalar: PhantomData<T>,
}

/// The numbers of a finished [`Spool`], mapped.
pub type Spooled<T> = View<T>;

impl<T: Plain> Spool<T> {
    /// A spool in the folder of `beside`, so that it fills the same disk as the file that it will become
    /// part of.
    ///
    /// Its name is removed at once: the file vanishes with the last handle, even after a crash.
    ///
    /// # Errors
    /// `Kind::Io` when the folder cannot be written.
    pub fn beside(beside: &Path) -> Result<Spool<T>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let (path, file) = super::write::create_temporary(beside, |name| options.open(name))?;
        std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Spool { out: BufWriter::with_capacity(1 << 16, file), path, len: 0, scalar: PhantomData })
    }
    /// Appends numbers.
    ///
    /// # Errors
    /// `Kind::Io`, above all when the disk is full.
    pub fn append(&mut self, values: &[T]) -> Result<()> {
        self.out.write_all(bytes_of(values)).map_err(|e| Error::io(&self.path, e))?;
        self.len += values.len();
        Ok(())
    }
    /// How many numbers were appended.
    pub fn len(&self) -> usize {
        self.len
    }
    /// True when nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Maps what was appended.
    ///
    /// # Errors
    /// `Kind::Io`, above all when the disk is full.
    pub fn finish(self) -> Result<Spooled<T>> {
        let path = self.path;
        let file = self.out.into_inner().map_err(|e| Error::io(&path, e.into_error()))?;
        if self.len == 0 {
            return Ok(View::default());
        }
        // SAFETY: the file has no name and its only handle is ours, so nobody can write or truncate it
        // while it is mapped.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&path, e))?;
        Ok(View::new(Arc::new(Mapped { map, _locked: None }), 0, self.len))
    }
}
