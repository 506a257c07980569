//! Sums and maxima along a row, in sixteen lanes.
//!
//! ```text
//! lane_l = x_l + x_{l+16} + x_{l+32} + …         Σ x = ((lane_0 + lane_8) + (lane_4 + lane_12)) + …
//! ```
//! A float sum that is taken number by number cannot become vector code, since that would change its order. Sixteen
//! partial sums and a tree can, and the order is still the same on every processor and for any number of threads.

use crate::real::Real;
use std::array::from_fn;

/// Partial sums side by side: one AVX-512 register of f32, two of AVX2.
pub const LANES: usize = 16;

/// Σ_i f(rows[0][i], rows[1][i], …).
///
/// # Panics
/// If the rows differ in length.
#[inline(always)]
pub fn sum<T: Real, const N: usize>(rows: [&[T]; N], f: impl Fn([T; N]) -> T) -> T {
    fold(rows, T::ZERO, f, |a, b| a + b)
}

/// The largest number of a row; −∞ when it is empty, and a NaN is passed over.
#[inline(always)]
pub fn max<T: Real>(row: &[T]) -> T {
    fold([row], T::NEG_INFINITY, |[x]| x, |largest, x| x.max(largest))
}

/// join over f(rows[0][i], rows[1][i], …), from `from`.
///
/// # Panics
/// If the rows differ in length.
#[inline(always)]
pub fn fold<T: Real, const N: usize>(
    rows: [&[T]; N],
    from: T,
    f: impl Fn([T; N]) -> T,
    join: impl Fn(T, T) -> T,
) -> T {
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let (whole, rest) = (parts[0].0.len(), parts[0].1.len());
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "lanes: the rows differ in length");
    let mut lanes = [from; LANES];
    // All lanes are made anew in each step: updated in place they would live in memory and not in a register.
    for i in 0..whole {
        let blocks = parts.map(|(blocks, _)| &blocks[i]);
        lanes = from_fn(|l| join(lanes[l], f(blocks.map(|block| block[l]))));
    }
    for (l, lane) in lanes.iter_mut().enumerate().take(rest) {
        *lane = join(*lane, f(parts.map(|(_, rest)| rest[l])));
    }
    let lanes: [T; 8] = from_fn(|l| join(lanes[l], lanes[l + 8]));
    let lanes: [T; 4] = from_fn(|l| join(lanes[l], lanes[l + 4]));
    join(join(lanes[0], lanes[2]), join(lanes[1], lanes[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_reach_every_number_of_a_row_once() {
        for n in [0, 1, 15, 16, 17, 40, 100] {
            let (a, b): (Vec<f64>, Vec<f64>) =
                (0..n).map(|i| ((i * 7 % 23) as f64, (i * 5 % 11) as f64)).unzip();
            let want: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(sum([&a, &b], |[a, b]| a * b), want, "whole numbers add up exactly, n = {n}");
            assert_eq!(max(&a), a.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }

    #[test]
    fn many_small_numbers_lose_less_than_one_by_one() {
        let x = vec![0.1f32; 100_000];
        assert!((sum([&x], |[x]| x) - 1e4).abs() < 0.1);
        assert!((x.iter().sum::<f32>() - 1e4).abs() > 0.1, "the plain sum is worse");
    }
}
