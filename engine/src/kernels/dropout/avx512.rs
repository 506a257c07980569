//! Dropout masks in AVX-512: sixteen counters are encrypted side by side, a comparison gives sixteen bits of the mask.

use super::Dropout;
use crate::random::{M0, M1, W0, W1};
use std::arch::x86_64::*;

/// Numbers in a register.
const LANES: usize = 16;

/// [`crate::random::philox`] of sixteen counters. A product of 32 bits takes a lane of 64, so even and odd counters go
/// separately; what remains in the upper half of a lane is not read.
#[inline]
#[target_feature(enable = "avx512f")]
fn philox(counter: [__m512i; 4], mut key: [u32; 2]) -> [__m512i; 4] {
    let [mut even, mut odd] = [counter, counter.map(|x| _mm512_srli_epi64::<32>(x))];
    let (m0, m1) = (_mm512_set1_epi64(i64::from(M0)), _mm512_set1_epi64(i64::from(M1)));
    for _ in 0..10 {
        let [k0, k1] = key.map(|k| _mm512_set1_epi64(i64::from(k)));
        for x in [&mut even, &mut odd] {
            let (a, b) = (_mm512_mul_epu32(x[0], m0), _mm512_mul_epu32(x[2], m1));
            let (high_a, high_b) = (_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
            let y0 = _mm512_ternarylogic_epi64::<0x96>(high_b, x[1], k0);
            let y2 = _mm512_ternarylogic_epi64::<0x96>(high_a, x[3], k1);
            *x = [y0, b, y2, a];
        }
        key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
    }
    let mut words = even;
    for (word, odd) in words.iter_mut().zip(odd) {
        let (even, odd) = (_mm512_castsi512_ps(*word), _mm512_castsi512_ps(odd));
        *word = _mm512_castps_si512(_mm512_mask_moveldup_ps(even, 0xAAAA, odd));
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn set(x: u32) -> __m512i {
    _mm512_set1_epi32(x as i32)
}

impl Dropout {
    /// Which of 16 queries, from `query` on, keep each of the keys `4·four..4·four + 4` of a head: a register of
    /// queries lies beside each key.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn kept(&self, query: usize, four: usize, slot: u32, head: u32) -> [__mmask16; 4] {
        let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let queries = _mm512_add_epi32(lanes, set(query as u32));
        let words = philox([set(four as u32), queries, set(slot), set(head)], self.key);
        words.map(|word| _mm512_cmpge_epu32_mask(word, set(self.dropped_below())))
    }
    /// [`Dropout::mask_row`].
    #[target_feature(enable = "avx512f")]
    pub(super) fn mask_row_avx512(&self, row: &mut [f32], position: u32, slot: u32) {
        let (threshold, scale) = (set(self.dropped_below()), _mm512_set1_ps(self.scale()));
        // Lane 4·q + t holds counter 4·t + q: after words and fours are exchanged, register t is 16 channels in order.
        let lanes = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
        for (block, row) in row.chunks_mut(4 * LANES).enumerate() {
            let counters = _mm512_add_epi32(lanes, set((block * LANES) as u32));
            let [a, b, c, d] = philox([counters, set(position), set(slot), set(0)], self.key);
            let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (low_2, high_2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            let words = [
                _mm512_unpacklo_epi64(low, low_2),
                _mm512_unpackhi_epi64(low, low_2),
                _mm512_unpacklo_epi64(high, high_2),
                _mm512_unpackhi_epi64(high, high_2),
            ];
            for (x, word) in row.chunks_mut(LANES).zip(words) {
                let there = ((1u32 << x.len()) - 1) as __mmask16;
                let kept = _mm512_cmpge_epu32_mask(word, threshold);
                // SAFETY: `there` marks the numbers of the chunk and no lane beyond.
                unsafe {
                    let kept = _mm512_maskz_mul_ps(kept, _mm512_maskz_loadu_ps(there, x.as_ptr()), scale);
                    _mm512_mask_storeu_ps(x.as_mut_ptr(), there, kept);
                }
            }
        }
    }
}
