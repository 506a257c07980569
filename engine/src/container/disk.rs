//! What writing a container asks of a file system, and no more. A test can put a disk in its place that notes every
//! request, and show each state in which a crash may leave it (`train/src/checkpoint/crashes.rs`).

use super::write::temporary_name;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system, as far as a writer needs one.
pub trait Disk: Send + Sync {
    /// Makes a new file, open for writing.
    ///
    /// # Errors
    /// [`std::io::ErrorKind::AlreadyExists`] where something has this name; else what the system says.
    fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>>;
    /// Opens a file that nobody needs any more, to be written over from its start; none where a process of ours still
    /// reads it, or it has another name, too.
    /// Until what this gives is dropped, no container can be opened there.
    ///
    /// # Errors
    /// What the system says.
    fn reopen(&self, path: &Path) -> std::io::Result<Option<Box<dyn DiskFile>>>;
    /// Gives a file another name, in the place of what has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> std::io::Result<()>;
    /// Returns when the names in a folder are on the disk: a rename is there for good only then.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> std::io::Result<()>;
}

/// A file that is being written.
pub trait DiskFile: Write + Seek + Send {
    /// Returns when all that was written is on the disk.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> std::io::Result<()>;
    /// Cuts the file after `length` bytes.
    ///
    /// # Errors
    /// What the system says.
    fn cut(&self, length: u64) -> std::io::Result<()>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Disk for System {
    fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }
    fn reopen(&self, path: &Path) -> std::io::Result<Option<Box<dyn DiskFile>>> {
        let file = OpenOptions::new().write(true).open(path)?;
        // Under another name it is somebody's copy.
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) != 1 {
            return Ok(None);
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        // Elsewhere a folder cannot be opened, and names need no bringing.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}

impl DiskFile for File {
    fn sync(&self) -> std::io::Result<()> {
        self.sync_all()
    }
    fn cut(&self, length: u64) -> std::io::Result<()> {
        self.set_len(length)
    }
}

/// A file under a temporary name, which is removed unless the file gets its own.
pub(super) struct Temporary {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) named: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            // An error here has nobody to go to; the one that brought us here is already on its way.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// A file that nobody needs any more, under a temporary name: the next one is written over it. Its pages are in the
/// system's cache and its blocks have their place, so that costs a fraction of writing a new one. Dropped, it goes.
pub struct Spare(Temporary);

impl Spare {
    /// Takes its name from a file. A process of ours that has it open goes on reading it: it is not written over then,
    /// and neither is one that has another name, too. Who copies it by other means just now reads what a checksum will
    /// refuse.
    ///
    /// # Errors
    /// What the system says; the file keeps its name.
    pub fn of(disk: Arc<dyn Disk>, path: &Path) -> std::io::Result<Spare> {
        let hidden = path.with_file_name(temporary_name(path, "spare"));
        disk.rename(path, &hidden)?;
        Ok(Spare(Temporary { disk, path: hidden, named: false }))
    }
    /// Opens it to be written over; none where that cannot be, and the file goes.
    pub(super) fn reopen(self) -> Option<(Temporary, Box<dyn DiskFile>)> {
        let file = self.0.disk.reopen(&self.0.path).ok().flatten()?;
        Some((self.0, file))
    }
}
