//! What is searched: rows of f32, those that lie on a device, rows of bytes, bytes first and f32 for the best, or the
//! rows of a table.
//!
//! Bytes alone are a quarter of the memory. With the f32 rows beside them, which may lie in a mapped file of which only
//! candidates are touched, the answer is that of f32 unless one of the k best is behind the 4 k best by bytes.

use engine::Engine;
use std::borrow::Cow;

use crate::Matrix;
use crate::int8::{Int8Rows, rescored, search_int8};
use crate::matrix::dot;
use crate::resident::Resident;
use crate::search::{Hits, Limits, search};
use crate::table_rows::TableRows;

/// Candidates that bytes find for each hit that f32 chooses from them.
const CANDIDATES: usize = 4;

/// The items of a search.
#[derive(Clone, Copy, Debug)]
pub enum Items<'a> {
    /// Rows of f32.
    F32(Matrix<'a>),
    /// Rows of f32 on a device, and the same on the CPU.
    Resident(&'a Resident, Matrix<'a>),
    /// Rows of bytes.
    Int8(&'a Int8Rows),
    /// Rows of bytes, and the same rows in f32, by which the best are put in order.
    Rescored(&'a Int8Rows, Matrix<'a>),
    /// Rows of a table.
    Table(TableRows<'a>),
}

impl<'a> From<Matrix<'a>> for Items<'a> {
    fn from(rows: Matrix<'a>) -> Items<'a> {
        Items::F32(rows)
    }
}

impl<'a> Items<'a> {
    /// The `k` items with the largest inner product for each query, within `limits`.
    ///
    /// # Panics
    /// If the widths differ.
    #[track_caller]
    pub fn search(self, engine: &Engine, queries: Matrix<'_>, k: usize, limits: Limits<'_>) -> Hits {
        match self {
            Items::F32(rows) => search(engine, queries, rows, k, limits),
            Items::Resident(on_device, rows) => on_device.search(engine, queries, rows, k, limits),
            Items::Int8(rows) => search_int8(engine, queries, rows, k, limits),
            Items::Rescored(bytes, rows) => {
                let candidates = search_int8(engine, queries, bytes, CANDIDATES * k, limits);
                rescored(engine, queries, rows, &candidates, k)
            }
            Items::Table(rows) => rows.search(engine, queries, k, limits),
        }
    }
    /// The inner products of a query with some items.
    ///
    /// # Panics
    /// If the widths differ, or an item does not exist.
    #[track_caller]
    pub fn scores(self, engine: &Engine, query: &[f32], ids: &[u32]) -> Vec<f32> {
        match self {
            Items::F32(rows) | Items::Resident(_, rows) | Items::Rescored(_, rows) => {
                ids.iter().map(|&id| dot(query, rows.row(id as usize))).collect()
            }
            Items::Int8(rows) => rows.scores(engine, query, ids),
            Items::Table(rows) => ids.iter().map(|&id| dot(query, &rows.row(id as usize))).collect(),
        }
    }
    /// Row `i`; of bytes, about.
    pub fn row(self, i: usize) -> Cow<'a, [f32]> {
        match self {
            Items::F32(rows) | Items::Resident(_, rows) | Items::Rescored(_, rows) => rows.row(i).into(),
            Items::Int8(rows) => rows.row(i).into(),
            Items::Table(rows) => rows.row(i).into(),
        }
    }
    /// Numbers in a row.
    pub fn width(self) -> usize {
        match self {
            Items::F32(rows) | Items::Resident(_, rows) | Items::Rescored(_, rows) => rows.width,
            Items::Int8(rows) => rows.width(),
            Items::Table(rows) => rows.table.width(),
        }
    }
}
