//! Exercise 8: one balanced split, of which NGAME's clusters are made.
//!
//! ```text
//! side 0 and side 1 have ⌈n/2⌉ and ⌊n/2⌋ rows;  (|m₀| + |m₁|)/n is large,  m: the sum of a side's rows
//! ```
//! As `samplers/src/composer/split.rs` does it, without its care for speed.

use lode::samplers::Matrix;

/// The row numbers of the two sides. All rows have length 1.
pub(crate) fn halves(rows: Matrix<'_>) -> [Vec<u32>; 2] {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let least_like = (0..rows.rows()).min_by(|&a, &b| {
        let likeness = |r: usize| dot(rows.row(0), rows.row(r));
        likeness(a).total_cmp(&likeness(b))
    });
    let mut centres = [rows.row(0).to_vec(), rows.row(least_like.unwrap_or(0)).to_vec()];
    let mut order: Vec<u32> = (0..rows.rows() as u32).collect();
    let middle = order.len().div_ceil(2);
    for _ in 0..10 {
        let gain =
            |r: &u32| dot(rows.row(*r as usize), &centres[1]) - dot(rows.row(*r as usize), &centres[0]);
        order.sort_by(|a, b| gain(a).total_cmp(&gain(b)).then(a.cmp(b)));
        centres = [&order[..middle], &order[middle..]].map(|side| centre(rows, side));
    }
    [order[..middle].to_vec(), order[middle..].to_vec()]
}

/// The sum of some rows, brought to length 1.
fn centre(rows: Matrix<'_>, side: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0f32; rows.width];
    for &r in side {
        sum.iter_mut().zip(rows.row(r as usize)).for_each(|(s, x)| *s += x);
    }
    let length = sum.iter().map(|s| s * s).sum::<f32>().sqrt();
    sum.iter().map(|s| s / length.max(f32::MIN_POSITIVE)).collect()
}
