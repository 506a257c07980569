//! A file that has its name only when it is whole.

use engine::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file under a temporary name beside its own, which [`Whole::commit`] gives it.
///
/// Dropped without that it leaves nothing behind, and an older file of its name stays as it was. What is there and is
/// no file, as `/dev/null`, `/dev/stdout` or a pipe, is written to and not replaced.
#[derive(Debug)]
pub(crate) struct Whole {
    path: PathBuf,
    /// None where there is nothing to rename.
    temporary: Option<PathBuf>,
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
        // Where a link leads is what counts.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let out = OpenOptions::new().write(true).open(path).map_err(|e| Error::io(path, e))?;
            return Ok(Whole { path: path.to_owned(), temporary: None, out: BufWriter::new(out) });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let out = File::create(&temporary).map_err(|e| Error::io(path, e))?;
        Ok(Whole { path: path.to_owned(), temporary: Some(temporary), out: BufWriter::new(out) })
    }
    /// A file of this text.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
        let mut file = Whole::create(path)?;
        file.put(text.as_bytes())?;
        file.commit()
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
            let Some(temporary) = &self.temporary else { return Ok(()) };
            self.out.get_ref().sync_all()?;
            fs::rename(temporary, &self.path)
        };
        finish().map_err(|e| Error::io(&self.path, e))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // After a commit there is nothing of this name, which is as well.
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe under a name: it gets the text, and is a pipe afterwards. One that replaced it would hang the reader.
    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_written_to_and_stays() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        Whole::write(&path, "all of it\n").unwrap();
        assert_eq!(reader.join().unwrap(), "all of it\n");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
