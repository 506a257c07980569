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
/// Numbers that are read behind the last distance: a block of queries may be longer than its text.
const SPARE: usize = 32;

/// How the rows of q, k and v, `[T, heads·d]`, are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// Where each text starts, and the end: `[B + 1]`.
    pub starts: &'a [u32],
    /// The number of heads.
    pub heads: usize,
    /// Dropout on the probabilities.
    pub dropout: Option<&'a Dropout>,
    /// What is added to every score, by distance and head: `[2·m + 1, heads]`, row `m + i − j` for query i and key j of
    /// a text of at most m + 1 tokens.
    pub bias: Option<&'a Tensor>,
}

/// The gradients that attention gives.
#[derive(Debug)]
pub struct Gradients {
    /// q̄, k̄, v̄.
    pub qkv: [Tensor; 3],
    /// That of the bias by distance, where it was asked for.
    pub bias: Option<Tensor>,
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

/// The gradients from the gradient `g` of the output; that of the bias if there is one and `of_bias` says so.
///
/// # Panics
/// As [`attention`].
#[track_caller]
pub fn gradients(
    engine: &Engine,
    qkv: [&Tensor; 3],
    g: &Tensor,
    layout: Layout<'_>,
    of_bias: bool,
) -> Gradients {
    engine.work(10 * layout.pairs() * g.shape().last() as u64, 0);
    let of_bias = of_bias && layout.bias.is_some();
    if let Some(cuda) = cuda::of(&qkv) {
        return cuda::attention::gradients(cuda, qkv, g, layout, of_bias);
    }
    let [q, k, v] = qkv;
    #[cfg(target_arch = "x86_64")]
    if layout.suits_avx512(engine, g) {
        return backward(
            engine,
            [q, k, v, g],
            (layout, of_bias),
            avx512::backward_scratch,
            |head, qkvg, out, by_distance, scratch| {
                // SAFETY: `suits_avx512` found the class of this processor.
                unsafe { avx512::backward(head, qkvg, out, by_distance, scratch) }
            },
        );
    }
    for_real!(g, backward_generic(engine, [q, k, v, g], (layout, of_bias)))
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

fn backward_generic<T: Real>(engine: &Engine, qkvg: [&Tensor; 4], layout: (Layout<'_>, bool)) -> Gradients {
    backward(
        engine,
        qkvg,
        layout,
        generic::backward_scratch,
        #[inline(always)]
        |head, qkvg, out, by_distance, scratch| generic::backward::<T>(head, qkvg, out, by_distance, scratch),
    )
}

/// `one(head, rows of the text in q, k, v, in y, scratch)` for every head of every text; `scratch(n, d)` is how much.
fn forward<T: Real>(
    engine: &Engine,
    qkv: [&Tensor; 3],
    layout: Layout<'_>,
    scratch: fn(usize, usize) -> usize,
    one: impl Fn(&Head<'_, T>, [&[T]; 3], &mut [T], &mut [T]) + Sync,
) -> Tensor {
    let (shape, data) = (qkv[0].shape(), qkv.map(|x| x.data::<T>()));
    let mut y = engine.buffer::<T>(shape.len());
    layout.each_head(
        (engine, shape.last(), false),
        [&mut y],
        scratch,
        #[inline(always)]
        |head, [y], _, scratch| one(&head, data.map(|x| head.rows(x)), y, scratch),
    );
    Tensor::from_buf(shape, y)
}

/// As [`forward`], for the gradients; what is behind the outputs is that of the head's bias.
fn backward<T: Real>(
    engine: &Engine,
    qkvg: [&Tensor; 4],
    (layout, of_bias): (Layout<'_>, bool),
    scratch: fn(usize, usize) -> usize,
    one: impl Fn(&Head<'_, T>, [&[T]; 4], [&mut [T]; 3], &mut [T], &mut [T]) + Sync,
) -> Gradients {
    let (shape, data) = (qkvg[0].shape(), qkvg.map(|x| x.data::<T>()));
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| engine.buffer::<T>(shape.len()));
    let bias = layout.each_head(
        (engine, shape.last(), of_bias),
        [&mut dq, &mut dk, &mut dv],
        scratch,
        #[inline(always)]
        |head, out, by_distance, scratch| {
            one(&head, data.map(|x| head.rows(x)), out, by_distance, scratch);
        },
    );
    Gradients { qkv: [dq, dk, dv].map(|x| Tensor::from_buf(shape, x)), bias }
}

/// One head of one text, and where it lies.
struct Head<'a, T> {
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
    /// Added to the score of query i and key j is number `zero + i − j`; [`SPARE`] numbers may be read behind those of
    /// the text.
    bias: Option<&'a [T]>,
    zero: usize,
}

impl<T> Head<'_, T> {
    /// The rows of this text.
    #[inline(always)]
    fn rows<'x>(&self, x: &'x [T]) -> &'x [T] {
        &x[self.start * self.width..][..self.n * self.width]
    }
}

impl<T: Real> Head<'_, T> {
    /// 1/√d.
    #[inline(always)]
    fn scale(&self) -> T {
        T::of(1.0 / (self.d as f64).sqrt())
    }
}

/// A bias by distance with a row for each head: `[heads, 2·m + 1 + SPARE]`.
struct Distances<T> {
    rows: Vec<T>,
    pitch: usize,
    zero: usize,
}

impl<T: Real> Distances<T> {
    fn new(table: &Tensor) -> Distances<T> {
        let (distances, heads) = (table.shape().dim(0), table.shape().dim(1));
        let pitch = distances + SPARE;
        let mut rows = vec![T::ZERO; heads * pitch];
        for (at, of_heads) in table.data::<T>().chunks_exact(heads.max(1)).enumerate() {
            of_heads.iter().enumerate().for_each(|(head, &bias)| rows[head * pitch + at] = bias);
        }
        Distances { rows, pitch, zero: distances / 2 }
    }
    fn of(&self, head: usize) -> &[T] {
        &self.rows[head * self.pitch..][..self.pitch]
    }
    /// The table whose numbers are the sums over `tasks`, each laid out as this one.
    fn sum(&self, tasks: &[T], heads: usize) -> Tensor {
        let distances = self.pitch - SPARE;
        let mut table = vec![T::ZERO; distances * heads];
        for task in tasks.chunks_exact(self.rows.len().max(1)) {
            for (head, row) in task.chunks_exact(self.pitch).enumerate() {
                let column = table[head..].iter_mut().step_by(heads);
                column.zip(row).for_each(|(sum, &term)| *sum += term);
            }
        }
        Tensor::from_vec([distances, heads], table)
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
    /// Runs `f(head, rows of the text in each output, numbers by distance, scratch)` for every head of every text,
    /// texts in parallel. What is added to the numbers by distance becomes the gradient of the bias.
    fn each_head<T: Real, const N: usize>(
        &self,
        (engine, width, of_bias): (&Engine, usize, bool),
        outputs: [&mut [T]; N],
        scratch: fn(usize, usize) -> usize,
        f: impl Fn(Head<'_, T>, [&mut [T]; N], &mut [T], &mut [T]) + Sync,
    ) -> Option<Tensor> {
        let (starts, d) = (self.starts, width / self.heads);
        let bias = self.bias.map(Distances::<T>::new);
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
        // A sum for each task, added up in their order: the sum over all texts must not depend on how many run at once.
        let each = bias.as_ref().filter(|_| of_bias).map_or(0, |bias| bias.rows.len());
        let sum_cuts: Vec<usize> = (0..tasks.len()).map(|task| task * each).collect();
        let mut sums = engine.buffer::<T>(sum_cuts.last().copied().unwrap_or(0));
        sums.fill(T::ZERO);
        let work = parts(outputs, &cuts).into_iter().zip(scratch).zip(parts([&mut sums], &sum_cuts));
        engine.each(
            work.collect(),
            #[inline(always)]
            |task, ((mut out, [scratch]), [sums])| {
                let texts = &starts[tasks[task]..=tasks[task + 1]];
                for text in texts.windows(2).filter(|w| w[0] < w[1]) {
                    let (start, n) = (text[0] as usize, (text[1] - text[0]) as usize);
                    let inside = (start - texts[0] as usize) * width..(start - texts[0] as usize + n) * width;
                    for head in 0..self.heads {
                        let by_distance = &mut sums[head * each / self.heads..(head + 1) * each / self.heads];
                        let (zero, bias) = bias.as_ref().map_or((0, None), |b| (b.zero, Some(b.of(head))));
                        let head = Head { n, d, start, width, head, dropout: self.dropout, bias, zero };
                        let out = out.each_mut().map(|out| &mut out[inside.clone()]);
                        f(head, out, by_distance, scratch);
                    }
                }
            },
        );
        bias.filter(|_| of_bias).map(|bias| bias.sum(&sums, self.heads))
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
        for biased in [false, true] {
            check_one(lengths, heads, d, rate, biased);
        }
    }

    #[track_caller]
    fn check_one(lengths: &[u32], heads: usize, d: usize, rate: f32, biased: bool) {
        let starts: Vec<u32> = std::iter::once(0)
            .chain(lengths.iter().scan(0, |end, n| {
                *end += n;
                Some(*end)
            }))
            .collect();
        let (engine, shape) = (Engine::poisoned(2), [starts[lengths.len()] as usize, heads * d]);
        let draw = |tag, shape: [usize; 2]| {
            let s = Stream::new(3, tag);
            let numbers = (0..shape[0] * shape[1]).map(|i| 4.0 * s.uniform(i as u64) as f32 - 2.0);
            Tensor::from_vec(shape, numbers.collect())
        };
        let [q, k, v, g] = [1, 2, 3, 4].map(|tag| draw(tag, shape));
        let places = Arc::new(Places::new(&starts, 5));
        let dropout = (rate > 0.0).then_some(Dropout { rate, key: [1, 2], places });
        // Reaches two tokens beyond the longest text.
        let reach = lengths.iter().max().map_or(0, |&n| n as usize + 1);
        let bias = biased.then(|| draw(5, [2 * reach + 1, heads]));
        let layout = Layout { starts: &starts, heads, dropout: dropout.as_ref(), bias: bias.as_ref() };
        let fast = gradients(&engine, [&q, &k, &v], &g, layout, true);
        let slow = backward_generic::<f32>(&engine, [&q, &k, &v, &g], (layout, biased));
        let y = attention(&engine, [&q, &k, &v], layout);
        let want = forward_generic::<f32>(&engine, [&q, &k, &v], layout);
        assert_eq!((fast.bias.is_some(), slow.bias.is_some()), (biased, biased));
        let of_qkv = fast.qkv.iter().zip(&slow.qkv);
        for (a, b) in of_qkv.chain(fast.bias.iter().zip(&slow.bias)).chain([(&y, &want)]) {
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
    /// A bias of −∞ beyond a distance is a window: what lies outside is as if it were not there.
    #[test]
    fn a_window_is_a_bias() {
        let (n, window, reach, engine) = (40, 3, 100, Engine::poisoned(1));
        let draw = |tag| {
            let s = Stream::new(4, tag);
            Tensor::from_vec([n, 16], (0..n * 16).map(|i| 2.0 * s.uniform(i as u64) as f32 - 1.0).collect())
        };
        let [q, k, v, g] = [1, 2, 3, 4].map(draw);
        // It reaches beyond the text, so that no key is left where a block of queries is longer than the text.
        let far = |at: usize| if at.abs_diff(reach) > window { f32::NEG_INFINITY } else { 0.0 };
        let bias = Tensor::from_vec([2 * reach + 1, 1], (0..2 * reach + 1).map(far).collect());
        let layout = Layout { starts: &[0, n as u32], heads: 1, dropout: None, bias: Some(&bias) };
        let y = attention(&engine, [&q, &k, &v], layout).to_f64();
        let grads = gradients(&engine, [&q, &k, &v], &g, layout, true);
        assert!(grads.qkv.iter().chain(&grads.bias).all(|x| x.to_f64().iter().all(|x| x.is_finite())));
        // A query in the middle, alone with the seven keys that it sees.
        let (i, row) = (20, |x: &Tensor| {
            Tensor::from_vec([7, 16], x.data::<f32>()[(20 - window) * 16..(20 + window + 1) * 16].to_vec())
        });
        let alone = Layout { starts: &[0, 7], heads: 1, dropout: None, bias: None };
        let want = attention(&engine, [&row(&q), &row(&k), &row(&v)], alone).to_f64();
        let worst = (0..16).map(|c| (y[i * 16 + c] - want[window * 16 + c]).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-6, "{worst:e}");
    }
}
