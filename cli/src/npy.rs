//! The `.npy` format, version 1.0 (NumPy enhancement proposal 1): a header that Python can read, then the
//! numbers.
//!
//! ```text
//! \x93NUMPY 1 0, length u16
//! {'descr': '<f4', 'fortran_order': False, 'shape': (n, d), }   and spaces, together 128 bytes
//! n·d f32, little-endian, row by row
//! ```

use engine::{Error, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The whole header: room for any two sizes.
const HEADER: usize = 128;

/// Writes a matrix of f32 row by row, under a temporary name until it is whole.
///
/// Dropped without [`Writer::commit`] it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    width: usize,
    values: usize,
}

impl Writer {
    /// Begins a matrix with rows of `width` numbers.
    ///
    /// # Errors
    /// If the folder does not take a file.
    pub(crate) fn create(path: &Path, width: usize) -> Result<Writer> {
        if path.is_dir() {
            return Err(Error::input("is a folder, a file will be written").at(path));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let out = File::create(&temporary).map_err(|e| Error::io(path, e))?;
        let mut writer =
            Writer { path: path.to_owned(), temporary, out: BufWriter::new(out), width, values: 0 };
        writer.put(&[0; HEADER])?;
        Ok(writer)
    }
    /// Appends whole rows.
    ///
    /// # Errors
    /// If the disk is full.
    pub(crate) fn append(&mut self, rows: &[f32]) -> Result<()> {
        for value in rows {
            self.out.write_all(&value.to_le_bytes()).map_err(|e| Error::io(&self.path, e))?;
        }
        self.values += rows.len();
        Ok(())
    }
    /// Writes the header, and gives the file its name. Returns the number of rows.
    ///
    /// # Errors
    /// If the disk is full.
    pub(crate) fn commit(mut self) -> Result<usize> {
        let rows = self.values.checked_div(self.width).unwrap_or(0);
        self.put_header(rows)?;
        let finish = |w: &mut Writer| {
            w.out.flush()?;
            w.out.get_ref().sync_all()?;
            fs::rename(&w.temporary, &w.path)
        };
        finish(&mut self).map_err(|e| Error::io(&self.path, e))?;
        Ok(rows)
    }
    fn put_header(&mut self, rows: usize) -> Result<()> {
        let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {}), }}", self.width);
        let mut header = b"\x93NUMPY\x01\x00".to_vec();
        header.extend((HEADER as u16 - 10).to_le_bytes());
        header.extend(dict.bytes());
        header.resize(HEADER - 1, b' ');
        header.push(b'\n');
        self.out.seek(SeekFrom::Start(0)).map_err(|e| Error::io(&self.path, e))?;
        self.put(&header)
    }
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a commit there is nothing of this name, which is as well.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_written_as_numpy_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        let mut w = Writer::create(&path, 2).unwrap();
        w.append(&[1.0, -2.0]).unwrap();
        w.append(&[0.5, 3.0, 4.0, 5.0]).unwrap();
        assert!(!path.exists());
        assert_eq!(w.commit().unwrap(), 3);
        let bytes = fs::read(&path).unwrap();
        // The first bytes of numpy.save(…, numpy.zeros((3, 2), 'f4')), and its alignment.
        assert!(bytes.starts_with(
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }"
        ));
        assert_eq!((bytes[127], bytes.len()), (b'\n', 128 + 24));
        assert_eq!(bytes[128..136], [0, 0, 128, 63, 0, 0, 0, 192]);
    }

    #[test]
    fn a_matrix_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        Writer::create(&path, 2).unwrap().append(&[1.0, 2.0]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
