//! Attention in plain text, for both float types and any number of channels: the specification, the fallback and the
//! oracle.
//!
//! The rows of one head lie heads·d numbers apart, so they are packed into scratch first, as rows or as columns,
//! whichever the product at hand runs along. Every product is then C += A·B with B and C in rows of a multiple of
//! [`LANES`] numbers: zeros that fill up a register, the only padding, never leave the scratch.

use super::{Head, split};
use crate::kernels::dropout::Dropout;
use crate::kernels::lanes::{self, LANES};
use crate::real::Real;

/// Rows of C that a product keeps in registers at once.
const TILE: usize = 4;
/// Queries of one block: the probabilities of a block against all keys stay in cache however long the text.
const QUERIES: usize = 32;

/// The sizes of one head of one text in scratch.
#[derive(Clone, Copy)]
struct Size {
    /// Tokens.
    n: usize,
    /// Numbers of one head in a row.
    d: usize,
    /// `n`, filled up to whole tiles.
    rows: usize,
    /// `n`, filled up to whole registers.
    keys: usize,
    /// `d`, filled up to whole registers.
    wide: usize,
    /// Queries of one block.
    block: usize,
}

impl Size {
    fn new(n: usize, d: usize) -> Size {
        let rows = n.next_multiple_of(TILE);
        let (keys, wide) = (n.next_multiple_of(LANES), d.next_multiple_of(LANES));
        Size { n, d, rows, keys, wide, block: rows.min(QUERIES) }
    }
    /// q, kᵀ, v; p, o of one block.
    #[inline(always)]
    fn forward(self) -> [usize; 5] {
        let Size { n, d, rows, keys, wide, block } = self;
        [rows * wide, d * keys, n * wide, block * keys, block * wide]
    }
    /// q, g, k, kᵀ, vᵀ, k̄, v̄; p, p̄, mask, q̄ of one block.
    #[inline(always)]
    fn backward(self) -> [usize; 11] {
        let Size { n, d, rows, keys, wide, block } = self;
        let (by_row, by_column, of_block) = (rows * wide, d * keys, block * keys);
        let whole = [by_row, by_row, n * wide, by_column, by_column, by_row, by_row];
        let [q, g, k, kt, vt, dk, dv] = whole;
        [q, g, k, kt, vt, dk, dv, of_block, of_block, of_block, block * wide]
    }
}

/// Numbers of scratch that [`forward`] needs.
pub(super) fn forward_scratch(n: usize, d: usize) -> usize {
    Size::new(n, d).forward().iter().sum()
}

/// Numbers of scratch that [`backward`] needs.
pub(super) fn backward_scratch(n: usize, d: usize) -> usize {
    Size::new(n, d).backward().iter().sum()
}

impl<T: Real> Head<'_, T> {
    #[inline(always)]
    fn size(&self) -> Size {
        Size::new(self.n, self.d)
    }
    /// This head's part of every row, times `scale`, in rows of `wide`.
    #[inline(always)]
    fn pack(&self, x: &[T], scale: T, to: &mut [T]) {
        let Size { d, wide, .. } = self.size();
        to.fill(T::ZERO);
        for (to, x) in to.chunks_mut(wide).zip(x.chunks(self.width)) {
            to.iter_mut().zip(&x[self.head * d..][..d]).for_each(|(to, &x)| *to = x * scale);
        }
    }
    /// This head's part of every row as a column: `[d, keys]`.
    #[inline(always)]
    fn pack_columns(&self, x: &[T], to: &mut [T]) {
        let Size { n, d, keys, .. } = self.size();
        for (c, to) in to.chunks_mut(keys).enumerate() {
            let column = x[self.head * d + c..].iter().step_by(self.width);
            to.iter_mut().zip(column).for_each(|(to, &x)| *to = x);
            to[n..].fill(T::ZERO);
        }
    }
    /// Writes rows of `wide`, times `scale`, into this head's part of the rows from `first` on.
    #[inline(always)]
    fn unpack(&self, from: &[T], scale: T, first: usize, x: &mut [T]) {
        let Size { d, wide, .. } = self.size();
        for (x, from) in x[first * self.width..].chunks_mut(self.width).zip(from.chunks(wide)) {
            x[self.head * d..][..d].iter_mut().zip(from).for_each(|(x, &from)| *x = from * scale);
        }
    }
    /// Drops probabilities of the queries from `first` on. The counter is made of places in the text, so that a text
    /// gets the same mask wherever it stands in the tensors.
    #[inline(always)]
    fn drop_out(&self, dropout: &Dropout, first: usize, p: &mut [T]) {
        let (slot, head) = (dropout.places.slots()[self.start], 1 + self.head as u32);
        let blocks = self.size().keys / 4;
        dropout.apply(p, |c| [(c % blocks) as u32, (first + c / blocks) as u32, slot, head]);
    }
    /// The probabilities of the queries from `first` on: softmax of q·kᵀ + bias, where q is scaled. `[block, keys]`;
    /// columns beyond the text are zero.
    #[inline(always)]
    fn probabilities(&self, q: &[T], kt: &[T], first: usize, p: &mut [T]) {
        let Size { n, d, keys, wide, .. } = self.size();
        p.fill(T::ZERO);
        product(&q[first * wide..], (wide, 1), &kt[..d * keys], p, keys);
        for (i, row) in p.chunks_mut(keys).enumerate() {
            if let Some(bias) = self.bias {
                let by_key = bias[..=self.zero + first + i].iter().rev();
                row[..n].iter_mut().zip(by_key).for_each(|(s, &b)| *s += b);
            }
            softmax(row, n);
        }
    }
    /// The blocks of queries: first query, rows in whole tiles, queries that are real.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Size { n, rows, .. } = self.size();
        (0..n).step_by(QUERIES).map(move |q| (q, QUERIES.min(rows - q), QUERIES.min(n - q)))
    }
}

/// The softmax of the first `n` numbers of a row; the rest becomes 0.
#[inline(always)]
fn softmax<T: Real>(row: &mut [T], n: usize) {
    let largest = lanes::max(&row[..n]);
    row[n..].fill(largest);
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    row[n..].fill(T::ZERO);
    let scale = T::ONE / lanes::sum([&*row], |[x]| x);
    row.iter_mut().for_each(|x| *x *= scale);
}

/// C += A·B in cache. Number (i, x) of A is `a[i·down + x·right]`, so A may be a transpose; B is `[.., w]` and C
/// `[m, w]`, with m whole tiles and w whole registers. A tile of C stays in registers while x runs.
#[inline(always)]
fn product<T: Real>(a: &[T], (down, right): (usize, usize), b: &[T], c: &mut [T], w: usize) {
    for (i, c) in c.chunks_exact_mut(TILE * w).enumerate() {
        let a = &a[i * TILE * down..];
        for j in (0..w).step_by(LANES) {
            let mut sum = [[T::ZERO; LANES]; TILE];
            for (x, b) in b.chunks_exact(w).enumerate() {
                let (b, at) = (&b[j..j + LANES], x * right);
                let a: [T; TILE] = [a[at], a[down + at], a[2 * down + at], a[3 * down + at]];
                // Lanes outside, rows inside: written the other way round it does not become vector code.
                for l in 0..LANES {
                    for r in 0..TILE {
                        sum[r][l] += a[r] * b[l];
                    }
                }
            }
            for (c, sum) in c.chunks_exact_mut(w).zip(&sum) {
                c[j..j + LANES].iter_mut().zip(sum).for_each(|(c, &s)| *c += s);
            }
        }
    }
}

/// The output of one head of one text.
#[inline(always)]
pub(super) fn forward<T: Real>(head: &Head<'_, T>, [q, k, v]: [&[T]; 3], y: &mut [T], scratch: &mut [T]) {
    let Size { keys, wide, .. } = head.size();
    let [to_q, kt, to_v, p, o] = split(scratch, head.size().forward());
    head.pack(q, head.scale(), to_q);
    head.pack_columns(k, kt);
    head.pack(v, T::ONE, to_v);
    for (first, rows, _) in head.blocks() {
        let (p, o) = (&mut p[..rows * keys], &mut o[..rows * wide]);
        head.probabilities(to_q, kt, first, p);
        if let Some(dropout) = head.dropout {
            head.drop_out(dropout, first, p);
        }
        o.fill(T::ZERO);
        product(p, (keys, 1), to_v, o, wide);
        head.unpack(o, T::ONE, first, y);
    }
}

/// The gradients q̄, k̄, v̄ of one head of one text; adds that of the bias to `by_distance` unless it is empty.
#[inline(always)]
pub(super) fn backward<T: Real>(
    head: &Head<'_, T>,
    [q, k, v, g]: [&[T]; 4],
    [dq, dk, dv]: [&mut [T]; 3],
    by_distance: &mut [T],
    scratch: &mut [T],
) {
    let Size { keys, wide, .. } = head.size();
    let [to_q, to_g, to_k, kt, vt, from_k, from_v, p, dp, mask, from_q] =
        split(scratch, head.size().backward());
    head.pack(q, head.scale(), to_q);
    head.pack(g, T::ONE, to_g);
    head.pack(k, T::ONE, to_k);
    head.pack_columns(k, kt);
    head.pack_columns(v, vt);
    from_k.fill(T::ZERO);
    from_v.fill(T::ZERO);
    for (first, rows, real) in head.blocks() {
        let (p, dp) = (&mut p[..rows * keys], &mut dp[..rows * keys]);
        let (q, g) = (&to_q[first * wide..], &to_g[first * wide..]);
        head.probabilities(to_q, kt, first, p);
        dp.fill(T::ZERO);
        product(g, (wide, 1), vt, dp, keys);
        let mask = &mut mask[..rows * keys];
        if let Some(dropout) = head.dropout {
            mask.fill(T::ONE);
            head.drop_out(dropout, first, mask);
            dp.iter_mut().zip(&*mask).for_each(|(dp, &m)| *dp *= m);
        }
        // p̄ becomes the gradient of the logits, row by row.
        for (p, dp) in p.chunks(keys).zip(dp.chunks_mut(keys)) {
            let mean = lanes::sum([p, dp], |[p, dp]| p * dp);
            dp.iter_mut().zip(p).for_each(|(dp, &p)| *dp = p * (*dp - mean));
        }
        if !by_distance.is_empty() {
            for (i, dp) in dp.chunks(keys).take(real).enumerate() {
                let of_keys = by_distance[..=head.zero + first + i].iter_mut().rev();
                of_keys.zip(&dp[..head.n]).for_each(|(sum, &ds)| *sum += ds);
            }
        }
        if head.dropout.is_some() {
            p.iter_mut().zip(&*mask).for_each(|(p, &m)| *p *= m);
        }
        // Rows of pᵀ are keys; what lies beyond the real queries of the block is left out of the sum.
        product(p, (1, keys), &g[..real * wide], from_v, wide);
        product(dp, (1, keys), &q[..real * wide], from_k, wide);
        let from_q = &mut from_q[..rows * wide];
        from_q.fill(T::ZERO);
        product(dp, (keys, 1), to_k, from_q, wide);
        head.unpack(from_q, head.scale(), first, dq);
    }
    head.unpack(from_k, T::ONE, 0, dk);
    head.unpack(from_v, T::ONE, 0, dv);
}
