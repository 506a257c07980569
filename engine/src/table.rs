//! A table of label weights, or of their optimizer's state: rows are gathered and scattered, never taken as a whole.
//!
//! A table up to the limit of its [`Scratch`] lies on the heap; a larger one is mapped over a temporary file that has
//! no name any more. Such a mapping dies with its process, so nothing can ever trust it after a crash.

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use memmap2::MmapMut;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Rows in one parallel chunk.
const ROWS: usize = 64;
/// Bytes in one write of zeros.
const BLOCK: usize = 1 << 20;

/// Where large tables lie.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// The directory of the temporary files.
    pub directory: PathBuf,
    /// Tables of more bytes than this are mapped.
    pub heap_limit: usize,
}

/// Rows of f32. Not a tensor: it may be larger than memory.
pub struct Table {
    store: Store,
    rows: usize,
    width: usize,
}

enum Store {
    Heap(Vec<f32>),
    Scratch(MmapMut),
}

impl Table {
    /// A table of zeros on the heap.
    pub fn zeros(rows: usize, width: usize) -> Table {
        Table { store: Store::Heap(vec![0.0; rows * width]), rows, width }
    }
    /// A table of zeros: on the heap up to `scratch.heap_limit` bytes, else mapped over a file of its directory. The
    /// file is written whole, so that a full disk is an error here and no fault later.
    ///
    /// # Errors
    /// If the file cannot be made, written or mapped.
    pub fn zeros_in(rows: usize, width: usize, scratch: &Scratch) -> Result<Table> {
        let bytes = rows * width * size_of::<f32>();
        if bytes <= scratch.heap_limit || bytes == 0 {
            return Ok(Table::zeros(rows, width));
        }
        let directory = &scratch.directory;
        let mut file = unnamed_file(directory)?;
        let zeros = vec![0u8; BLOCK.min(bytes)];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(BLOCK);
            file.write_all(&zeros[..part]).map_err(|e| Error::io(directory, e))?;
            left -= part;
        }
        // SAFETY: the file has `bytes` bytes and no name: `unnamed_file` made and unlinked it, so that no other
        // process can open, cut or write it.
        let map = unsafe { MmapMut::map_mut(&file) }.map_err(|e| Error::io(directory, e))?;
        Ok(Table { store: Store::Scratch(map), rows, width })
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// The numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }
    /// The size in bytes, on the heap or on the disk.
    pub fn bytes(&self) -> usize {
        self.rows * self.width * size_of::<f32>()
    }
    /// The bytes that lie on the heap.
    pub fn bytes_heap(&self) -> usize {
        if self.is_mapped() { 0 } else { self.bytes() }
    }
    /// True when the table lies in a temporary file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.store, Store::Scratch(_))
    }
    /// All numbers, row after row: for checkpoints and initialisers.
    pub fn data(&self) -> &[f32] {
        match &self.store {
            Store::Heap(values) => values,
            // SAFETY: the mapping has rows · width · 4 bytes (`zeros_in`), starts at a page, and every bit pattern is
            // an f32.
            Store::Scratch(map) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast(), self.rows * self.width)
            },
        }
    }
    /// All numbers, to be written.
    pub fn data_mut(&mut self) -> &mut [f32] {
        match &mut self.store {
            Store::Heap(values) => values,
            // SAFETY: as in `data`; `&mut self` proves that nobody else looks.
            Store::Scratch(map) => unsafe {
                std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), self.rows * self.width)
            },
        }
    }
    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data()[row * self.width..][..self.width]
    }
    /// y[i] = row rows[i]: `[n, width]`. Rows may repeat.
    ///
    /// # Panics
    /// If a row is out of range.
    #[track_caller]
    pub fn gather(&self, engine: &Engine, rows: &[u32]) -> Tensor {
        let (width, data) = (self.width, self.data());
        let mut y = engine.buffer::<f32>(rows.len() * width);
        engine.chunks(&mut y, ROWS * width, |i, y| {
            for (y, &row) in y.chunks_mut(width).zip(&rows[i * ROWS..]) {
                y.copy_from_slice(&data[row as usize * width..][..width]);
            }
        });
        Tensor::from_buf([rows.len(), width], y)
    }
    /// row rows[i] ← values[i], for `values` of shape `[n, width]` in f32.
    ///
    /// # Panics
    /// If the rows do not ascend, or leave the table, or `values` has another shape.
    #[track_caller]
    pub fn scatter(&mut self, engine: &Engine, rows: &[u32], values: &Tensor) {
        let (width, data) = (self.width, values.data::<f32>());
        assert_eq!(values.shape().dims(), [rows.len(), width], "scatter: values for other rows");
        engine.chunks(&mut self.rows_mut(rows), ROWS, |i, to| {
            for (to, from) in to.iter_mut().zip(data[i * ROWS * width..].chunks(width.max(1))) {
                to.copy_from_slice(from);
            }
        });
    }
    /// The rows of these numbers, each to be written by whoever holds it.
    ///
    /// # Panics
    /// If the rows do not ascend or leave the table.
    #[track_caller]
    pub fn rows_mut(&mut self, rows: &[u32]) -> Vec<&mut [f32]> {
        assert!(rows.is_sorted_by(|a, b| a < b), "rows of a table are written in ascending order, each once");
        let last = rows.last().is_none_or(|&r| (r as usize) < self.rows);
        assert!(last, "row {:?} of a table of {} rows", rows.last(), self.rows);
        let (width, mut rest, mut at) = (self.width, self.data_mut(), 0);
        let take = |&row: &u32| {
            let (_, from) = std::mem::take(&mut rest).split_at_mut((row as usize - at) * width);
            let (taken, left) = from.split_at_mut(width);
            (rest, at) = (left, row as usize + 1);
            taken
        };
        rows.iter().map(take).collect()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_mapped() { "scratch" } else { "heap" };
        write!(f, "Table([{}, {}] on {place})", self.rows, self.width)
    }
}

/// A file of `directory` that only its handle knows.
fn unnamed_file(directory: &Path) -> Result<File> {
    let mut number = 0u32;
    loop {
        let path = directory.join(format!("lode-scratch-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
                return Ok(file);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(Error::io(directory, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn check(mut table: Table, mapped: bool) {
        let engine = Engine::new(2);
        assert_eq!((table.is_mapped(), table.bytes()), (mapped, 200 * 3 * 4));
        assert!(table.data().iter().all(|&x| x == 0.0));
        let rows: Vec<u32> = (0..100).map(|i| 2 * i + 1).collect();
        let values = Tensor::from_vec([100, 3], (0..300).map(|i| i as f32 + 1.0).collect());
        table.scatter(&engine, &rows, &values);
        assert_eq!(table.gather(&engine, &rows).to_f64(), values.to_f64());
        let back = table.gather(&engine, &[199, 0, 1, 199]);
        let last = [298.0, 299.0, 300.0];
        assert_eq!(back.to_f64(), [last, [0.0; 3], [1.0, 2.0, 3.0], last].concat());
        assert_eq!(table.row(3), [4.0, 5.0, 6.0]);
    }

    #[test]
    fn rows_come_back_from_the_heap_and_from_a_mapping() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = |heap_limit| Scratch { directory: directory.path().to_owned(), heap_limit };
        check(Table::zeros_in(200, 3, &scratch(2400)).unwrap(), false);
        check(Table::zeros_in(200, 3, &scratch(2399)).unwrap(), true);
        check(Table::zeros(200, 3), false);
    }

    #[test]
    fn a_mapped_table_leaves_no_name_behind_and_is_not_disturbed_by_others() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch { directory: directory.path().to_owned(), heap_limit: 0 };
        let mut a = Table::zeros_in(600_000, 1, &scratch).unwrap();
        let b = Table::zeros_in(600_000, 1, &scratch).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        a.data_mut().fill(1.0);
        assert!(a.data().iter().all(|&x| x == 1.0) && b.data().iter().all(|&x| x == 0.0));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let scratch = Scratch { directory: "no/such/place".into(), heap_limit: 0 };
        let error = Table::zeros_in(2, 2, &scratch).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().starts_with("no/such/place: "), "{error}");
    }

    #[test]
    #[should_panic(expected = "each once")]
    fn a_row_is_not_written_twice() {
        Table::zeros(4, 1).rows_mut(&[1, 1]);
    }
}
