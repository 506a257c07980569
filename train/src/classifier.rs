//! Learned label weights, ready to be searched.
//!
//! ```text
//! score(x, l) = x·w_l        where the loss compared cosines, w_l has length 1
//! ```

use engine::{Engine, Table};

/// Rows of a table that are widened at once.
const ROWS: usize = 4096;

/// A weight vector for every label.
pub struct Classifier {
    /// All weights, `[L, d]`, row after row.
    pub rows: Vec<f32>,
    /// Numbers in a weight vector.
    pub width: usize,
}

impl Classifier {
    /// From a table of weights; `cosine` normalises them.
    pub fn of_table(engine: &Engine, table: &Table, cosine: bool) -> Classifier {
        let (mut rows, width) = (Vec::with_capacity(table.rows() * table.width()), table.width());
        for first in (0..table.rows()).step_by(ROWS) {
            let block = table.slice(engine, first..(first + ROWS).min(table.rows()));
            rows.extend_from_slice(block.data());
        }
        Classifier::of_rows(rows, width, cosine)
    }
    /// From weights row after row; `cosine` normalises them.
    pub fn of_rows(mut rows: Vec<f32>, width: usize, cosine: bool) -> Classifier {
        for row in rows.chunks_mut(width.max(1)).filter(|_| cosine) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            row.iter_mut().for_each(|x| *x /= length);
        }
        Classifier { rows, width }
    }
}
