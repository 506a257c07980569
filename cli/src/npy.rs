//! The `.npy` format, version 1.0 (NumPy enhancement proposal 1): a header that Python can read, then the
//! numbers.
//!
//! ```text
//! \x93NUMPY 1 0, length u16
//! {'descr': '<f4', 'fortran_order': False, 'shape': (n, d), }   and spaces, together 128 bytes
//! n·d f32, little-endian, row by row
//! ```

use crate::whole::Whole;
use engine::Result;
use std::path::Path;

/// The whole header: room for any two sizes.
const HEADER: usize = 128;

/// Writes a matrix of f32 row by row. The file has its name when it is whole.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Whole,
    width: usize,
    values: usize,
}

impl Writer {
    /// Begins a matrix with rows of `width` numbers.
    ///
    /// # Errors
    /// If the folder does not take a file.
    pub(crate) fn create(path: &Path, width: usize) -> Result<Writer> {
        let mut out = Whole::create(path)?;
        out.put(&[0; HEADER])?;
        Ok(Writer { out, width, values: 0 })
    }
    /// Appends whole rows.
    ///
    /// # Errors
    /// If the disk is full.
    pub(crate) fn append(&mut self, rows: &[f32]) -> Result<()> {
        rows.iter().try_for_each(|value| self.out.put(&value.to_le_bytes()))?;
        self.values += rows.len();
        Ok(())
    }
    /// Writes the header, and gives the file its name. Returns the number of rows.
    ///
    /// # Errors
    /// If the disk is full.
    pub(crate) fn commit(mut self) -> Result<usize> {
        let rows = self.values.checked_div(self.width).unwrap_or(0);
        self.out.rewind()?;
        self.out.put(&header(rows, self.width))?;
        self.out.commit()?;
        Ok(rows)
    }
}

fn header(rows: usize, width: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((HEADER as u16 - 10).to_le_bytes());
    header
        .extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}").bytes());
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
