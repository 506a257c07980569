//! The rows of a table as items of a search: label weights where they are learned, in their precision, on the heap, in
//! a mapped file or on a device.
//!
//! A search widens [`PART`] rows to f32 at a time where they lie, so what it takes does not depend on the number of
//! rows. Scores and their order are those of a search over a copy of all rows.

use engine::kernels::normalise::normalise;
use engine::{Engine, Factor, KernelClass, Table, Tensor};
use std::ops::Range;

use crate::Matrix;
use crate::resident::{DEEPEST, Tiles, search_tiles};
use crate::search::{Hits, Limits, among, search_part};

/// Rows that are widened at once: enough for every thread to have tiles of its own.
pub const PART: usize = 1 << 14;

/// Rows of a table.
#[derive(Clone, Copy, Debug)]
pub struct TableRows<'a> {
    /// The table.
    pub table: &'a Table,
    /// What its rows are factors of, where they are: the items are the products.
    pub factor: Option<Factor<'a>>,
    /// Whether its rows count with length 1.
    pub normalised: bool,
}

impl TableRows<'_> {
    /// The rows of a range, in f32, where the table lies.
    ///
    /// # Panics
    /// If the range leaves the table, or it lies on a device and its rows are factors.
    #[track_caller]
    pub fn part(self, engine: &Engine, range: Range<usize>) -> Tensor {
        let mut rows = self.table.slice(engine, range);
        if let Some(factor) = self.factor {
            factor.multiply(engine, rows.data_mut());
        }
        match (self.normalised, self.table.is_on_device()) {
            (false, _) => return rows,
            (true, true) => return normalise(engine, &rows).0,
            (true, false) => {
                rows.data_mut::<f32>().chunks_mut(self.table.width().max(1)).for_each(to_length_1);
            }
        }
        rows
    }
    /// The `k` rows with the largest inner product for each query, within `limits`.
    ///
    /// # Panics
    /// If the widths differ.
    #[track_caller]
    pub fn search(self, engine: &Engine, queries: Matrix<'_>, k: usize, limits: Limits<'_>) -> Hits {
        let (total, width) = (self.table.rows(), self.table.width());
        if let Some(cuda) = engine.cuda().filter(|_| k <= DEEPEST && queries.rows() > 0 && total > 0) {
            return search_tiles(engine, queries, (cuda, Tiles::Table(self)), k, limits);
        }
        let mut hits = Hits::none(queries.rows(), k);
        for first in (0..total).step_by(PART) {
            let range = first..total.min(first + PART);
            let only = limits.only.map(|ids| among(ids, range.clone()));
            if only.is_none_or(|ids| !ids.is_empty()) {
                let rows = self.part(engine, range).to_cpu();
                let items = Matrix::new(rows.data(), width);
                let found = search_part(engine, queries, (items, first), k, Limits { only, ..limits });
                hits.add(engine, &found);
            }
        }
        hits
    }
    /// Row `i`, in f32.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn row(self, i: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.table.width()];
        self.table.read(i, &mut row);
        if let Some(factor) = self.factor {
            factor.multiply_alone(KernelClass::detect(), &mut row);
        }
        if self.normalised {
            to_length_1(&mut row);
        }
        row
    }
}

/// Of zeros nothing is to be made.
fn to_length_1(row: &mut [f32]) {
    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    row.iter_mut().for_each(|x| *x /= length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Csr, search};
    use engine::{Home, Stream, TablePrecision};

    /// Rows over more than two parts.
    const ROWS: usize = 2 * PART + 700;
    const WIDTH: usize = 8;

    fn draw(n: usize, tag: u64) -> Vec<f32> {
        (0..n as u64).map(|i| Stream::new(5, tag).uniform(i) as f32 - 0.5).collect()
    }

    #[test]
    fn a_search_in_parts_is_that_over_a_copy_of_all_rows() {
        let engine = Engine::new(2);
        let queries = draw(7 * WIDTH, 1);
        let queries = Matrix::new(&queries, WIDTH);
        // The best of the second query are not its own; ids stand in each part, and at its edges.
        let items: Vec<u32> = vec![0, 5, PART as u32 - 1, PART as u32, 2 * PART as u32, ROWS as u32 - 1];
        let exclude = Csr { starts: &[0, 0, 6, 6, 6, 6, 6, 6], items: &items };
        let (u, omega) = (draw(WIDTH * WIDTH, 3), draw(WIDTH, 4));
        let [u, omega] = [u, omega].map(|values| values.into_iter().map(f64::from).collect::<Vec<f64>>());
        let factor = Factor { u: &u, omega: &omega };
        let only: Vec<u32> = (0..ROWS as u32)
            .filter(|id| id % 3 == 0 && !(PART as u32..2 * PART as u32).contains(id))
            .collect();
        for precision in [TablePrecision::F32, TablePrecision::Bf16(Stream::new(1, 1))] {
            let mut table = Table::zeros_in(&Home::Heap, precision, ROWS, WIDTH).expect("heap");
            let all: Vec<u32> = (0..ROWS as u32).collect();
            table.scatter(&engine, 1, &all, &Tensor::from_vec([ROWS, WIDTH], draw(ROWS * WIDTH, 2)));
            for (normalised, factor) in [(false, None), (true, None), (false, Some(factor))] {
                let rows = TableRows { table: &table, factor, normalised };
                let copy = rows.part(&engine, 0..ROWS);
                let copy = Matrix::new(copy.data(), WIDTH);
                assert_eq!(rows.row(PART + 3), copy.row(PART + 3));
                let mut row = vec![0.0; WIDTH];
                table.read(PART + 3, &mut row);
                assert!(normalised || (copy.row(PART + 3) == row) == factor.is_none());
                for limits in [Limits::default(), Limits { exclude: Some(exclude), only: Some(&only) }] {
                    for k in [1, 20] {
                        let want = search(&engine, queries, copy, k, limits);
                        assert_eq!(rows.search(&engine, queries, k, limits), want);
                    }
                }
                let best = search(&engine, queries, copy, 1, Limits::default()).ids[1];
                let barred = Limits {
                    exclude: Some(Csr { starts: &[0, 0, 1, 1, 1, 1, 1, 1], items: &[best] }),
                    only: None,
                };
                assert_ne!(rows.search(&engine, queries, 1, barred).ids[1], best);
            }
        }
    }

    #[test]
    fn of_fewer_rows_than_are_wished_all_are_found() {
        let engine = Engine::new(1);
        let mut table = Table::zeros(2, 1);
        table.data_mut().copy_from_slice(&[1.0, 2.0]);
        let rows = TableRows { table: &table, factor: None, normalised: false };
        let hits = rows.search(&engine, Matrix::new(&[1.0], 1), 4, Limits::default());
        assert_eq!(hits.row(0), (&[1, 0][..], &[2.0, 1.0][..]));
    }
}
