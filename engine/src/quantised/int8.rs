//! Four bytes a word: u8 of x times i8 of W, summed in i32.
//!
//! `vpdpbusd` does one word in each of 16 lanes, without saturation: 64 multiplications an instruction, four times f32.
//! Integers add up the same in any order, so the plain code finds the same sums.

use super::tile::{Dot, PANEL, ROWS, Tile, reference};
use crate::kernels::lanes::{self, LANES};

pub(super) struct Int8;

/// The largest byte of W. −128 is not used: W is symmetric.
const LARGEST: f32 = 127.0;
/// Steps between the least and the largest number of a row of x.
const STEPS: f32 = 255.0;
/// 2²³: its neighbours are whole numbers, so that adding it rounds to the nearest, ties to even, in vector code.
const TO_WHOLE: f32 = (1 << 23) as f32;

/// The least and the largest number; NaN is passed over.
#[inline(always)]
fn range(x: &[f32]) -> [f32; 2] {
    let low = lanes::fold([x], f32::INFINITY, |[x]| x, |low, x| if x < low { x } else { low });
    [low, lanes::max(x)]
}

impl Dot for Int8 {
    type Sum = i32;
    #[inline(always)]
    fn round(x: &[f32], words: &mut [u32]) -> [f32; 2] {
        let [low, high] = range(x);
        let width = high - low;
        // A row whose numbers differ by nothing, or by less than a normal step, is its offset.
        let step = if width > STEPS * f32::MIN_POSITIVE { width / STEPS } else { 0.0 };
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let byte = |x: f32| ((x - low) * inverse + TO_WHOLE).to_bits() as u8;
        for (words, x) in words.chunks_mut(LANES).zip(x.chunks(4 * LANES)) {
            // 64 numbers become bytes in one loop of vector code.
            let mut bytes = [0u8; 4 * LANES];
            for (to, &x) in bytes.iter_mut().zip(x) {
                *to = byte(x);
            }
            for (word, &bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u32::from_le_bytes(bytes);
            }
        }
        // Zero, or NaN where a number is not finite, which must not look like a result.
        let poison = lanes::sum([x], |[x]| x * 0.0);
        [low + poison, step]
    }
    fn weight(w: &[f32], words: &mut [u32]) -> [f32; 2] {
        let largest = w.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = largest / LARGEST;
        let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        // Half of 2²³ more, so that negative numbers too have a whole neighbour; the low byte is theirs.
        let byte = |x: f32| (x * inverse + 1.5 * TO_WHOLE).to_bits() as i8;
        for (word, w) in words.iter_mut().zip(w.chunks(4)) {
            *word = w.iter().enumerate().fold(0, |word, (t, &w)| word | u32::from(byte(w) as u8) << (8 * t));
        }
        let sum: i32 = w.iter().map(|&w| i32::from(byte(w))).sum();
        [scale, scale * sum as f32]
    }
    #[inline(always)]
    fn dot(sum: i32, a: u32, b: u32) -> i32 {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        (0..4).fold(sum, |sum, t| sum + i32::from(a[t]) * i32::from(b[t] as i8))
    }
    #[inline(always)]
    fn value(sum: i32, [offset, step]: [f32; 2], scale: f32, shift: f32) -> f32 {
        step * scale * sum as f32 + offset * shift
    }
    #[inline(always)]
    fn tile(supported: bool, a: [&[u32]; ROWS], panel: &[[u32; PANEL]], tile: &mut Tile<i32>) {
        #[cfg(target_arch = "x86_64")]
        if supported {
            // SAFETY: `Support::detect` found the instructions.
            return unsafe { vnni(a, panel, tile) };
        }
        let _ = supported;
        reference::<Int8>(a, panel, tile);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni(a: [&[u32]; ROWS], panel: &[[u32; PANEL]], tile: &mut Tile<i32>) {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };
    assert!(a.iter().all(|a| a.len() == panel.len()), "a row and a panel differ in depth");
    let mut sums = [[_mm512_setzero_si512(); 3]; ROWS];
    for (k, b) in panel.iter().enumerate() {
        // SAFETY: the three loads read the 48 words of `b`.
        let b = [0, 16, 32].map(|j| unsafe { _mm512_loadu_si512(b.as_ptr().add(j).cast()) });
        for i in 0..ROWS {
            // SAFETY: `k` is below the length of the panel, which every row has (asserted above).
            let a = _mm512_set1_epi32(unsafe { *a[i].get_unchecked(k) } as i32);
            for j in 0..3 {
                sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], a, b[j]);
            }
        }
    }
    for (to, sums) in tile.iter_mut().zip(sums) {
        for (j, sums) in sums.into_iter().enumerate() {
            // SAFETY: the three stores write the 48 sums of `to`.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(16 * j).cast(), sums) };
        }
    }
}
