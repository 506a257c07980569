//! A table of label weights, or of their optimizer's state: rows are gathered and scattered, never taken as a whole.
//!
//! A table up to the limit of its [`Scratch`] lies on the heap; a larger one is mapped over a temporary file that has
//! no name any more. Such a mapping dies with its process, so nothing can ever trust it after a crash.
//!
//! ```text
//! bf16     the upper half of an f32: x = c·2¹⁶ + r of its bits, c kept
//! write    c + 1 with probability r/2¹⁶, else c         E[written] = x  between two neighbours of bf16
//! ```
//! Rounding to the nearest would lose every step that is smaller than half the distance of two neighbours, and late in
//! a training that is nearly all of them; rounding by chance keeps them in the mean (ELMO, ICML 2025). The chance is
//! Philox with the key of the table's stream at the step of the update and the counter (row, column/8): no state, and
//! the same bits in whatever order and by however many threads the rows are written.

mod space;

pub use space::Scratch;

use crate::engine::Engine;
use crate::error::Result;
use crate::random::{Stream, philox};
use crate::tensor::Tensor;
use half::bf16;
use space::Space;
use std::fmt;
use std::ops::Range;

/// Rows in one parallel chunk.
const ROWS: usize = 64;

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

/// All numbers of a table as they are kept, row after row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers<'a> {
    /// f32.
    F32(&'a [f32]),
    /// The bits of bf16.
    Bf16(&'a [u16]),
}

/// Rows of numbers. Not a tensor: it may be larger than memory.
pub struct Table {
    store: Store,
    rows: usize,
    width: usize,
}

enum Store {
    F32(Space<f32>),
    Bf16(Space<u16>, Stream),
}

impl Table {
    /// A table of f32 zeros on the heap.
    pub fn zeros(rows: usize, width: usize) -> Table {
        Table { store: Store::F32(Space::heap(rows * width)), rows, width }
    }
    /// A table of f32 zeros: on the heap up to `scratch.heap_limit` bytes, else mapped over a file of its directory.
    /// The file is written whole, so that a full disk is an error here and no fault later.
    ///
    /// # Errors
    /// If the file cannot be made, written or mapped.
    pub fn zeros_in(rows: usize, width: usize, scratch: &Scratch) -> Result<Table> {
        Table::zeros_as(TablePrecision::F32, rows, width, scratch)
    }
    /// As [`Table::zeros_in`] in a precision of choice.
    ///
    /// # Errors
    /// As [`Table::zeros_in`].
    pub fn zeros_as(
        precision: TablePrecision,
        rows: usize,
        width: usize,
        scratch: &Scratch,
    ) -> Result<Table> {
        let store = match precision {
            TablePrecision::F32 => Store::F32(Space::new(rows * width, scratch)?),
            TablePrecision::Bf16(stream) => Store::Bf16(Space::new(rows * width, scratch)?, stream),
        };
        Ok(Table { store, rows, width })
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
        }
    }
    /// The size in bytes, on the heap or on the disk.
    pub fn bytes(&self) -> usize {
        self.rows * self.width * self.precision().size()
    }
    /// The bytes that lie on the heap.
    pub fn bytes_heap(&self) -> usize {
        if self.is_mapped() { 0 } else { self.bytes() }
    }
    /// True when the table lies in a temporary file.
    pub fn is_mapped(&self) -> bool {
        match &self.store {
            Store::F32(space) => space.is_mapped(),
            Store::Bf16(space, _) => space.is_mapped(),
        }
    }
    /// All numbers: for checkpoints.
    pub fn numbers(&self) -> Numbers<'_> {
        match &self.store {
            Store::F32(space) => Numbers::F32(space.data()),
            Store::Bf16(space, _) => Numbers::Bf16(space.data()),
        }
    }
    /// Sets all numbers to those of a checkpoint; false, and nothing changed, if they are of another table.
    #[must_use]
    pub fn restore(&mut self, numbers: Numbers<'_>) -> bool {
        match (&mut self.store, numbers) {
            (Store::F32(space), Numbers::F32(from)) => copied(space.data_mut(), from),
            (Store::Bf16(space, _), Numbers::Bf16(from)) => copied(space.data_mut(), from),
            _ => false,
        }
    }
    /// All numbers of a table of f32.
    ///
    /// # Panics
    /// If it is one of bf16.
    #[track_caller]
    pub fn data(&self) -> &[f32] {
        match &self.store {
            Store::F32(space) => space.data(),
            Store::Bf16(..) => panic!("the numbers of a table of bf16 are no f32"),
        }
    }
    /// All numbers of a table of f32, to be written.
    ///
    /// # Panics
    /// If it is one of bf16.
    #[track_caller]
    pub fn data_mut(&mut self) -> &mut [f32] {
        match &mut self.store {
            Store::F32(space) => space.data_mut(),
            Store::Bf16(..) => panic!("the numbers of a table of bf16 are no f32"),
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
        let (first, width) = (rows.start, self.width);
        let mut y = engine.buffer::<f32>(rows.len() * width);
        engine.chunks(&mut y, (ROWS * width).max(1), |i, y| {
            y.chunks_mut(width).enumerate().for_each(|(r, y)| self.read(first + i * ROWS + r, y));
        });
        Tensor::from_buf([rows.len(), width], y)
    }
    #[inline(always)]
    fn read(&self, row: usize, to: &mut [f32]) {
        match &self.store {
            Store::F32(space) => to.copy_from_slice(&space.data()[row * self.width..][..self.width]),
            Store::Bf16(space, _) => {
                let from = &space.data()[row * self.width..][..self.width];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = bf16::from_bits(from).to_f32());
            }
        }
    }
    /// row rows[i] ← values[i], for `values` of shape `[n, width]` in f32; bf16 is rounded by the chance of `step`.
    ///
    /// # Panics
    /// If the rows do not ascend, or leave the table, or `values` has another shape.
    #[track_caller]
    pub fn scatter(&mut self, engine: &Engine, step: u64, rows: &[u32], values: &Tensor) {
        let (width, data) = (self.width, values.data::<f32>());
        assert_eq!(values.shape().dims(), [rows.len(), width], "scatter: values for other rows");
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
        }
    }
    /// Changes rows in place: `change` is given them as f32, one after another; bf16 is rounded by the chance of `step`
    /// afterwards. A row is changed once a step: its chance is a function of (step, row, column).
    ///
    /// # Panics
    /// If the rows do not ascend or leave the table.
    #[track_caller]
    pub fn change(&mut self, engine: &Engine, step: u64, rows: &[u32], change: impl FnOnce(Vec<&mut [f32]>)) {
        if let Store::F32(space) = &mut self.store {
            return change(split(space.data_mut(), self.width, rows));
        }
        let mut values = self.gather(engine, rows);
        change(values.data_mut::<f32>().chunks_mut(self.width.max(1)).collect());
        self.scatter(engine, step, rows, &values);
    }
    /// The rows of these numbers in a table of f32, each to be written by whoever holds it.
    ///
    /// # Panics
    /// If the rows do not ascend or leave the table, or it is one of bf16.
    #[track_caller]
    pub fn rows_mut(&mut self, rows: &[u32]) -> Vec<&mut [f32]> {
        let width = self.width;
        split(self.data_mut(), width, rows)
    }
}

/// Copies if the lengths are equal, and says whether they were.
fn copied<T: Copy>(to: &mut [T], from: &[T]) -> bool {
    let fits = to.len() == from.len();
    if fits {
        to.copy_from_slice(from);
    }
    fits
}

#[track_caller]
fn split<'a, T>(data: &'a mut [T], width: usize, rows: &[u32]) -> Vec<&'a mut [T]> {
    assert!(rows.is_sorted_by(|a, b| a < b), "rows of a table are written in ascending order, each once");
    let last = rows.last().is_none_or(|&r| (r as usize + 1) * width <= data.len());
    assert!(last, "row {:?} of a table of {} rows", rows.last(), data.len() / width.max(1));
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
        let place = if self.is_mapped() { "scratch" } else { "heap" };
        let kind = if self.precision() == TablePrecision::F32 { "f32" } else { "bf16" };
        write!(f, "Table([{}, {}] {kind} on {place})", self.rows, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const CHANCE: TablePrecision = TablePrecision::Bf16(Stream { seed: 5, step: 0, tag: 9 });

    fn check(mut table: Table, mapped: bool) {
        let engine = Engine::new(2);
        assert_eq!((table.is_mapped(), table.bytes()), (mapped, 200 * 3 * table.precision().size()));
        assert!(table.slice(&engine, 0..200).to_f64().iter().all(|&x| x == 0.0));
        let rows: Vec<u32> = (0..100).map(|i| 2 * i + 1).collect();
        // Whole numbers up to 256: bf16 has them exactly, and exact numbers are not rounded.
        let values = Tensor::from_vec([100, 3], (0..300).map(|i| (i % 256) as f32).collect());
        table.scatter(&engine, 1, &rows, &values);
        assert_eq!(table.gather(&engine, &rows).to_f64(), values.to_f64());
        let back = table.gather(&engine, &[199, 0, 1, 199]);
        let last = [41.0, 42.0, 43.0];
        assert_eq!(back.to_f64(), [last, [0.0; 3], [0.0, 1.0, 2.0], last].concat());
        table.change(&engine, 2, &[1, 3], |rows| rows.into_iter().for_each(|row| row[0] += 8.0));
        assert_eq!(table.slice(&engine, 1..4).to_f64(), [8.0, 1.0, 2.0, 0.0, 0.0, 0.0, 11.0, 4.0, 5.0]);
        let mut other = Table::zeros_as(table.precision(), 200, 3, &heap()).unwrap();
        assert!(other.restore(table.numbers()) && other.numbers() == table.numbers());
        assert!(!Table::zeros(1, 3).restore(table.numbers()));
    }

    fn heap() -> Scratch {
        Scratch { directory: ".".into(), heap_limit: usize::MAX }
    }

    #[test]
    fn rows_come_back_from_the_heap_and_from_a_mapping() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = |heap_limit| Scratch { directory: directory.path().to_owned(), heap_limit };
        check(Table::zeros_in(200, 3, &scratch(2400)).unwrap(), false);
        check(Table::zeros_in(200, 3, &scratch(2399)).unwrap(), true);
        check(Table::zeros_as(CHANCE, 200, 3, &scratch(1200)).unwrap(), false);
        check(Table::zeros_as(CHANCE, 200, 3, &scratch(1199)).unwrap(), true);
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

    #[test]
    fn rounding_by_chance_is_right_in_the_mean_and_goes_to_a_neighbour() {
        // bf16 has eight binary digits: the neighbours of 1 + 2⁻⁹ are 1 and 1 + 2⁻⁷. The value lies a quarter up.
        let (engine, n) = (Engine::new(2), 40_000usize);
        for (x, low, step) in
            [(1.0 + 0.001_953_125f32, 1.0f64, 0.007_812_5), (-1.0 - 0.001_953_125f32, -1.0, -0.007_812_5)]
        {
            let mut table = Table::zeros_as(CHANCE, n, 5, &heap()).unwrap();
            let rows: Vec<u32> = (0..n as u32).collect();
            table.scatter(&engine, 3, &rows, &Tensor::from_vec([n, 5], vec![x; 5 * n]));
            let got = table.slice(&engine, 0..n).to_f64();
            assert!(got.iter().all(|&y| y == low || y == low + step), "a neighbour each time");
            let up = got.iter().filter(|&&y| y != low).count() as f64 / got.len() as f64;
            // 200,000 draws: the standard deviation is 0.001.
            assert!((up - 0.25).abs() < 0.005, "{up} went up");
        }
    }

    #[test]
    fn steps_smaller_than_the_grid_are_kept_in_the_mean() {
        let (engine, n) = (Engine::new(1), 2000usize);
        let mut table = Table::zeros_as(CHANCE, n, 1, &heap()).unwrap();
        let rows: Vec<u32> = (0..n as u32).collect();
        table.scatter(&engine, 0, &rows, &Tensor::from_vec([n, 1], vec![1.0f32; n]));
        for step in 1..=100 {
            table.change(&engine, step, &rows, |rows| rows.into_iter().for_each(|row| row[0] += 1e-4));
        }
        let mean = table.slice(&engine, 0..n).to_f64().iter().sum::<f64>() / n as f64;
        // To the nearest, all of them would have stayed 1.
        // Five standard deviations.
        assert!((mean - 1.01).abs() < 1e-3, "{mean}");
    }

    #[test]
    fn the_chance_of_a_row_does_not_depend_on_its_company_or_the_threads() {
        let x: Vec<f32> = (0..300 * 11).map(|i| Stream::new(1, 1).uniform(i) as f32).collect();
        let write = |threads, all: &[u32]| {
            let mut table = Table::zeros_as(CHANCE, 300, 11, &heap()).unwrap();
            let values = all.iter().flat_map(|&r| x[r as usize * 11..][..11].to_vec()).collect();
            table.scatter(&Engine::new(threads), 7, all, &Tensor::from_vec([all.len(), 11], values));
            table.gather(&Engine::new(1), &[17, 299]).to_f64()
        };
        let all: Vec<u32> = (0..300).collect();
        assert_eq!(write(1, &all), write(3, &all));
        assert_eq!(write(1, &all), write(1, &[17, 299]));
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let engine = Engine::new(1);
        let mut table = Table::zeros_as(CHANCE, 1, 3, &heap()).unwrap();
        let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        table.scatter(&engine, 1, &[0], &Tensor::from_vec([1, 3], values));
        let got = table.gather(&engine, &[0]).to_f64();
        assert!(got[0].is_nan() && got[1..] == [f64::INFINITY, f64::NEG_INFINITY], "{got:?}");
    }
}
