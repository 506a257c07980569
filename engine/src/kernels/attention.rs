//! Attention over packed texts, one (text, head) at a time in cache (equations: `autograd/src/ops/attention.rs`).
//! Bound by flops: 4·n²·d a head forward, 10·n²·d backward, since the probabilities are computed again.
//!
//! `generic` is the plain text; `avx512` does the same for f32 in registers of 16 numbers, within rounding. Which one
//! runs depends on the processor and on the channels of a head, never on a text or on its company.

use crate::cuda;
use crate::engine::{Engine, KernelClass, parts};
use crate::kernels::dropout::Dropout;
use crate::kernels::pool::groups;
use crate::real::Real;
use crate::tensor::{DType, Tensor};

#[cfg(target_arch = "x86_64")]
mod avx512;
mod generic;

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
    if let Some(cuda) = cuda::of(&qkv) {
        return cuda::attention::attention(cuda, qkv, layout);
    }
    #[cfg(target_arch = "x86_64")]
    if layout.suits_avx512(engine, qkv[0]) {
        return forward(engine, qkv, layout, avx512::forward_scratch, |head, qkv, y, scratch| {
            // SAFETY: `suits_avx512` found the class of this processor.
            unsafe { avx512::forward(head, qkv, y, scratch) }
        });
    }
    for_real!(qkv[0], forward_generic(engine, qkv, layout))
}

/// The gradients q̄, k̄, v̄ from the gradient `g` of the output.
///
/// # Panics
/// As [`attention`].
#[track_caller]
pub fn gradients(engine: &Engine, qkv: [&Tensor; 3], g: &Tensor, layout: Layout<'_>) -> [Tensor; 3] {
    engine.work(10 * layout.pairs() * g.shape().last() as u64, 0);
    if let Some(cuda) = cuda::of(&qkv) {
        return cuda::attention::gradients(cuda, qkv, g, layout);
    }
    let [q, k, v] = qkv;
    #[cfg(target_arch = "x86_64")]
    if layout.suits_avx512(engine, g) {
        return backward(
            engine,
            [q, k, v, g],
            layout,
            avx512::backward_scratch,
            |head, qkvg, out, scratch| {
                // SAFETY: `suits_avx512` found the class of this processor.
                unsafe { avx512::backward(head, qkvg, out, scratch) }
            },
        );
    }
    for_real!(g, backward_generic(engine, [q, k, v, g], layout))
}

fn forward_generic<T: Real>(engine: &Engine, qkv: [&Tensor; 3], layout: Layout<'_>) -> Tensor {
    forward(
        engine,
        qkv,
        layout,
        generic::forward_scratch,
        #[inline(always)]
        |head, qkv, y, scratch| generic::forward::<T>(head, qkv, y, scratch),
    )
}

fn backward_generic<T: Real>(engine: &Engine, qkvg: [&Tensor; 4], layout: Layout<'_>) -> [Tensor; 3] {
    backward(
        engine,
        qkvg,
        layout,
        generic::backward_scratch,
        #[inline(always)]
        |head, qkvg, out, scratch| generic::backward::<T>(head, qkvg, out, scratch),
    )
}

/// `one(head, rows of the text in q, k, v, in y, scratch)` for every head of every text; `scratch(n, d)` is how much.
fn forward<T: Real>(
    engine: &Engine,
    qkv: [&Tensor; 3],
    layout: Layout<'_>,
    scratch: fn(usize, usize) -> usize,
    one: impl Fn(&Head<'_>, [&[T]; 3], &mut [T], &mut [T]) + Sync,
) -> Tensor {
    let (shape, data) = (qkv[0].shape(), qkv.map(|x| x.data::<T>()));
    let mut y = engine.buffer::<T>(shape.len());
    layout.each_head(
        engine,
        shape.last(),
        [&mut y],
        scratch,
        #[inline(always)]
        |head, [y], scratch| one(&head, data.map(|x| head.rows(x)), y, scratch),
    );
    Tensor::from_buf(shape, y)
}

/// As [`forward`], for the gradients.
fn backward<T: Real>(
    engine: &Engine,
    qkvg: [&Tensor; 4],
    layout: Layout<'_>,
    scratch: fn(usize, usize) -> usize,
    one: impl Fn(&Head<'_>, [&[T]; 4], [&mut [T]; 3], &mut [T]) + Sync,
) -> [Tensor; 3] {
    let (shape, data) = (qkvg[0].shape(), qkvg.map(|x| x.data::<T>()));
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| engine.buffer::<T>(shape.len()));
    layout.each_head(
        engine,
        shape.last(),
        [&mut dq, &mut dk, &mut dv],
        scratch,
        #[inline(always)]
        |head, out, scratch| one(&head, data.map(|x| head.rows(x)), out, scratch),
    );
    [dq, dk, dv].map(|x| Tensor::from_buf(shape, x))
}

/// One head of one text, and where it lies.
struct Head<'a> {
    /// Tokens.
    n: usize,
    /// Numbers of one head in a row.
    d: usize,
    /// The first row of the text in the tensors.
    start: usize,
    /// Numbers in a row of all heads.
    width: usize,
    head: usize,
    dropout: Option<&'a Dropout>,
}

impl Head<'_> {
    /// The rows of this text.
    #[inline(always)]
    fn rows<'x, T>(&self, x: &'x [T]) -> &'x [T] {
        &x[self.start * self.width..][..self.n * self.width]
    }
    /// 1/√d.
    #[inline(always)]
    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.d as f64).sqrt())
    }
}

impl Layout<'_> {
    /// Σ n² over the texts: pairs of a query and a key in one head.
    fn pairs(&self) -> u64 {
        self.starts.windows(2).map(|w| u64::from(w[1] - w[0]).pow(2)).sum()
    }
    #[cfg(target_arch = "x86_64")]
    fn suits_avx512(&self, engine: &Engine, x: &Tensor) -> bool {
        let whole = (x.shape().last() / self.heads).is_multiple_of(avx512::LANES);
        engine.kernel_class() == KernelClass::Avx512 && x.dtype() == DType::F32 && whole
    }
    /// Runs `f(head, rows of the text in each output, scratch)` for every head of every text, texts in parallel.
    fn each_head<T: Real, const N: usize>(
        &self,
        engine: &Engine,
        width: usize,
        outputs: [&mut [T]; N],
        scratch: fn(usize, usize) -> usize,
        f: impl Fn(Head<'_>, [&mut [T]; N], &mut [T]) + Sync,
    ) {
        let (starts, d) = (self.starts, width / self.heads);
        let tasks = groups(starts, TOKENS);
        let cuts: Vec<usize> = tasks.iter().map(|&text| starts[text] as usize * width).collect();
        // One buffer for the scratch of all tasks: what the pool holds must not depend on how many run at once.
        let mut scratch_cuts = vec![0];
        for task in tasks.windows(2) {
            let longest = starts[task[0]..=task[1]].windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
            scratch_cuts.push(scratch_cuts[scratch_cuts.len() - 1] + scratch(longest as usize, d));
        }
        let mut buffer = engine.buffer::<T>(scratch_cuts[scratch_cuts.len() - 1]);
        let scratch = parts([&mut buffer], &scratch_cuts);
        engine.each(
            parts(outputs, &cuts).into_iter().zip(scratch).collect(),
            #[inline(always)]
            |task, (mut out, [scratch])| {
                let texts = &starts[tasks[task]..=tasks[task + 1]];
                for text in texts.windows(2).filter(|w| w[0] < w[1]) {
                    let (start, n) = (text[0] as usize, (text[1] - text[0]) as usize);
                    let inside = (start - texts[0] as usize) * width..(start - texts[0] as usize + n) * width;
                    for head in 0..self.heads {
                        let head = Head { n, d, start, width, head, dropout: self.dropout };
                        f(head, out.each_mut().map(|out| &mut out[inside.clone()]), scratch);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Places, Stream};
    use std::sync::Arc;

    #[track_caller]
    fn check(lengths: &[u32], heads: usize, d: usize, rate: f32) {
        let starts: Vec<u32> = std::iter::once(0)
            .chain(lengths.iter().scan(0, |end, n| {
                *end += n;
                Some(*end)
            }))
            .collect();
        let (engine, shape) = (Engine::poisoned(2), [starts[lengths.len()] as usize, heads * d]);
        let draw = |tag| {
            let s = Stream::new(3, tag);
            let numbers = (0..shape[0] * shape[1]).map(|i| 4.0 * s.uniform(i as u64) as f32 - 2.0);
            Tensor::from_vec(shape, numbers.collect())
        };
        let [q, k, v, g] = [1, 2, 3, 4].map(draw);
        let places = Arc::new(Places::new(&starts, 5));
        let dropout = (rate > 0.0).then_some(Dropout { rate, key: [1, 2], places });
        let layout = Layout { starts: &starts, heads, dropout: dropout.as_ref() };
        let fast = gradients(&engine, [&q, &k, &v], &g, layout);
        let slow = backward_generic::<f32>(&engine, [&q, &k, &v, &g], layout);
        let y = attention(&engine, [&q, &k, &v], layout);
        let want = forward_generic::<f32>(&engine, [&q, &k, &v], layout);
        for (a, b) in fast.iter().zip(&slow).chain([(&y, &want)]) {
            let (a, b) = (a.to_f64(), b.to_f64());
            let largest = b.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= 5e-6 * largest, "{lengths:?}, {heads} heads of {d}: {worst:e} of {largest}");
            assert!(a.iter().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn the_fast_form_equals_the_plain_one_on_ragged_texts() {
        check(&[1], 1, 16, 0.0);
        check(&[5, 14, 0, 1, 16, 17, 2, 33], 3, 32, 0.0);
        check(&[5, 14, 0, 1, 16, 17, 2, 33], 3, 32, 0.25);
        check(&(1..20).collect::<Vec<u32>>(), 2, 48, 0.1);
        check(&[64, 65, 130], 1, 64, 0.5);
        check(&[512, 3], 2, 32, 0.1);
        check(&[9, 4], 2, 5, 0.1);
    }
}
