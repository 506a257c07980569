//! Rows of a table that lies on a device (`kernels/table.cu`): the arms of `table.rs`, and of the steps of rows in
//! `kernels/{adamw,adagrad,sgd}.rs`. Rows that follow one another need no list of them.

use super::{Block, Cuda, args};
use crate::kernels::adamw::AdamStep;
use crate::table::{Numbers, Run, TablePrecision};
use crate::tensor::Tensor;
use std::ops::Range;

/// The numbers of a table on a device: f32, or bf16.
pub(crate) struct DeviceTable {
    block: Block,
    rows: usize,
    width: usize,
    precision: TablePrecision,
}

/// Rows of a table, ascending or not: their list, or the first of some that follow one another.
struct Which {
    ids: Option<Block>,
    first: usize,
}

impl Which {
    fn new(cuda: &Cuda, rows: &[u32]) -> Which {
        let first = rows.first().map_or(0, |&row| row as usize);
        let follow = rows.windows(2).all(|pair| u64::from(pair[0]) + 1 == u64::from(pair[1]));
        Which { ids: (!follow).then(|| cuda.send(rows)), first }
    }
}

impl DeviceTable {
    /// Zeros.
    #[track_caller]
    pub(crate) fn zeros(cuda: &Cuda, precision: TablePrecision, rows: usize, width: usize) -> DeviceTable {
        DeviceTable { block: cuda.blank_exactly(rows * width * precision.size()), rows, width, precision }
    }
    pub(crate) fn precision(&self) -> TablePrecision {
        self.precision
    }
    pub(crate) fn cuda(&self) -> &Cuda {
        &self.block.home
    }
    /// Whether it holds bf16, and the key of the chance by which a step rounds.
    fn rounding(&self, step: u64) -> [u32; 3] {
        match self.precision {
            TablePrecision::F32 => [0; 3],
            TablePrecision::Bf16(stream) => {
                let [k0, k1] = stream.at_step(step).key();
                [1, k0, k1]
            }
        }
    }
    /// The rows, which lie in the table.
    fn which(&self, rows: &[u32]) -> Which {
        let last = rows.iter().max().map_or(0, |&row| row as usize + 1);
        assert!(last <= self.rows, "row {} of a table of {} rows", last - 1, self.rows);
        Which::new(self.cuda(), rows)
    }
    #[track_caller]
    pub(crate) fn gather(&self, rows: &[u32]) -> Tensor {
        self.read(&self.which(rows), rows.len())
    }
    #[track_caller]
    pub(crate) fn slice(&self, rows: Range<usize>) -> Tensor {
        assert!(rows.end <= self.rows, "rows {rows:?} of a table of {} rows", self.rows);
        self.read(&Which { ids: None, first: rows.start }, rows.len())
    }
    /// As [`DeviceTable::slice`], in bf16 where that is what the table holds.
    #[track_caller]
    pub(crate) fn slice_as_kept(&self, rows: Range<usize>) -> Tensor {
        if self.precision == TablePrecision::F32 {
            return self.slice(rows);
        }
        assert!(rows.end <= self.rows, "rows {rows:?} of a table of {} rows", self.rows);
        let (cuda, bytes) = (self.cuda(), 2 * rows.len() * self.width);
        let block = cuda.block(bytes);
        cuda.copy(block.at(), self.block.at() + 2 * (rows.start * self.width) as u64, bytes);
        cuda.bf16_of([rows.len(), self.width].into(), block)
    }
    fn read(&self, Which { ids, first }: &Which, n: usize) -> Tensor {
        let (cuda, width, [bf16, ..]) = (self.cuda(), self.width, self.rounding(0));
        let y = cuda.floats([n, width]);
        cuda.each("table_read", n * width, args![y, self.block, bf16, ids, *first, n, width]);
        y
    }
    /// Rows on the CPU, as they are kept.
    pub(crate) fn fetch(&self, rows: &[u32]) -> Numbers<'static> {
        let values = self.gather(rows);
        let values: Vec<f32> = self.cuda().fetch(values.address(), values.len());
        match self.precision {
            TablePrecision::F32 => Numbers::F32(values.into()),
            // What was widened is cut again.
            TablePrecision::Bf16(_) => {
                Numbers::Bf16(values.iter().map(|x| (x.to_bits() >> 16) as u16).collect())
            }
        }
    }
    #[track_caller]
    pub(crate) fn scatter(&self, step: u64, rows: &[u32], values: &Tensor) {
        let (cuda, n, width) = (self.cuda(), rows.len(), self.width);
        let (x, Which { ids, first }, [bf16, k0, k1]) =
            (cuda.here(values), self.which(rows), self.rounding(step));
        let args = args![self.block, x, bf16, k0, k1, ids, first, n, width];
        cuda.each("table_write", n * width, args);
    }
    /// Sets the rows of some runs to numbers as they are kept, one after another.
    pub(crate) fn put<T: Copy>(&self, runs: &[Run], mut numbers: &[T]) {
        for [from, to] in runs.iter().map(|run| run.map(|row| row as usize * self.width)) {
            let (now, left) = numbers.split_at(to - from);
            self.cuda().write(self.block.at() + (from * size_of::<T>()) as u64, now);
            numbers = left;
        }
    }
    #[track_caller]
    pub(crate) fn sgd(&self, step: u64, (rows, grads): (&[u32], &Tensor), rate: f32) {
        let (cuda, n, width) = (self.cuda(), rows.len(), self.width);
        let (g, Which { ids, first }, [bf16, k0, k1]) =
            (cuda.here(grads), self.which(rows), self.rounding(step));
        cuda.each("table_sgd", n * width, args![self.block, g, bf16, k0, k1, ids, first, n, width, rate]);
    }
    #[track_caller]
    pub(crate) fn adamw(
        &self,
        step: u64,
        [m, v]: [&DeviceTable; 2],
        (rows, grads): (&[u32], &Tensor),
        s: &AdamStep,
    ) {
        let (cuda, n, width) = (self.cuda(), rows.len(), self.width);
        let (g, Which { ids, first }, [bf16, k0, k1]) =
            (cuda.here(grads), self.which(rows), self.rounding(step));
        let (new1, new2) = ((1.0 - s.beta1) as f32, (1.0 - s.beta2) as f32);
        let [keep, beta2, step, widen, eps] = [s.keep, s.beta2, s.step, s.widen, s.eps].map(|x| x as f32);
        let state = [m, v].map(|table| &table.block);
        cuda.each(
            "table_adamw",
            n * width,
            args![
                self.block, state[0], state[1], g, bf16, k0, k1, ids, first, n, width, keep, new1, beta2,
                new2, step, widen, eps
            ],
        );
    }
    #[track_caller]
    pub(crate) fn adagrad(
        &self,
        step: u64,
        sums: &DeviceTable,
        (rows, grads): (&[u32], &Tensor),
        (rate, eps): (f32, f32),
    ) {
        let (cuda, n, width) = (self.cuda(), rows.len(), self.width);
        let (g, Which { ids, first }, [bf16, k0, k1]) =
            (cuda.here(grads), self.which(rows), self.rounding(step));
        let args = args![self.block, sums.block, g, bf16, k0, k1, ids, first, width, rate, eps];
        cuda.rows("table_adagrad", n, args);
    }
}
