//! Attention of f32 in AVX-512, for heads of a multiple of 16 channels.
//!
//! ```text
//! Pᵀ = softmax over the columns of K Qᵀ        a register holds one key and 16 queries
//! O  = P V,   V̄ = Pᵀ Ō,   K̄ = S̄ᵀ Q,   Q̄ = S̄ K      a register holds 16 channels
//! ```
//! With queries in the lanes, maxima, sums and exponentials of 16 softmaxes run side by side, and a text of five tokens
//! costs no more a token than one of fifteen. Every product is then "a number, broadcast, times a row": the left side
//! is read number by number, transposed or not, straight from the tensors or from Pᵀ; only Q and Ō are transposed, 16 ×
//! 16 numbers at a time in registers. The scratch is Qᵀ, Ōᵀ and three blocks of Pᵀ, 32 queries wide.
//!
//! Short texts are bound by the latency of small products and by Philox, long ones by flops.

#![allow(clippy::needless_range_loop, reason = "several arrays of registers are walked side by side")]

use super::{Head, split};
use crate::kernels::dropout::Dropout;
use std::arch::x86_64::*;

/// Numbers in a register.
pub(super) const LANES: usize = 16;
/// Rows of a product that are in registers at once.
const TILE: usize = 8;

/// Numbers of scratch that [`forward`] needs.
pub(super) fn forward_scratch(n: usize, d: usize) -> usize {
    (d + n) * 2 * LANES
}

/// Numbers of scratch that [`backward`] needs.
pub(super) fn backward_scratch(n: usize, d: usize) -> usize {
    (2 * d + 3 * n) * 2 * LANES
}

/// A matrix of which single numbers are read: number (i, x) is `numbers[i·down + x·right]`.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    numbers: &'a [f32],
    down: usize,
    right: usize,
}

/// A matrix of which rows are read.
#[derive(Clone, Copy)]
struct Rows<'a> {
    numbers: &'a [f32],
    stride: usize,
}

/// A matrix whose rows are written, or added to.
struct Out<'a> {
    numbers: &'a mut [f32],
    stride: usize,
    add: bool,
}

impl Rows<'_> {
    /// As single numbers.
    fn each(&self) -> Numbers<'_> {
        Numbers { numbers: self.numbers, down: self.stride, right: 1 }
    }
    /// The transpose, as single numbers.
    fn each_transposed(&self) -> Numbers<'_> {
        Numbers { numbers: self.numbers, down: 1, right: self.stride }
    }
    fn from(&self, row: usize) -> Rows<'_> {
        Rows { numbers: &self.numbers[row * self.stride..], stride: self.stride }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[f32]) -> __m512 {
    let from = &from[..LANES];
    // SAFETY: the slice has sixteen numbers.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [f32], x: __m512) {
    let to = &mut to[..LANES];
    // SAFETY: the slice has sixteen numbers.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
}

/// The rows `i..i + R` of C ← scale·A·B, or C ← C + scale·A·B, where a row has C registers and A has `k` columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn tile<const R: usize, const C: usize>(
    a: Numbers<'_>,
    b: Rows<'_>,
    k: usize,
    i: usize,
    c: &mut Out<'_>,
    scale: f32,
) {
    let a_end = (i + R - 1) * a.down + (k - 1) * a.right;
    let b_end = (k - 1) * b.stride + C * LANES;
    assert!(a_end < a.numbers.len() && b_end <= b.numbers.len(), "a factor of a product is too short");
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    for x in 0..k {
        // SAFETY: x < k, so that b's row ends at or before `b_end` and a's numbers lie at or before `a_end`: inside.
        unsafe {
            let row = b.numbers.as_ptr().add(x * b.stride);
            let row: [__m512; C] = std::array::from_fn(|l| _mm512_loadu_ps(row.add(l * LANES)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let number = _mm512_set1_ps(*a.numbers.as_ptr().add((i + r) * a.down + x * a.right));
                for l in 0..C {
                    sums[l] = _mm512_fmadd_ps(number, row[l], sums[l]);
                }
            }
        }
    }
    let scale = _mm512_set1_ps(scale);
    for (r, sums) in sums.iter().enumerate() {
        for (l, &sum) in sums.iter().enumerate() {
            let to = &mut c.numbers[(i + r) * c.stride + l * LANES..];
            let sum = if c.add { _mm512_fmadd_ps(sum, scale, load(to)) } else { _mm512_mul_ps(sum, scale) };
            store(to, sum);
        }
    }
}

/// C ← scale·A·B, or C ← C + scale·A·B: C has `m` rows of C registers, A `k` columns.
#[target_feature(enable = "avx512f")]
fn product<const C: usize>(a: Numbers<'_>, b: Rows<'_>, [m, k]: [usize; 2], mut c: Out<'_>, scale: f32) {
    let tiles = m.div_ceil(TILE);
    let mut i = 0;
    for left in (1..=tiles).rev() {
        // Tiles of nearly the same height: one of a single row would wait for its own sums.
        let rows = (m - i).div_ceil(left);
        match rows {
            1 => tile::<1, C>(a, b, k, i, &mut c, scale),
            2 => tile::<2, C>(a, b, k, i, &mut c, scale),
            3 => tile::<3, C>(a, b, k, i, &mut c, scale),
            4 => tile::<4, C>(a, b, k, i, &mut c, scale),
            5 => tile::<5, C>(a, b, k, i, &mut c, scale),
            6 => tile::<6, C>(a, b, k, i, &mut c, scale),
            7 => tile::<7, C>(a, b, k, i, &mut c, scale),
            _ => tile::<TILE, C>(a, b, k, i, &mut c, scale),
        }
        i += rows;
    }
}

/// [`product`] for rows of `d` channels.
#[target_feature(enable = "avx512f")]
fn channels(a: Numbers<'_>, b: Rows<'_>, size: [usize; 2], d: usize, c: Out<'_>, scale: f32) {
    let Out { numbers, stride, add } = c;
    for at in (0..d).step_by(2 * LANES) {
        let b = Rows { numbers: &b.numbers[at..], ..b };
        let c = Out { numbers: &mut numbers[at..], stride, add };
        match d - at {
            LANES => product::<1>(a, b, size, c, scale),
            _ => product::<2>(a, b, size, c, scale),
        }
    }
}

/// Writes the first `m` rows of `x`, times `scale`, as the columns of `to`, `[d, C registers]`, and zeros beside them.
#[target_feature(enable = "avx512f")]
fn transpose<const C: usize>(x: Rows<'_>, m: usize, d: usize, scale: f32, to: &mut [f32]) {
    let scale = _mm512_set1_ps(scale);
    for lane in 0..C {
        for at in (0..d).step_by(LANES) {
            let mut square = [_mm512_setzero_ps(); LANES];
            for (i, row) in square.iter_mut().enumerate().take(m.saturating_sub(lane * LANES)) {
                *row = _mm512_mul_ps(load(&x.numbers[(lane * LANES + i) * x.stride + at..]), scale);
            }
            for (c, column) in transposed(square).into_iter().enumerate() {
                store(&mut to[((at + c) * C + lane) * LANES..], column);
            }
        }
    }
}

/// The transpose of 16 × 16 numbers: pairs, fours, then the quarters of registers change places.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(x: [__m512; LANES]) -> [__m512; LANES] {
    let (mut fours, mut y) = ([_mm512_setzero_ps(); LANES], x);
    for i in (0..LANES).step_by(4) {
        let low = [0, 2].map(|j| _mm512_castps_pd(_mm512_unpacklo_ps(x[i + j], x[i + j + 1])));
        let high = [0, 2].map(|j| _mm512_castps_pd(_mm512_unpackhi_ps(x[i + j], x[i + j + 1])));
        fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
        fours[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
        fours[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
        fours[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
    }
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let even = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
        let odd = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
        y[j] = _mm512_shuffle_f32x4::<0x88>(even.0, even.1);
        y[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd.0, odd.1);
        y[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even.0, even.1);
        y[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd.0, odd.1);
    }
    y
}

/// eˣ for x ≤ 0, as [`crate::math::exp`] but with fused steps. Keeps NaN.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp(x: __m512) -> __m512 {
    let set = |x| _mm512_set1_ps(x);
    // In this order a NaN is kept: the instruction gives its second operand then.
    let x = _mm512_max_ps(set(-104.0), x);
    let n = _mm512_roundscale_ps::<8>(_mm512_mul_ps(x, set(std::f32::consts::LOG2_E)));
    let r = _mm512_fnmadd_ps(n, set(0.693_359_4), x);
    let r = _mm512_fmadd_ps(n, set(2.121_944_4e-4), r);
    let mut p = set(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = _mm512_fmadd_ps(p, r, set(c));
    }
    let y = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, set(1.0)));
    _mm512_scalef_ps(y, n)
}

/// Turns logits Sᵀ, a column for each query, into probabilities.
#[inline]
#[target_feature(enable = "avx512f")]
fn softmax<const C: usize>(s: &mut [f32]) {
    let mut largest = [_mm512_set1_ps(f32::NEG_INFINITY); C];
    for s in s.chunks_exact(C * LANES) {
        for l in 0..C {
            largest[l] = _mm512_max_ps(largest[l], load(&s[l * LANES..]));
        }
    }
    let mut sum = [_mm512_setzero_ps(); C];
    for s in s.chunks_exact_mut(C * LANES) {
        for l in 0..C {
            let p = exp(_mm512_sub_ps(load(&s[l * LANES..]), largest[l]));
            sum[l] = _mm512_add_ps(sum[l], p);
            store(&mut s[l * LANES..], p);
        }
    }
    let scale = sum.map(|sum| _mm512_div_ps(_mm512_set1_ps(1.0), sum));
    for s in s.chunks_exact_mut(C * LANES) {
        for l in 0..C {
            let p = _mm512_mul_ps(load(&s[l * LANES..]), scale[l]);
            store(&mut s[l * LANES..], p);
        }
    }
}

/// Adds to the scores Sᵀ of the queries from `first` on what their distance from each key says.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_bias<const C: usize>(head: &Head<'_, f32>, bias: &[f32], first: usize, s: &mut [f32]) {
    for (key, s) in s.chunks_exact_mut(C * LANES).enumerate() {
        let of_queries = &bias[head.zero + first - key..];
        for l in 0..C {
            let sum = _mm512_add_ps(load(&s[l * LANES..]), load(&of_queries[l * LANES..]));
            store(&mut s[l * LANES..], sum);
        }
    }
}

/// Adds S̄ᵀ of `queries` queries from `first` on to the gradient of the bias.
#[inline]
#[target_feature(enable = "avx512f")]
fn give_bias<const C: usize>(
    head: &Head<'_, f32>,
    (first, queries): (usize, usize),
    s: &[f32],
    by_distance: &mut [f32],
) {
    for (key, s) in s.chunks_exact(C * LANES).enumerate() {
        let of_queries = &mut by_distance[head.zero + first - key..];
        for l in 0..C {
            // Lanes beyond the last query hold what softmax made of no query at all.
            let real = (1u32 << queries.saturating_sub(l * LANES).min(LANES)).wrapping_sub(1) as __mmask16;
            let to = &mut of_queries[l * LANES..];
            store(to, _mm512_mask_add_ps(load(to), real, load(to), load(&s[l * LANES..])));
        }
    }
}

/// P ← M ∘ P for the queries from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn drop_out<const C: usize>(head: &Head<'_, f32>, dropout: &Dropout, first: usize, p: &mut [f32]) {
    let (slot, scale) = (dropout.places.slots()[head.start], _mm512_set1_ps(dropout.scale()));
    for (four, p) in p.chunks_mut(4 * C * LANES).enumerate() {
        for l in 0..C {
            let kept = dropout.kept(first + l * LANES, four, slot, 1 + head.head as u32);
            for (p, kept) in p.chunks_exact_mut(C * LANES).zip(kept) {
                let masked = _mm512_maskz_mul_ps(kept, load(&p[l * LANES..]), scale);
                store(&mut p[l * LANES..], masked);
            }
        }
    }
}

/// From P, M ∘ P and Ō Vᵀ, all transposed, to S̄ᵀ in place of the last: S̄ = M ∘ P ∘ (Ō Vᵀ) − P ∘ c, where c is the sum
/// of the first term along a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn pull<const C: usize>(p: &[f32], masked: &[f32], s: &mut [f32]) {
    let mut c = [_mm512_setzero_ps(); C];
    for (s, masked) in s.chunks_exact_mut(C * LANES).zip(masked.chunks_exact(C * LANES)) {
        for l in 0..C {
            let term = _mm512_mul_ps(load(&s[l * LANES..]), load(&masked[l * LANES..]));
            c[l] = _mm512_add_ps(c[l], term);
            store(&mut s[l * LANES..], term);
        }
    }
    for (s, p) in s.chunks_exact_mut(C * LANES).zip(p.chunks_exact(C * LANES)) {
        for l in 0..C {
            let pulled = _mm512_fnmadd_ps(load(&p[l * LANES..]), c[l], load(&s[l * LANES..]));
            store(&mut s[l * LANES..], pulled);
        }
    }
}

/// Asks for the channels of the next head, `column..column + d` of every row, while this one is computed. A head is a
/// line or two in each of many rows, which the processor does not foresee by itself.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch(x: &[f32], column: usize, head: &Head<'_, f32>) {
    for row in x.chunks(head.width) {
        for line in row[column..].chunks(LANES).take(head.d / LANES) {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
}

/// The output of one head of one text.
#[target_feature(enable = "avx512f")]
pub(super) fn forward(head: &Head<'_, f32>, qkv: [&[f32]; 3], y: &mut [f32], scratch: &mut [f32]) {
    let column = head.head * head.d;
    qkv.iter().for_each(|x| fetch(x, column + head.d, head));
    let qkv = qkv.map(|x| Rows { numbers: &x[column..], stride: head.width });
    for first in (0..head.n).step_by(2 * LANES) {
        let y = Out { numbers: &mut y[first * head.width + column..], stride: head.width, add: false };
        if head.n - first > LANES {
            forward_block::<2>(head, first, qkv, y, scratch);
        } else {
            forward_block::<1>(head, first, qkv, y, scratch);
        }
    }
}

#[target_feature(enable = "avx512f")]
fn forward_block<const C: usize>(
    head: &Head<'_, f32>,
    first: usize,
    [q, k, v]: [Rows<'_>; 3],
    y: Out<'_>,
    scratch: &mut [f32],
) {
    let (n, d, wide) = (head.n, head.d, C * LANES);
    let queries = (n - first).min(wide);
    let (qt, rest) = scratch.split_at_mut(d * wide);
    let p = &mut rest[..n * wide];
    transpose::<C>(q.from(first), queries, d, head.scale(), qt);
    let scores = Out { numbers: p, stride: wide, add: false };
    product::<C>(k.each(), Rows { numbers: qt, stride: wide }, [n, d], scores, 1.0);
    if let Some(bias) = head.bias {
        add_bias::<C>(head, bias, first, p);
    }
    softmax::<C>(p);
    if let Some(dropout) = head.dropout {
        drop_out::<C>(head, dropout, first, p);
    }
    let p = Rows { numbers: p, stride: wide };
    channels(p.each_transposed(), v, [queries, n], d, y, 1.0);
}

/// The gradients q̄, k̄, v̄ of one head of one text; adds that of the bias to `by_distance` unless it is empty.
#[target_feature(enable = "avx512f")]
pub(super) fn backward(
    head: &Head<'_, f32>,
    qkvg: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    by_distance: &mut [f32],
    scratch: &mut [f32],
) {
    let (column, stride) = (head.head * head.d, head.width);
    qkvg.iter().for_each(|x| fetch(x, column + head.d, head));
    let qkvg = qkvg.map(|x| Rows { numbers: &x[column..], stride });
    for first in (0..head.n).step_by(2 * LANES) {
        let add = first > 0;
        let out = [
            Out { numbers: &mut dq[first * stride + column..], stride, add: false },
            Out { numbers: &mut dk[column..], stride, add },
            Out { numbers: &mut dv[column..], stride, add },
        ];
        if head.n - first > LANES {
            backward_block::<2>(head, first, qkvg, out, by_distance, scratch);
        } else {
            backward_block::<1>(head, first, qkvg, out, by_distance, scratch);
        }
    }
}

#[target_feature(enable = "avx512f")]
fn backward_block<const C: usize>(
    head: &Head<'_, f32>,
    first: usize,
    [q, k, v, g]: [Rows<'_>; 4],
    [dq, dk, dv]: [Out<'_>; 3],
    by_distance: &mut [f32],
    scratch: &mut [f32],
) {
    let (n, d, wide) = (head.n, head.d, C * LANES);
    let (q, g, queries) = (q.from(first), g.from(first), (n - first).min(wide));
    let [qt, gt, p, masked, s] = split(scratch, [d * wide, d * wide, n * wide, n * wide, n * wide]);
    transpose::<C>(q, queries, d, head.scale(), qt);
    transpose::<C>(g, queries, d, 1.0, gt);
    let [qt, gt] = [&*qt, &*gt].map(|numbers| Rows { numbers, stride: wide });
    product::<C>(k.each(), qt, [n, d], Out { numbers: p, stride: wide, add: false }, 1.0);
    product::<C>(v.each(), gt, [n, d], Out { numbers: s, stride: wide, add: false }, 1.0);
    if let Some(bias) = head.bias {
        add_bias::<C>(head, bias, first, p);
    }
    softmax::<C>(p);
    masked.copy_from_slice(p);
    if let Some(dropout) = head.dropout {
        drop_out::<C>(head, dropout, first, masked);
    }
    pull::<C>(p, masked, s);
    if !by_distance.is_empty() {
        give_bias::<C>(head, (first, queries), s, by_distance);
    }
    let [masked, s] = [&*masked, &*s].map(|numbers| Rows { numbers, stride: wide });
    channels(masked.each(), g, [n, queries], d, dv, 1.0);
    channels(s.each(), q, [n, queries], d, dk, head.scale());
    channels(s.each_transposed(), k, [queries, n], d, dq, head.scale());
}
