//! Exercise 8: one balanced split, of which NGAME's clusters are made.
//!
//! ```text
//! side 0 and side 1 have ⌈n/2⌉ and ⌊n/2⌋ rows;  (|m₀| + |m₁|)/n is large,  m: the sum of a side's rows
//! ```

use lode::samplers::Matrix;

/// The row numbers of the two sides. All rows have length 1.
pub(crate) fn halves(rows: Matrix<'_>) -> [Vec<u32>; 2] {
    // HOLE: begin with two centres, say the first row and the one least like it. Rank all rows by u·(c₁ − c₀), cut in
    // the middle, take the sums of the sides as new centres (scaled to length 1), and again, some ten times.
    let n = rows.rows() as u32;
    [(0..n.div_ceil(2)).collect(), (n.div_ceil(2)..n).collect()]
}
