//! Where the numbers of a table lie on the CPU: on the heap, or in a mapping over a temporary file without a name.

use crate::container::Plain;
use crate::error::{Error, Result};
use memmap2::MmapMut;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::Path;

/// Bytes in one write of zeros.
const BLOCK: usize = 1 << 20;

/// So many numbers.
pub(super) enum Space<T: Plain> {
    Heap(Vec<T>),
    Scratch(MmapMut, PhantomData<T>),
}

impl<T: Plain> Space<T> {
    /// Zeros on the heap.
    pub(super) fn heap(count: usize) -> Space<T> {
        Space::Heap(vec![T::default(); count])
    }
    /// Zeros in a mapping over a file of `directory`. The file is written whole, so that a full disk is an error here
    /// and no fault later.
    pub(super) fn mapped(count: usize, directory: &Path) -> Result<Space<T>> {
        let bytes = count * size_of::<T>();
        if bytes == 0 {
            return Ok(Space::heap(0));
        }
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
        Ok(Space::Scratch(map, PhantomData))
    }
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Space::Scratch(..))
    }
    pub(super) fn data(&self) -> &[T] {
        match self {
            Space::Heap(values) => values,
            // SAFETY: the mapping is a whole number of T long (`mapped`), starts at a page, and every bit pattern is a
            // T: `Plain` is sealed to such numbers.
            Space::Scratch(map, _) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<T>())
            },
        }
    }
    pub(super) fn data_mut(&mut self) -> &mut [T] {
        match self {
            Space::Heap(values) => values,
            // SAFETY: as in `data`; `&mut self` proves that nobody else looks.
            Space::Scratch(map, _) => unsafe {
                std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), map.len() / size_of::<T>())
            },
        }
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
