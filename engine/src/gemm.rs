//! Matrix products behind one call: C ← α·A·B + β·C, for strided A and B, one or many matrices, any number of threads.
//!
//! Bound by flops. The work is done by `matrixmultiply`, which chooses AVX-512, AVX2 or portable code by itself. We cut
//! C into blocks by its size alone and never split K, so the bits do not depend on the number of threads. A block is
//! large because every block packs its own panels of A and B.

use crate::engine::Engine;
use crate::real::Real;

/// Rows of C in one block.
const BLOCK_ROWS: usize = 768;
/// Columns of C in one block, when C has few rows.
const BLOCK_COLUMNS: usize = 768;

/// A read-only matrix, or a batch of matrices of the same shape: any strides, so a transpose costs nothing.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    /// Batch, rows, columns.
    size: [usize; 3],
    /// Distance in numbers from one batch entry, row, column to the next.
    strides: [usize; 3],
}

impl<'a, T> Mat<'a, T> {
    /// A row-major matrix.
    #[track_caller]
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Mat<'a, T> {
        Mat::strided(data, [1, rows, columns], [rows * columns, columns, 1])
    }
    /// A batch of row-major matrices, one after another.
    #[track_caller]
    pub fn batch(data: &'a [T], count: usize, rows: usize, columns: usize) -> Mat<'a, T> {
        Mat::strided(data, [count, rows, columns], [rows * columns, columns, 1])
    }
    /// Matrices with any strides (batch, row, column), in numbers.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    #[track_caller]
    pub fn strided(data: &'a [T], size: [usize; 3], strides: [usize; 3]) -> Mat<'a, T> {
        if size.iter().all(|&n| n > 0) {
            let last: usize = size.iter().zip(strides).map(|(n, s)| (n - 1) * s).sum();
            assert!(
                last < data.len(),
                "a matrix {size:?} with strides {strides:?} leaves its {} numbers",
                data.len()
            );
        }
        Mat { data, size, strides }
    }
    /// The transpose, without a copy.
    #[must_use]
    pub fn t(self) -> Mat<'a, T> {
        let ([n, r, c], [sn, sr, sc]) = (self.size, self.strides);
        Mat { data: self.data, size: [n, c, r], strides: [sn, sc, sr] }
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.size[1]
    }
    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.size[2]
    }
}

/// A pointer into C that crosses threads.
#[derive(Clone, Copy)]
struct Output<T>(*mut T);
// SAFETY: every task writes a block of C that no other task touches.
unsafe impl<T> Send for Output<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Output<T> {}

impl<T> Output<T> {
    /// # Safety
    /// `offset` must lie inside C.
    unsafe fn at(self, offset: usize) -> *mut T {
        // SAFETY: by contract.
        unsafe { self.0.add(offset) }
    }
}

/// C ← α·A·B + β·C. `c` is row-major, `[batch, a.rows, b.columns]`. With β = 0 the old contents of C are not read.
///
/// # Panics
/// If the sizes do not fit.
#[track_caller]
pub fn gemm<T: Real>(engine: &Engine, alpha: T, a: Mat<'_, T>, b: Mat<'_, T>, beta: T, c: &mut [T]) {
    let ([batch, m, k], [batch_b, k_b, n]) = (a.size, b.size);
    assert_eq!((batch, k), (batch_b, k_b), "gemm: {:?} times {:?}", a.size, b.size);
    assert_eq!(c.len(), batch * m * n, "gemm: C must be [{batch}, {m}, {n}]");
    engine.work(2 * (batch * m * n * k) as u64, 0);
    if c.is_empty() {
        return;
    }
    if k == 0 {
        return c.iter_mut().for_each(|c| *c = if beta == T::ZERO { T::ZERO } else { beta * *c });
    }
    let rows = BLOCK_ROWS.min(m.next_multiple_of(2).div_ceil(2).max(64)).min(m);
    let columns = if m >= 4 * BLOCK_ROWS { n } else { BLOCK_COLUMNS.min(n) };
    let (row_blocks, column_blocks) = (m.div_ceil(rows), n.div_ceil(columns));
    let out = Output(c.as_mut_ptr());
    let block = |task: usize| {
        let (entry, task) = (task / (row_blocks * column_blocks), task % (row_blocks * column_blocks));
        let (i, j) = (task / column_blocks * rows, task % column_blocks * columns);
        let size = [rows.min(m - i), k, columns.min(n - j)];
        let stride = |s: [usize; 3]| [s[1] as isize, s[2] as isize];
        let from_a = &a.data[entry * a.strides[0] + i * a.strides[1]..];
        let from_b = &b.data[entry * b.strides[0] + j * b.strides[2]..];
        // SAFETY: `Mat::strided` proved that all elements of A and B lie in their slices; the block [i.., j..] of entry
        // `entry` lies inside C (asserted above), no other task writes it, and C is a `&mut` that aliases neither.
        unsafe {
            let to = (out.at((entry * m + i) * n + j), [n as isize, 1]);
            let (from_a, from_b) =
                ((from_a.as_ptr(), stride(a.strides)), (from_b.as_ptr(), stride(b.strides)));
            T::matrix_multiply(size, alpha, from_a, from_b, beta, to);
        }
    };
    let tasks = batch * row_blocks * column_blocks;
    // Thousands of tiny products are handed out in groups of about a million multiplications.
    let group = (1_000_000 / (rows * columns * k)).clamp(1, tasks);
    engine.map(tasks.div_ceil(group), |g| (g * group..((g + 1) * group).min(tasks)).for_each(block));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    fn naive<T: Real>(alpha: T, a: &[T], b: &[T], beta: T, c: &mut [T], [m, k, n]: [usize; 3]) {
        for i in 0..m {
            for j in 0..n {
                let sum = (0..k).fold(T::ZERO, |s, x| s + a[i * k + x] * b[x * n + j]);
                c[i * n + j] = alpha * sum + beta * c[i * n + j];
            }
        }
    }

    fn transposed<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
        (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
    }

    #[track_caller]
    fn check(size: [usize; 3], threads: usize) {
        let [m, k, n] = size;
        let draw = |count: usize, tag| -> Vec<f64> {
            let s = Stream::new(1, tag);
            (0..count).map(|i| s.uniform(i as u64) - 0.5).collect()
        };
        let (a, b, c) = (draw(m * k, 1), draw(k * n, 2), draw(m * n, 3));
        let mut want = c.clone();
        naive(0.5, &a, &b, 2.0, &mut want, size);
        let engine = Engine::new(threads);
        let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
        let (plain_a, plain_b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
        for (a, b) in
            [(plain_a, plain_b), (Mat::new(&at, k, m).t(), plain_b), (plain_a, Mat::new(&bt, n, k).t())]
        {
            let mut got = c.clone();
            gemm(&engine, 0.5, a, b, 2.0, &mut got);
            let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-12 * (1 + k) as f64, "{size:?} with {threads} threads: {worst:e}");
        }
    }

    #[test]
    fn product_equals_the_naive_one_on_ragged_sizes() {
        for size in
            [[1, 1, 1], [3, 5, 7], [65, 0, 2], [130, 33, 17], [200, 20, 900], [1600, 9, 5], [3, 100, 1601]]
        {
            check(size, 1);
            check(size, 3);
        }
    }

    #[test]
    fn beta_zero_does_not_read_c() {
        let mut c = [f32::NAN; 4];
        gemm(&Engine::new(1), 1.0, Mat::new(&[1.0, 2.0], 2, 1), Mat::new(&[3.0, 4.0], 1, 2), 0.0, &mut c);
        assert_eq!(c, [3.0, 4.0, 6.0, 8.0]);
    }

    #[test]
    fn batch_multiplies_matrix_by_matrix() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]);
        let mut c = [0.0f64; 2];
        gemm(&Engine::new(2), 1.0, Mat::batch(&a, 2, 1, 2), Mat::batch(&b, 2, 2, 1), 0.0, &mut c);
        assert_eq!(c, [3.0, 14.0]);
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let s = Stream::new(3, 3);
        let x: Vec<f32> = (0..1700 * 40).map(|i| s.uniform(i) as f32).collect();
        let product = |threads| {
            let mut c = vec![0f32; 1700 * 1700];
            gemm(&Engine::new(threads), 1.0, Mat::new(&x, 1700, 40), Mat::new(&x, 1700, 40).t(), 0.0, &mut c);
            c
        };
        let one = product(1);
        assert!([2, 3, 7].into_iter().all(|t| product(t) == one));
    }
}
