//! Attention over packed texts, one (text, head) at a time in cache (equations: `autograd/src/ops/attention.rs`).
//! Bound by flops: 4·n²·d a head forward, 10·n²·d backward, since the probabilities are computed again.
//!
//! The rows of one head lie heads·d numbers apart, so they are packed into scratch first, as rows or as columns,
//! whichever the product at hand runs along. Every product is then C += A·B with B and C in rows of a multiple of
//! [`LANES`] numbers: zeros that fill up a register, the only padding, never leave the scratch.

use crate::engine::{Engine, parts};
use crate::kernels::dropout::Dropout;
use crate::kernels::lanes::{self, LANES};
use crate::kernels::pool::groups;
use crate::real::Real;
use crate::tensor::Tensor;

/// Rows of C that a product keeps in registers at once.
const TILE: usize = 4;
/// Queries of one block: the probabilities of a block against all keys stay in cache however long the text.
const QUERIES: usize = 32;
/// Tokens of one parallel task, at least: short texts are grouped.
const TOKENS: usize = 128;

/// How the rows of q, k and v, `[T, heads·d]`, are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// Where each text starts, and the end: `[B + 1]`.
    pub starts: &'a [u32],
    /// The number of heads.
    pub heads: usize,
    /// Dropout on the probabilities.
    pub dropout: Option<&'a Dropout>,
}

/// The output `[T, heads·d]`.
///
/// # Panics
/// If the tensors differ in shape or type, or `starts` does not run from 0 to T.
#[track_caller]
pub fn attention(engine: &Engine, qkv: [&Tensor; 3], layout: Layout<'_>) -> Tensor {
    engine.work(4 * layout.pairs() * qkv[0].shape().last() as u64, 0);
    for_real!(qkv[0], forward(engine, qkv, layout))
}

/// The gradients q̄, k̄, v̄ from the gradient `g` of the output.
///
/// # Panics
/// As [`attention`].
#[track_caller]
pub fn gradients(engine: &Engine, qkv: [&Tensor; 3], g: &Tensor, layout: Layout<'_>) -> [Tensor; 3] {
    engine.work(10 * layout.pairs() * g.shape().last() as u64, 0);
    for_real!(g, backward(engine, qkv, g, layout))
}

fn forward<T: Real>(engine: &Engine, qkv: [&Tensor; 3], layout: Layout<'_>) -> Tensor {
    let (shape, data) = (qkv[0].shape(), qkv.map(|x| x.data::<T>()));
    let mut y = engine.buffer::<T>(shape.len());
    layout.each_head(
        engine,
        shape.last(),
        [&mut y],
        Size::forward,
        #[inline(always)]
        |head, [y], scratch| {
            forward_head(&head, data.map(|x| head.rows(x)), y, scratch);
        },
    );
    Tensor::from_buf(shape, y)
}

fn backward<T: Real>(engine: &Engine, qkv: [&Tensor; 3], g: &Tensor, layout: Layout<'_>) -> [Tensor; 3] {
    let (shape, data, g) = (g.shape(), qkv.map(|x| x.data::<T>()), g.data::<T>());
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| engine.buffer::<T>(shape.len()));
    layout.each_head(
        engine,
        shape.last(),
        [&mut dq, &mut dk, &mut dv],
        Size::backward,
        #[inline(always)]
        |head, out, scratch| {
            backward_head(&head, data.map(|x| head.rows(x)), head.rows(g), out, scratch);
        },
    );
    [dq, dk, dv].map(|x| Tensor::from_buf(shape, x))
}

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
    fn forward(self) -> [usize; 5] {
        let Size { n, d, rows, keys, wide, block } = self;
        [rows * wide, d * keys, n * wide, block * keys, block * wide]
    }
    /// q, g, k, kᵀ, vᵀ, k̄, v̄; p, p̄, mask, q̄ of one block.
    fn backward(self) -> [usize; 11] {
        let Size { n, d, rows, keys, wide, block } = self;
        let (by_row, by_column, of_block) = (rows * wide, d * keys, block * keys);
        let whole = [by_row, by_row, n * wide, by_column, by_column, by_row, by_row];
        let [q, g, k, kt, vt, dk, dv] = whole;
        [q, g, k, kt, vt, dk, dv, of_block, of_block, of_block, block * wide]
    }
}

/// One head of one text, and where it lies.
struct Head<'a> {
    size: Size,
    /// The first row of the text in the tensors.
    start: usize,
    /// Numbers in a row of all heads.
    width: usize,
    head: usize,
    dropout: Option<&'a Dropout>,
}

impl Layout<'_> {
    /// Σ n² over the texts: pairs of a query and a key in one head.
    fn pairs(&self) -> u64 {
        self.starts.windows(2).map(|w| u64::from(w[1] - w[0]).pow(2)).sum()
    }
    /// Runs `f(head, rows of the text in each output, scratch)` for every head of every text, texts in parallel.
    fn each_head<T: Real, const N: usize, const S: usize>(
        &self,
        engine: &Engine,
        width: usize,
        outputs: [&mut [T]; N],
        sizes: fn(Size) -> [usize; S],
        f: impl Fn(Head<'_>, [&mut [T]; N], [&mut [T]; S]) + Sync,
    ) {
        let (starts, d) = (self.starts, width / self.heads);
        let tasks = groups(starts, TOKENS);
        let cuts: Vec<usize> = tasks.iter().map(|&text| starts[text] as usize * width).collect();
        // One buffer for the scratch of all tasks: what the pool holds must not depend on how many run at once.
        let mut scratch_cuts = vec![0];
        for task in tasks.windows(2) {
            let longest = starts[task[0]..=task[1]].windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
            let size: usize = sizes(Size::new(longest as usize, d)).iter().sum();
            scratch_cuts.push(scratch_cuts[scratch_cuts.len() - 1] + size);
        }
        let mut scratch = engine.buffer::<T>(scratch_cuts[scratch_cuts.len() - 1]);
        let scratch = parts([&mut scratch], &scratch_cuts);
        engine.each(
            parts(outputs, &cuts).into_iter().zip(scratch).collect(),
            #[inline(always)]
            |task, (mut out, [scratch])| {
                let texts = &starts[tasks[task]..=tasks[task + 1]];
                for text in texts.windows(2).filter(|w| w[0] < w[1]) {
                    let (start, end) = (text[0] as usize, text[1] as usize);
                    let size = Size::new(end - start, d);
                    let inside = (start - texts[0] as usize) * width..(end - texts[0] as usize) * width;
                    for head in 0..self.heads {
                        let head = Head { size, start, width, head, dropout: self.dropout };
                        let rows = out.each_mut().map(|out| &mut out[inside.clone()]);
                        f(head, rows, split(scratch, sizes(size)));
                    }
                }
            },
        );
    }
}

/// The first parts of `buffer`, of these sizes.
#[inline(always)]
fn split<T, const S: usize>(mut buffer: &mut [T], sizes: [usize; S]) -> [&mut [T]; S] {
    sizes.map(|size| {
        let (part, rest) = std::mem::take(&mut buffer).split_at_mut(size);
        buffer = rest;
        part
    })
}

impl Head<'_> {
    /// The rows of this text.
    #[inline(always)]
    fn rows<'x, T>(&self, x: &'x [T]) -> &'x [T] {
        &x[self.start * self.width..][..self.size.n * self.width]
    }
    /// This head's part of every row, times `scale`, in rows of `wide`.
    #[inline(always)]
    fn pack<T: Real>(&self, x: &[T], scale: T, to: &mut [T]) {
        let Size { d, wide, .. } = self.size;
        to.fill(T::ZERO);
        for (to, x) in to.chunks_mut(wide).zip(x.chunks(self.width)) {
            to.iter_mut().zip(&x[self.head * d..][..d]).for_each(|(to, &x)| *to = x * scale);
        }
    }
    /// This head's part of every row as a column: `[d, keys]`.
    #[inline(always)]
    fn pack_columns<T: Real>(&self, x: &[T], to: &mut [T]) {
        let Size { n, d, keys, .. } = self.size;
        for (c, to) in to.chunks_mut(keys).enumerate() {
            let column = x[self.head * d + c..].iter().step_by(self.width);
            to.iter_mut().zip(column).for_each(|(to, &x)| *to = x);
            to[n..].fill(T::ZERO);
        }
    }
    /// Writes rows of `wide`, times `scale`, into this head's part of the rows from `first` on.
    #[inline(always)]
    fn unpack<T: Real>(&self, from: &[T], scale: T, first: usize, x: &mut [T]) {
        let Size { d, wide, .. } = self.size;
        for (x, from) in x[first * self.width..].chunks_mut(self.width).zip(from.chunks(wide)) {
            x[self.head * d..][..d].iter_mut().zip(from).for_each(|(x, &from)| *x = from * scale);
        }
    }
    /// 1/√d.
    #[inline(always)]
    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.size.d as f64).sqrt())
    }
    /// Drops probabilities of the queries from `first` on. The counter is made of places in the text, so that a text
    /// gets the same mask wherever it stands in the tensors.
    #[inline(always)]
    fn drop_out<T: Real>(&self, dropout: &Dropout, first: usize, p: &mut [T]) {
        let (slot, head) = (dropout.places.slots[self.start], 1 + self.head as u32);
        let blocks = self.size.keys / 4;
        dropout.apply(p, |c| [(c % blocks) as u32, (first + c / blocks) as u32, slot, head]);
    }
    /// The probabilities of the queries from `first` on: softmax of q·kᵀ, where q is scaled. `[block, keys]`; columns
    /// beyond the text are zero.
    #[inline(always)]
    fn probabilities<T: Real>(&self, q: &[T], kt: &[T], first: usize, p: &mut [T]) {
        let Size { n, d, keys, wide, .. } = self.size;
        p.fill(T::ZERO);
        product(&q[first * wide..], (wide, 1), &kt[..d * keys], p, keys);
        p.chunks_mut(keys).for_each(|row| softmax(row, n));
    }
    /// The blocks of queries: first query, rows in whole tiles, queries that are real.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Size { n, rows, .. } = self.size;
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

#[inline(always)]
fn forward_head<T: Real>(head: &Head<'_>, [q, k, v]: [&[T]; 3], y: &mut [T], scratch: [&mut [T]; 5]) {
    let Size { keys, wide, .. } = head.size;
    let [to_q, kt, to_v, p, o] = scratch;
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

#[inline(always)]
fn backward_head<T: Real>(
    head: &Head<'_>,
    [q, k, v]: [&[T]; 3],
    g: &[T],
    [dq, dk, dv]: [&mut [T]; 3],
    scratch: [&mut [T]; 11],
) {
    let Size { keys, wide, .. } = head.size;
    let [to_q, to_g, to_k, kt, vt, from_k, from_v, p, dp, mask, from_q] = scratch;
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
