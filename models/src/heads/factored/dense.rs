//! The little linear algebra of small square matrices, row after row, in f64, that the factors need: no crate among the
//! dependencies has it, and those that do bring many times more.
//!
//! ```text
//! inverse        Gauss–Jordan with the largest pivot of each column              2·n³ flops
//! definite       Cholesky: A = LLᵀ exists iff all eigenvalues of A are above 0    n³/3 flops
//! ```

use engine::Engine;

/// A pivot below it is none: the matrices are sums of I and something of the size of 1.
const PIVOT_MIN: f64 = 1e-3;

/// A⁻¹ in the place of A `[n, n]`; false, and A is spoilt, where it is nearly singular or not finite.
pub(super) fn invert(engine: &Engine, a: &mut [f64], n: usize) -> bool {
    let mut swaps = Vec::with_capacity(n);
    for k in 0..n {
        let size = |row: &usize| a[row * n + k].abs();
        let Some(best) = (k..n).max_by(|i, j| size(i).total_cmp(&size(j))) else { return true };
        let pivot = a[best * n + k];
        // Written so that NaN is no pivot either.
        if !(pivot.abs() >= PIVOT_MIN && pivot.is_finite()) {
            return false;
        }
        (0..n).filter(|_| best != k).for_each(|j| a.swap(k * n + j, best * n + j));
        swaps.push(best);
        a[k * n + k] = 1.0;
        let (before, rest) = a.split_at_mut(k * n);
        let (row, after) = rest.split_at_mut(n);
        row.iter_mut().for_each(|x| *x /= pivot);
        engine.vectorised(
            #[inline(always)]
            || {
                for other in before.chunks_exact_mut(n).chain(after.chunks_exact_mut(n)) {
                    let factor = std::mem::take(&mut other[k]);
                    other.iter_mut().zip(&*row).for_each(|(x, r)| *x -= factor * r);
                }
            },
        );
    }
    // Rows were exchanged; of the inverse these are columns.
    for (k, best) in swaps.into_iter().enumerate().rev() {
        a.chunks_exact_mut(n).for_each(|row| row.swap(k, best));
    }
    true
}

/// Whether all eigenvalues of the symmetric matrix `sign`·A + `shift`·I are above 0.
pub(super) fn is_definite(engine: &Engine, a: &[f64], n: usize, sign: f64, shift: f64) -> bool {
    let mut l: Vec<f64> = a.iter().map(|x| sign * x).collect();
    (0..n).for_each(|i| l[i * n + i] += shift);
    for k in 0..n {
        let pivot = l[k * n + k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        // The rest of column k is that of row k: the part below the diagonal is not read.
        let (head, rest) = l.split_at_mut((k + 1) * n);
        let row = &head[k * n..];
        engine.vectorised(
            #[inline(always)]
            || {
                for (i, other) in rest.chunks_exact_mut(n).enumerate() {
                    let from = k + 1 + i;
                    let factor = row[from] / pivot;
                    other[from..].iter_mut().zip(&row[from..]).for_each(|(x, r)| *x -= factor * r);
                }
            },
        );
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Stream;

    fn draw(n: usize, tag: u64) -> Vec<f64> {
        (0..(n * n) as u64).map(|i| 2.0 * Stream::new(7, tag).uniform(i) - 1.0).collect()
    }
    fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        let entry = |at: usize| (0..n).map(|k| a[at / n * n + k] * b[k * n + at % n]).sum();
        (0..n * n).map(entry).collect()
    }

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let engine = Engine::new(1);
        for n in [1, 2, 5, 17] {
            // A zero on the diagonal: rows have to be exchanged.
            let mut a = draw(n, n as u64);
            if n > 1 {
                a[0] = 0.0;
            }
            let mut inverse = a.clone();
            assert!(invert(&engine, &mut inverse, n), "{n}");
            for (at, x) in product(&a, &inverse, n).into_iter().enumerate() {
                let want = f64::from(u8::from(at / n == at % n));
                assert!((x - want).abs() < 1e-9, "{n}: {x} at {at}");
            }
        }
        let mut singular = vec![1.0, 2.0, 2.0, 4.0];
        assert!(!invert(&engine, &mut singular, 2));
        assert!(!invert(&engine, &mut [f64::NAN], 1));
    }

    /// Eigenvalues that are known: A = I + c·vvᵀ of length ‖v‖ = 1 has 1 and 1 + c.
    #[test]
    fn a_matrix_is_definite_as_its_least_eigenvalue_is_above_zero() {
        let (engine, n) = (Engine::new(1), 6);
        let v: Vec<f64> = draw(3, 1).into_iter().take(n).collect();
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let of = |c: f64| -> Vec<f64> {
            let one = |i: usize, j: usize| f64::from(u8::from(i == j));
            let entry = |at: usize| one(at / n, at % n) + c * v[at / n] * v[at % n] / length.powi(2);
            (0..n * n).map(entry).collect()
        };
        for (c, shift, sign, want) in [
            (-0.5, -0.49, 1.0, true),
            (-0.5, -0.51, 1.0, false),
            (2.0, 3.01, -1.0, true),
            (2.0, 2.99, -1.0, false),
        ] {
            assert_eq!(is_definite(&engine, &of(c), n, sign, shift), want, "{c} {shift}");
        }
        assert!(!is_definite(&engine, &[f64::NAN], 1, 1.0, 1.0));
    }
}
