//! A table of label weights, or of their optimizer's state: rows are gathered and scattered, never taken as a whole.
//!
//! A table lies on the heap, is mapped over a temporary file that has no name any more, or lies on a device, which then
//! moves its rows ([`Home`]). A mapping dies with its process, so nothing can ever trust it after a crash.
//!
//! ```text
//! bf16     the upper half of an f32: x = c·2¹⁶ + r of its bits, c kept
//! write    c + 1 with probability r/2¹⁶, else c         E[written] = x  between two neighbours of bf16
//! ```
//! Rounding to the nearest would lose every step that is smaller than half the distance of two neighbours, and late in
//! a training that is nearly all of them; rounding by chance keeps them in the mean (ELMO, ICML 2025). The chance is
//! Philox with the key of the table's stream at the step of the update and the counter (row, column/8): no state, and
//! the same bits in whatever order and by however many threads the rows are written.
//!
//! A table knows which of its rows were written since it was last told to forget: a checkpoint needs no others. A step
//! of a sampled loss writes some thousand rows anywhere, so a coarser block would soon be changed everywhere.

mod changes;
mod factor;
mod space;

pub use changes::Run;
pub use factor::Factor;

use crate::cuda::{Cuda, DeviceTable};
use crate::engine::Engine;
use crate::error::Result;
use crate::random::{Stream, philox};
use crate::tensor::Tensor;
use changes::Changes;
use half::bf16;
use space::Space;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Rows in one parallel chunk.
const ROWS: usize = 64;
/// Rows of a device that are fetched at once.
const FETCHED: usize = 1 << 12;

/// Where a table lies.
#[derive(Clone, Debug)]
pub enum Home {
    /// In the memory of the CPU.
    Heap,
    /// In a mapping over a file of this directory.
    Files(PathBuf),
    /// In the memory of a device.
    Device(Cuda),
}

/// How the numbers of a table are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablePrecision {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number, rounded by chance when written; the stream says by which.
    Bf16(Stream),
}

impl TablePrecision {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            TablePrecision::F32 => 4,
            TablePrecision::Bf16(_) => 2,
        }
    }
}

/// Numbers of a table as they are kept, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers<'a> {
    /// f32.
    F32(Cow<'a, [f32]>),
    /// The bits of bf16.
    Bf16(Cow<'a, [u16]>),
}

/// What asks for a table as numbers of f32 has another one.
const NO_SLICE: &str = "the numbers of a table of bf16 are no f32, those of a device lie elsewhere";

/// Rows of numbers. Not a tensor: it may be larger than memory.
pub struct Table {
    store: Store,
    rows: usize,
    width: usize,
    changes: Changes,
}

enum Store {
    F32(Space<f32>),
    Bf16(Space<u16>, Stream),
    Device(DeviceTable),
}

impl Table {
    /// A table of f32 zeros on the heap.
    pub fn zeros(rows: usize, width: usize) -> Table {
        Table { store: Store::F32(Space::heap(rows * width)), rows, width, changes: Changes::none(rows) }
    }
    /// A table of zeros in a place of choice.
    ///
    /// # Errors
    /// If a file cannot be made, written or mapped.
    ///
    /// Where a device has no memory for it, or fails, it unwinds to [`crate::cuda::attempt()`].
    pub fn zeros_in(home: &Home, precision: TablePrecision, rows: usize, width: usize) -> Result<Table> {
        let n = rows * width;
        let store = match (home, precision) {
            (Home::Heap, TablePrecision::F32) => Store::F32(Space::heap(n)),
            (Home::Heap, TablePrecision::Bf16(stream)) => Store::Bf16(Space::heap(n), stream),
            (Home::Files(directory), TablePrecision::F32) => Store::F32(Space::mapped(n, directory)?),
            (Home::Files(directory), TablePrecision::Bf16(stream)) => {
                Store::Bf16(Space::mapped(n, directory)?, stream)
            }
            (Home::Device(cuda), precision) => {
                Store::Device(DeviceTable::zeros(cuda, precision, rows, width))
            }
        };
        Ok(Table { store, rows, width, changes: Changes::none(rows) })
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// The numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }
    /// How the numbers are kept.
    pub fn precision(&self) -> TablePrecision {
        match &self.store {
            Store::F32(_) => TablePrecision::F32,
            Store::Bf16(_, stream) => TablePrecision::Bf16(*stream),
            Store::Device(table) => table.precision(),
        }
    }
    /// The size in bytes, wherever it lies.
    pub fn bytes(&self) -> usize {
        self.rows * self.width * self.precision().size()
    }
    /// True when the table lies in a temporary file.
    pub fn is_mapped(&self) -> bool {
        match &self.store {
            Store::F32(space) => space.is_mapped(),
            Store::Bf16(space, _) => space.is_mapped(),
            Store::Device(_) => false,
        }
    }
    /// True when the table lies on a device.
    pub fn is_on_device(&self) -> bool {
        matches!(self.store, Store::Device(_))
    }
    /// The numbers, brought to where the table lies: what its rows are written from.
    #[track_caller]
    pub fn bring(&self, x: &Tensor) -> Tensor {
        match &self.store {
            Store::Device(table) => table.cuda().here(x),
            Store::F32(_) | Store::Bf16(..) => x.to_cpu(),
        }
    }
    /// The numbers of some runs of rows as they are kept, one after another, in pieces: for checkpoints.
    ///
    /// # Panics
    /// If a run leaves the table.
    pub fn numbers<'a>(
        &'a self,
        runs: impl Iterator<Item = Run> + 'a,
    ) -> Box<dyn Iterator<Item = Numbers<'a>> + 'a> {
        let span = |run: Run| run[0] as usize * self.width..run[1] as usize * self.width;
        match &self.store {
            Store::F32(space) => Box::new(runs.map(move |run| Numbers::F32(space.data()[span(run)].into()))),
            Store::Bf16(space, _) => {
                Box::new(runs.map(move |run| Numbers::Bf16(space.data()[span(run)].into())))
            }
            Store::Device(table) => {
                let mut rows = runs.flat_map(|[from, to]| from..to);
                Box::new(std::iter::from_fn(move || {
                    let some: Vec<u32> = rows.by_ref().take(FETCHED).collect();
                    (!some.is_empty()).then(|| table.fetch(&some))
                }))
            }
        }
    }
    /// The rows that were written since [`Table::forget_changes`].
    pub fn changed(&self) -> impl Iterator<Item = Run> {
        self.changes.runs()
    }
    /// The bytes of the rows in [`Table::changed`].
    pub fn bytes_changed(&self) -> usize {
        self.changes.count() * self.width * self.precision().size()
    }
    /// Says that a checkpoint holds all rows as they are.
    pub fn forget_changes(&mut self) {
        self.changes.forget();
    }
    /// Sets the rows of some runs to those of a checkpoint, one after another in `numbers`; false, and nothing changed,
    /// if they are of another table.
    #[must_use]
    pub fn restore(&mut self, runs: &[Run], numbers: Numbers<'_>) -> bool {
        let ordered = runs.is_sorted_by(|a, b| a[1] <= b[0]) && runs.iter().all(|[from, to]| from <= to);
        if !ordered || runs.last().is_some_and(|run| run[1] as usize > self.rows) {
            return false;
        }
        let fits = match (&mut self.store, numbers) {
            (Store::F32(space), Numbers::F32(from)) => copied(space.data_mut(), self.width, runs, &from),
            (Store::Bf16(space, _), Numbers::Bf16(from)) => copied(space.data_mut(), self.width, runs, &from),
            (Store::Device(table), numbers) => sent(table, self.width, runs, numbers),
            _ => false,
        };
        if fits {
            runs.iter().flat_map(|[from, to]| *from..*to).for_each(|row| self.changes.add(row as usize));
        }
        fits
    }
    /// All numbers of a table of f32.
    ///
    /// # Panics
    /// If it is one of bf16, or lies on a device.
    #[track_caller]
    pub fn data(&self) -> &[f32] {
        match &self.store {
            Store::F32(space) => space.data(),
            Store::Bf16(..) | Store::Device(_) => panic!("{NO_SLICE}"),
        }
    }
    /// All numbers of a table of f32, to be written.
    ///
    /// # Panics
    /// As [`Table::data`].
    #[track_caller]
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.changes.add_all();
        match &mut self.store {
            Store::F32(space) => space.data_mut(),
            Store::Bf16(..) | Store::Device(_) => panic!("{NO_SLICE}"),
        }
    }
    /// One row of a table of f32.
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
        if let Store::Device(table) = &self.store {
            return table.gather(rows);
        }
        let width = self.width;
        let mut y = engine.buffer::<f32>(rows.len() * width);
        engine.chunks(&mut y, (ROWS * width).max(1), |i, y| {
            for (y, &row) in y.chunks_mut(width).zip(&rows[i * ROWS..]) {
                self.read(row as usize, y);
            }
        });
        Tensor::from_buf([rows.len(), width], y)
    }
    /// The rows of a range: `[n, width]`.
    ///
    /// # Panics
    /// If the range leaves the table.
    #[track_caller]
    pub fn slice(&self, engine: &Engine, rows: Range<usize>) -> Tensor {
        if let Store::Device(table) = &self.store {
            return table.slice(rows);
        }
        let (first, width) = (rows.start, self.width);
        let mut y = engine.buffer::<f32>(rows.len() * width);
        engine.chunks(&mut y, (ROWS * width).max(1), |i, y| {
            y.chunks_mut(width).enumerate().for_each(|(r, y)| self.read(first + i * ROWS + r, y));
        });
        Tensor::from_buf([rows.len(), width], y)
    }
    /// As [`Table::slice`]; in bf16 where the table keeps that on a device which multiplies it.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn slice_as_kept(&self, engine: &Engine, rows: Range<usize>) -> Tensor {
        match &self.store {
            Store::Device(table) if table.cuda().is_bf16() => table.slice_as_kept(rows),
            _ => self.slice(engine, rows),
        }
    }
    /// One row as f32.
    ///
    /// # Panics
    /// If there is no such row, or `to` has another width.
    #[inline(always)]
    pub fn read(&self, row: usize, to: &mut [f32]) {
        assert_eq!(to.len(), self.width, "read: a row of another width");
        match &self.store {
            Store::F32(space) => to.copy_from_slice(&space.data()[row * self.width..][..self.width]),
            Store::Bf16(space, _) => {
                let from = &space.data()[row * self.width..][..self.width];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = bf16::from_bits(from).to_f32());
            }
            Store::Device(table) => to.copy_from_slice(table.slice(row..row + 1).to_cpu().data()),
        }
    }
    /// row rows[i] ← values[i], for `values` of shape `[n, width]` in f32; bf16 is rounded by the chance of `step`.
    ///
    /// # Panics
    /// If the rows do not ascend, or leave the table, or `values` has another shape.
    #[track_caller]
    pub fn scatter(&mut self, engine: &Engine, step: u64, rows: &[u32], values: &Tensor) {
        let width = self.width;
        assert_eq!(values.shape().dims(), [rows.len(), width], "scatter: values for other rows");
        self.mark(rows);
        if let Store::Device(table) = &self.store {
            return table.scatter(step, rows, values);
        }
        let data = values.data::<f32>();
        match &mut self.store {
            Store::F32(space) => {
                engine.chunks(&mut split(space.data_mut(), width, rows), ROWS, |i, to| {
                    let from = data[i * ROWS * width..].chunks(width.max(1));
                    to.iter_mut().zip(from).for_each(|(to, from)| to.copy_from_slice(from));
                });
            }
            Store::Bf16(space, stream) => {
                let key = stream.at_step(step).key();
                engine.chunks(&mut split(space.data_mut(), width, rows), ROWS, |i, to| {
                    let from = data[i * ROWS * width..].chunks(width.max(1));
                    for ((to, from), &row) in to.iter_mut().zip(from).zip(&rows[i * ROWS..]) {
                        round_by_chance(key, row, from, to);
                    }
                });
            }
            Store::Device(_) => unreachable!("its rows were written above"),
        }
    }
    /// Changes rows in place: `change` is given them as f32, one after another; bf16 is rounded by the chance of `step`
    /// afterwards. A row is changed once a step: its chance is a function of (step, row, column).
    ///
    /// # Panics
    /// If the rows do not ascend or leave the table, or it lies on a device, which changes them itself.
    #[track_caller]
    pub fn change(&mut self, engine: &Engine, step: u64, rows: &[u32], change: impl FnOnce(Vec<&mut [f32]>)) {
        if self.precision() == TablePrecision::F32 {
            return change(self.rows_mut(rows));
        }
        let mut values = self.gather(engine, rows);
        change(values.data_mut::<f32>().chunks_mut(self.width.max(1)).collect());
        self.scatter(engine, step, rows, &values);
    }
    /// The rows of these numbers in a table of f32, each to be written by whoever holds it.
    ///
    /// # Panics
    /// If the rows do not ascend or leave the table, or it is one of bf16, or lies on a device.
    #[track_caller]
    pub fn rows_mut(&mut self, rows: &[u32]) -> Vec<&mut [f32]> {
        self.mark(rows);
        match &mut self.store {
            Store::F32(space) => split(space.data_mut(), self.width, rows),
            Store::Bf16(..) | Store::Device(_) => panic!("{NO_SLICE}"),
        }
    }
    /// The table on its device, for a kernel that will write these rows; none where it lies on the CPU.
    ///
    /// # Panics
    /// If the rows do not ascend or leave the table.
    #[track_caller]
    pub(crate) fn on_device(&mut self, rows: &[u32]) -> Option<&DeviceTable> {
        if self.is_on_device() {
            self.mark(rows);
        }
        match &self.store {
            Store::Device(table) => Some(table),
            Store::F32(_) | Store::Bf16(..) => None,
        }
    }
    #[track_caller]
    fn mark(&mut self, rows: &[u32]) {
        assert!(rows.is_sorted_by(|a, b| a < b), "rows of a table are written in ascending order, each once");
        let last = rows.last().is_none_or(|&row| (row as usize) < self.rows);
        assert!(last, "row {:?} of a table of {} rows", rows.last(), self.rows);
        rows.iter().for_each(|&row| self.changes.add(row as usize));
    }
}

/// Copies `from` into the rows of `runs`, which lie in the table, if it is as long as they are; says whether it was.
fn copied<T: Copy>(to: &mut [T], width: usize, runs: &[Run], mut from: &[T]) -> bool {
    let rows: usize = runs.iter().map(|[from, to]| (to - from) as usize).sum();
    if rows * width != from.len() {
        return false;
    }
    for [first, end] in runs.iter().map(|run| run.map(|row| row as usize * width)) {
        let (now, left) = from.split_at(end - first);
        to[first..end].copy_from_slice(now);
        from = left;
    }
    true
}

/// As [`copied`], on a device.
fn sent(to: &DeviceTable, width: usize, runs: &[Run], from: Numbers<'_>) -> bool {
    let n = width * runs.iter().map(|[from, to]| (to - from) as usize).sum::<usize>();
    match (to.precision(), from) {
        (TablePrecision::F32, Numbers::F32(from)) if from.len() == n => to.put(runs, &from),
        (TablePrecision::Bf16(_), Numbers::Bf16(from)) if from.len() == n => to.put(runs, &from),
        _ => return false,
    }
    true
}

/// The rows, which ascend.
fn split<'a, T>(data: &'a mut [T], width: usize, rows: &[u32]) -> Vec<&'a mut [T]> {
    let (mut rest, mut at) = (data, 0);
    let take = |&row: &u32| {
        let (_, from) = std::mem::take(&mut rest).split_at_mut((row as usize - at) * width);
        let (taken, left) = from.split_at_mut(width);
        (rest, at) = (left, row as usize + 1);
        taken
    };
    rows.iter().map(take).collect()
}

/// Writes a row of f32 as bf16: up or down by chance, in proportion to the distance.
#[inline(always)]
fn round_by_chance(key: [u32; 2], row: u32, from: &[f32], to: &mut [u16]) {
    for (block, (from, to)) in from.chunks(8).zip(to.chunks_mut(8)).enumerate() {
        let words = philox([row, block as u32, 0, 0], key);
        for (i, (x, to)) in from.iter().zip(to).enumerate() {
            let chance = words[i / 2] >> (16 * (i % 2)) & 0xFFFF;
            let bits = x.to_bits();
            // Infinities and NaN have no neighbours to be rounded to.
            *to = if x.is_finite() { ((bits + chance) >> 16) as u16 } else { bf16::from_f32(*x).to_bits() };
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.store {
            Store::Device(_) => "a device",
            _ if self.is_mapped() => "scratch",
            _ => "heap",
        };
        let kind = if self.precision() == TablePrecision::F32 { "f32" } else { "bf16" };
        write!(f, "Table([{}, {}] {kind} on {place})", self.rows, self.width)
    }
}

#[cfg(test)]
mod tests;
