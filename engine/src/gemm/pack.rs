//! Copies of A and B in the order in which the tiles read them.
//!
//! ```text
//! to[p][x][i] = from[x·along + (p·width + i)·across]        x < depth,  p·width + i < count
//! ```
//! A panel `p` holds `width` rows of A, or columns of B, term by term. Where these lie side by side in memory
//! (`across` is 1) a term of a panel is a piece of a row and is copied; where the terms do (`along` is 1), 16 × 16
//! numbers at a time are transposed in registers. Numbers of the last panel beyond `count` are not written.
//!
//! Bound by bytes: a number is read and written once for some hundred multiplications.

use super::tile::{COLUMNS, LANES, ROWS};
use std::arch::x86_64::*;

/// Packs `count` rows or columns of `depth` terms; strides are `[along, across]`.
///
/// # Safety
/// The processor has AVX-512F; the numbers named above may be read, and `to` may be written for `count`, rounded up to
/// whole panels, times `depth` numbers.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pack(
    from: *const f32,
    [along, across]: [usize; 2],
    [depth, count]: [usize; 2],
    to: *mut f32,
    width: usize,
) {
    // SAFETY: by contract; every branch reads and writes what the equation says and nothing else.
    unsafe {
        if across == 1 {
            copy(from, along, [depth, count], to, width);
        } else if along == 1 && width.is_multiple_of(LANES) {
            for first in (0..count).step_by(LANES) {
                let to = to.add(first / width * width * depth + first % width);
                transpose(from.add(first * across), across, [depth, LANES.min(count - first)], to, width);
            }
        } else {
            for (i, x) in (0..count).flat_map(|i| (0..depth).map(move |x| (i, x))) {
                let to = to.add((i / width * depth + x) * width + i % width);
                *to = *from.add(x * along + i * across);
            }
        }
    }
}

/// The lanes below `count`.
fn lanes(count: usize) -> __mmask16 {
    if count >= LANES { u16::MAX } else { (1 << count) - 1 }
}

/// # Safety
/// As [`pack`] with `across` = 1.
#[target_feature(enable = "avx512f")]
unsafe fn copy(from: *const f32, along: usize, [depth, count]: [usize; 2], to: *mut f32, width: usize) {
    // Four terms at a time: whole cache lines are written although a term of a narrow panel is less than one.
    for x in (0..depth).step_by(4) {
        let terms = 4.min(depth - x);
        for first in (0..count).step_by(width) {
            // SAFETY: terms x.. of panel `first / width`, cut to what exists.
            unsafe {
                let (from, to) = (from.add(x * along + first), to.add(first * depth + x * width));
                match (width, count - first >= width) {
                    (COLUMNS, true) => copy_whole::<COLUMNS>(from, along, terms, to),
                    (ROWS, true) => copy_whole::<ROWS>(from, along, terms, to),
                    _ => copy_part(from, along, [terms, count - first], to, width),
                }
            }
        }
    }
}

/// Some terms of a panel of `W` numbers, 8 at a time.
///
/// # Safety
/// As [`copy`]; the panel is whole.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn copy_whole<const W: usize>(from: *const f32, along: usize, terms: usize, to: *mut f32) {
    for x in 0..terms {
        for i in (0..W).step_by(8) {
            // SAFETY: by contract.
            unsafe { _mm256_storeu_ps(to.add(x * W + i), _mm256_loadu_ps(from.add(x * along + i))) }
        }
    }
}

/// Some terms of a panel of which only `wide` of `width` rows or columns exist. Masked stores are slow on some
/// processors, so only edges use them.
///
/// # Safety
/// As [`copy`].
#[target_feature(enable = "avx512f")]
unsafe fn copy_part(from: *const f32, along: usize, [terms, wide]: [usize; 2], to: *mut f32, width: usize) {
    for x in 0..terms {
        for i in (0..wide).step_by(LANES) {
            let mask = lanes(wide - i);
            // SAFETY: by contract.
            unsafe {
                let row = _mm512_maskz_loadu_ps(mask, from.add(x * along + i));
                _mm512_mask_storeu_ps(to.add(x * width + i), mask, row);
            }
        }
    }
}

/// `to[x·width + i] = from[x + i·across]` for at most 16 `i`.
///
/// # Safety
/// As [`pack`] with `along` = 1.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(from: *const f32, across: usize, [depth, count]: [usize; 2], to: *mut f32, width: usize) {
    for x in (0..depth).step_by(LANES) {
        let terms = LANES.min(depth - x);
        let mut rows = [_mm512_setzero_ps(); LANES];
        for (i, row) in rows.iter_mut().enumerate().take(count) {
            // SAFETY: terms x.. of column i, cut to what exists.
            *row = unsafe { _mm512_maskz_loadu_ps(lanes(terms), from.add(i * across + x)) };
        }
        for (i, row) in transposed(rows).into_iter().enumerate().take(terms) {
            // SAFETY: term x + i of the panel, cut to what exists.
            unsafe {
                match count {
                    LANES => _mm512_storeu_ps(to.add((x + i) * width), row),
                    _ => _mm512_mask_storeu_ps(to.add((x + i) * width), lanes(count), row),
                }
            }
        }
    }
}

/// The transpose of 16 × 16 numbers: pairs, then fours, then quarters of registers change places.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(r: [__m512; 16]) -> [__m512; 16] {
    let mut pairs = [_mm512_setzero_ps(); 16];
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    let mut fours = [_mm512_setzero_ps(); 16];
    for i in (0..16).step_by(4) {
        for half in 0..2 {
            let (a, b) = (_mm512_castps_pd(pairs[i + half]), _mm512_castps_pd(pairs[i + half + 2]));
            fours[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            fours[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    // fours[4·q + c] holds column c, c + 4, c + 8, c + 12 of rows 4·q to 4·q + 3, a quarter each.
    let mut out = [_mm512_setzero_ps(); 16];
    for c in 0..4 {
        let [a, b, d, e] = [0, 4, 8, 12].map(|q| fours[q + c]);
        let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (even2, odd2) = (_mm512_shuffle_f32x4::<0x88>(d, e), _mm512_shuffle_f32x4::<0xdd>(d, e));
        out[c] = _mm512_shuffle_f32x4::<0x88>(even, even2);
        out[c + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even2);
        out[c + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd2);
        out[c + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd2);
    }
    out
}
