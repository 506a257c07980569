//! The innermost loop: a tile of C, up to 8 × 48, held in 24 of the 32 registers while k runs.
//!
//! ```text
//! s[i][j] = Σ_x a[i][x]·b[x][j]        c[i][j] ← α·s[i][j] + β·c[i][j]
//! ```
//! A step of k is three loads of B, eight numbers of A spread over a register each, and 24 fused multiply-adds: they,
//! and not the loads, bound the time as long as B comes from the second level of cache or nearer. Since A is only ever
//! spread, its strides may be anything. One instance for each count of rows and registers keeps the edges of C as
//! quick as its middle; the mask cuts the last register to the columns that exist.

use std::arch::x86_64::*;

/// Numbers in a register.
pub(super) const LANES: usize = 16;
/// Rows of a tile.
pub(super) const ROWS: usize = 8;
/// Columns of a tile.
pub(super) const COLUMNS: usize = 3 * LANES;
/// How many steps of k ahead B is asked for.
const AHEAD: usize = 8;

/// What a tile is made of.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Terms of a sum.
    pub(super) k: usize,
    pub(super) a: *const f32,
    /// Distances from a row of A to the next, and from a term to the next.
    pub(super) a_strides: [usize; 2],
    /// Rows of consecutive numbers.
    pub(super) b: *const f32,
    pub(super) b_stride: usize,
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    pub(super) alpha: f32,
    pub(super) beta: f32,
}

type Kernel = unsafe fn(&Tile, __mmask16);

/// The kernels by rows and registers.
#[rustfmt::skip]
const KERNELS: [[Kernel; 3]; ROWS] = [
    [run::<1, 1>, run::<1, 2>, run::<1, 3>],
    [run::<2, 1>, run::<2, 2>, run::<2, 3>],
    [run::<3, 1>, run::<3, 2>, run::<3, 3>],
    [run::<4, 1>, run::<4, 2>, run::<4, 3>],
    [run::<5, 1>, run::<5, 2>, run::<5, 3>],
    [run::<6, 1>, run::<6, 2>, run::<6, 3>],
    [run::<7, 1>, run::<7, 2>, run::<7, 3>],
    [run::<8, 1>, run::<8, 2>, run::<8, 3>],
];

impl Tile {
    /// Computes `rows` × `columns` numbers of C. With β = 0 it does not read them.
    ///
    /// # Safety
    /// The processor has AVX-512F; `rows` is in 1..=8 and `columns` in 1..=48; the rows and columns of A, B and C that
    /// these sizes name lie in memory that may be read and, for C, written by us alone.
    pub(super) unsafe fn run(&self, rows: usize, columns: usize) {
        let registers = columns.div_ceil(LANES);
        let last = u16::MAX >> (registers * LANES - columns);
        // SAFETY: by contract.
        unsafe { KERNELS[rows - 1][registers - 1](self, last) }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn run<const R: usize, const V: usize>(tile: &Tile, last: __mmask16) {
    let Tile { k, mut a, a_strides: [down, right], mut b, b_stride, c, c_stride, alpha, beta } = *tile;
    let mask = |j: usize| if j + 1 == V { last } else { u16::MAX };
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    // SAFETY: the caller of `Tile::run` vouches for rows and columns; masked lanes are neither read nor written, and a
    // prefetch may name any address.
    unsafe {
        for i in 0..R {
            for j in 0..V {
                _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(i * c_stride + j * LANES).cast());
            }
        }
        for _ in 0..k {
            let mut row = [_mm512_setzero_ps(); V];
            for (j, row) in row.iter_mut().enumerate() {
                *row = _mm512_maskz_loadu_ps(mask(j), b.add(j * LANES));
                _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * b_stride + j * LANES).cast());
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*a.add(i * down));
                for (sum, row) in sums.iter_mut().zip(row) {
                    *sum = _mm512_fmadd_ps(factor, row, *sum);
                }
            }
            a = a.wrapping_add(right);
            b = b.wrapping_add(b_stride);
        }
        let (alpha, factor) = (_mm512_set1_ps(alpha), _mm512_set1_ps(beta));
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                let to = c.add(i * c_stride + j * LANES);
                let mut value = _mm512_mul_ps(alpha, sum);
                if beta != 0.0 {
                    let old = _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask(j), to));
                    value = _mm512_fmadd_ps(alpha, sum, old);
                }
                _mm512_mask_storeu_ps(to, mask(j), value);
            }
        }
    }
}
