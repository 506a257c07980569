//! Two bf16 a word, summed in f32.
//!
//! ```text
//! sum ← (sum + a_{2k+1} b_{2k+1}) + a_{2k} b_{2k}       each product is exact in f32, each sum is rounded
//! ```
//! `vdpbf16ps` does one word in each of 16 lanes: 32 multiplications an instruction. Whether that pays depends on the
//! processor: twice f32 on some, half of it on others. The odd half comes first, as in the instruction, so the plain
//! code finds the same bits; but the instruction takes numbers below the normal ones for zero.

use super::tile::{Dot, PANEL, ROWS, Tile, reference};

pub(super) struct Bf16;

/// The nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounding up could carry a NaN into an infinity.
    if x.is_nan() { bits >> 16 | 0x40 } else { nearest }
}

/// The word of one or two numbers.
#[inline(always)]
fn word(x: &[f32]) -> u32 {
    rounded(x[0]) | x.get(1).map_or(0, |&x| rounded(x) << 16)
}

/// The two numbers of a word.
#[inline(always)]
fn halves(word: u32) -> [f32; 2] {
    [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]
}

impl Dot for Bf16 {
    type Sum = f32;
    #[inline(always)]
    fn round(x: &[f32], words: &mut [u32]) -> [f32; 2] {
        let (pairs, rest) = x.as_chunks::<2>();
        for (to, x) in words.iter_mut().zip(pairs) {
            *to = word(x);
        }
        if let Some(to) = words.get_mut(pairs.len()) {
            *to = word(rest);
        }
        [0.0, 1.0]
    }
    fn weight(w: &[f32], words: &mut [u32]) -> [f32; 2] {
        Bf16::round(w, words);
        [1.0, 0.0]
    }
    #[inline(always)]
    fn dot(sum: f32, a: u32, b: u32) -> f32 {
        let (a, b) = (halves(a), halves(b));
        sum + a[1] * b[1] + a[0] * b[0]
    }
    #[inline(always)]
    fn value(sum: f32, _: [f32; 2], _: f32, _: f32) -> f32 {
        sum
    }
    #[inline(always)]
    fn tile(supported: bool, a: [&[u32]; ROWS], panel: &[[u32; PANEL]], tile: &mut Tile<f32>) {
        #[cfg(target_arch = "x86_64")]
        if supported {
            // SAFETY: `Support::detect` found the instructions.
            return unsafe { avx512(a, panel, tile) };
        }
        let _ = supported;
        reference::<Bf16>(a, panel, tile);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn avx512(a: [&[u32]; ROWS], panel: &[[u32; PANEL]], tile: &mut Tile<f32>) {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };
    /// The same bits, read as 32 bf16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs(words: __m512i) -> __m512bh {
        // SAFETY: both are 64 bytes in which every pattern is a value.
        unsafe { std::mem::transmute(words) }
    }
    assert!(a.iter().all(|a| a.len() == panel.len()), "a row and a panel differ in depth");
    let mut sums = [[_mm512_setzero_ps(); 3]; ROWS];
    for (k, b) in panel.iter().enumerate() {
        // SAFETY: the three loads read the 48 words of `b`.
        let b = [0, 16, 32].map(|j| pairs(unsafe { _mm512_loadu_si512(b.as_ptr().add(j).cast()) }));
        for i in 0..ROWS {
            // SAFETY: `k` is below the length of the panel, which every row has (asserted above).
            let a = pairs(_mm512_set1_epi32(unsafe { *a[i].get_unchecked(k) } as i32));
            for j in 0..3 {
                sums[i][j] = _mm512_dpbf16_ps(sums[i][j], a, b[j]);
            }
        }
    }
    for (to, sums) in tile.iter_mut().zip(sums) {
        for (j, sums) in sums.into_iter().enumerate() {
            // SAFETY: the three stores write the 48 sums of `to`.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(16 * j), sums) };
        }
    }
}
