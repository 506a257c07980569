//! A slice of a mapping that keeps the mapping alive.

use super::Plain;
use memmap2::Mmap;
use std::fs::File;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A file that is mapped, and for as long locked against being written over, unless nobody else can have it.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) map: Mmap,
    pub(super) _locked: Option<File>,
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// `len` numbers at byte `offset` of `map`, in place.
///
/// # Panics
/// When they lie outside the mapping or are not aligned: `Container` has checked both.
pub(super) fn cast<T: Plain>(map: &Mapped, offset: usize, len: usize) -> &[T] {
    let bytes = len.checked_mul(size_of::<T>()).expect("a checked section is shorter than the address space");
    let part = &map[offset..offset + bytes];
    assert!(part.as_ptr().cast::<T>().is_aligned(), "a section is not aligned to its numbers");
    // SAFETY: the slice index above proves that the bytes lie inside the mapping, the assertion that they
    // are aligned; `Plain` is sealed to types for which every bit pattern is valid; the lifetime is that of
    // the mapping's borrow.
    unsafe { std::slice::from_raw_parts(part.as_ptr().cast::<T>(), len) }
}

/// Numbers of a mapped section. Cloning it copies no number.
#[derive(Clone, Debug)]
pub struct View<T> {
    map: Option<Arc<Mapped>>,
    offset: usize,
    len: usize,
    scalar: PhantomData<T>,
}

impl<T: Plain> View<T> {
    pub(super) fn new(map: Arc<Mapped>, offset: usize, len: usize) -> View<T> {
        cast::<T>(&map, offset, len);
        View { map: Some(map), offset, len, scalar: PhantomData }
    }
}

impl<T> Default for View<T> {
    /// A view of nothing, which needs no mapping.
    fn default() -> View<T> {
        View { map: None, offset: 0, len: 0, scalar: PhantomData }
    }
}

impl<T: Plain> Deref for View<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &self.map {
            Some(map) => cast(map, self.offset, self.len),
            None => &[],
        }
    }
}
