//! Learned label weights, ready to be searched.
//!
//! ```text
//! score(x, l) = x·w_l        where the loss compared cosines, w_l has length 1
//! ```

use engine::Engine;
use samplers::TableRows;

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
    /// A copy of weights that are being learned.
    pub fn of_table(engine: &Engine, weights: TableRows<'_>) -> Classifier {
        let (table, width) = (weights.table, weights.table.width());
        let mut rows = Vec::with_capacity(table.rows() * width);
        for first in (0..table.rows()).step_by(ROWS) {
            let part = weights.part(engine, first..(first + ROWS).min(table.rows()));
            rows.extend_from_slice(part.to_cpu().data());
        }
        Classifier { rows, width }
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
