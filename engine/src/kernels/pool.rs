//! One row from the rows of each text (equations: `autograd/src/ops/pool.rs`). Bound by bytes.

use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;

/// Texts of one parallel task.
const TEXTS: usize = 32;
/// Tokens of one parallel task, at least.
const TOKENS: usize = 256;

/// How the rows of a text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Their mean.
    Mean,
    /// The first row: BERT's `[CLS]`.
    First,
    /// The largest number of every column; of equal ones the first.
    Max,
}

/// Cuts texts into groups of at least `tokens` tokens, so that a parallel task is worth its start: group `i` is the
/// texts `cuts[i]..cuts[i + 1]`. The cut depends on the texts alone.
pub fn groups(starts: &[u32], tokens: usize) -> Vec<usize> {
    let (texts, mut cuts, mut from) = (starts.len() - 1, vec![0], starts[0]);
    for (text, &start) in starts.iter().enumerate().take(texts) {
        if (start - from) as usize >= tokens {
            cuts.push(text);
            from = start;
        }
    }
    if texts > 0 {
        cuts.push(texts);
    }
    cuts
}

/// y `[B, d]` of x `[T, d]`, and for [`Pool::Max`] which row of x each number came from. An empty text gives zeros.
///
/// # Panics
/// If `starts` leaves x, or x holds no floats.
#[track_caller]
pub fn pool(engine: &Engine, x: &Tensor, starts: &[u32], pool: Pool) -> (Tensor, Option<Tensor>) {
    if let Some(cuda) = x.cuda() {
        return cuda::rows::pool(cuda, x, starts, pool);
    }
    for_real!(x, forward(engine, x, starts, pool))
}

fn forward<T: Real>(engine: &Engine, x: &Tensor, starts: &[u32], pool: Pool) -> (Tensor, Option<Tensor>) {
    let (d, data, texts) = (x.shape().last(), x.data::<T>(), starts.len() - 1);
    let rows = |text: usize| &data[starts[text] as usize * d..starts[text + 1] as usize * d];
    let mut y = engine.buffer::<T>(texts * d);
    if pool == Pool::Max {
        let mut from = engine.buffer::<u32>(texts * d);
        engine.chunks2(
            (&mut y, TEXTS * d),
            (&mut from, TEXTS * d),
            #[inline(always)]
            |chunk, y, from| {
                for (i, (y, from)) in y.chunks_mut(d).zip(from.chunks_mut(d)).enumerate() {
                    let text = chunk * TEXTS + i;
                    largest(rows(text), starts[text], y, from);
                }
            },
        );
        return (Tensor::from_buf([texts, d], y), Some(Tensor::from_buf([texts, d], from)));
    }
    engine.chunks(
        &mut y,
        TEXTS * d,
        #[inline(always)]
        |chunk, y| {
            for (i, y) in y.chunks_mut(d).enumerate() {
                let rows = rows(chunk * TEXTS + i);
                y.fill(T::ZERO);
                if pool == Pool::First {
                    y.iter_mut().zip(rows).for_each(|(y, &x)| *y = x);
                    continue;
                }
                for row in rows.chunks(d) {
                    y.iter_mut().zip(row).for_each(|(y, &x)| *y += x);
                }
                let share = share::<T>(rows.len() / d);
                y.iter_mut().for_each(|y| *y *= share);
            }
        },
    );
    (Tensor::from_buf([texts, d], y), None)
}

/// 1/n, and 0 for an empty text.
#[inline(always)]
fn share<T: Real>(n: usize) -> T {
    if n == 0 { T::ZERO } else { T::of(1.0 / n as f64) }
}

#[inline(always)]
fn largest<T: Real>(rows: &[T], first: u32, y: &mut [T], from: &mut [u32]) {
    from.fill(first);
    let Some((head, rest)) = rows.split_at_checked(y.len()) else {
        return y.fill(T::ZERO);
    };
    y.copy_from_slice(head);
    for (row, index) in rest.chunks(y.len()).zip(first + 1..) {
        for ((y, from), &x) in y.iter_mut().zip(from.iter_mut()).zip(row) {
            let larger = x > *y;
            *y = if larger { x } else { *y };
            *from = if larger { index } else { *from };
        }
    }
}

/// The gradient x̄ `[T, d]` from ȳ `[B, d]`; `from` is what [`pool`] gave with the maximum.
///
/// # Panics
/// If `starts` does not run from 0 to T, or ȳ holds no floats.
#[track_caller]
pub fn gradient(engine: &Engine, g: &Tensor, starts: &[u32], pool: Pool, from: Option<&Tensor>) -> Tensor {
    if let Some(cuda) = g.cuda() {
        return cuda::rows::pool_back(cuda, g, starts, pool, from);
    }
    for_real!(g, backward(engine, g, starts, pool, from))
}

fn backward<T: Real>(
    engine: &Engine,
    g: &Tensor,
    starts: &[u32],
    pool: Pool,
    from: Option<&Tensor>,
) -> Tensor {
    let (d, g) = (g.shape().last(), g.data::<T>());
    let tokens = starts[starts.len() - 1] as usize;
    let (mut dx, from) = (engine.buffer::<T>(tokens * d), from.map(|from| from.data::<u32>()));
    let tasks = groups(starts, TOKENS);
    let cuts: Vec<usize> = tasks.iter().map(|&text| starts[text] as usize * d).collect();
    engine.ragged(
        [&mut dx],
        &cuts,
        #[inline(always)]
        |task, [mut dx]| {
            for text in tasks[task]..tasks[task + 1] {
                let n = (starts[text + 1] - starts[text]) as usize;
                let (rows, rest) = std::mem::take(&mut dx).split_at_mut(n * d);
                dx = rest;
                let g = &g[text * d..][..d];
                match (pool, from) {
                    (Pool::Mean, _) => {
                        let share = share::<T>(n);
                        for row in rows.chunks_mut(d) {
                            row.iter_mut().zip(g).for_each(|(dx, &g)| *dx = g * share);
                        }
                    }
                    (Pool::Max, Some(from)) => {
                        for (row, index) in rows.chunks_mut(d).zip(starts[text]..) {
                            for ((dx, &g), &from) in row.iter_mut().zip(g).zip(&from[text * d..]) {
                                *dx = if from == index { g } else { T::ZERO };
                            }
                        }
                    }
                    _ => {
                        rows.fill(T::ZERO);
                        rows.iter_mut().zip(g).for_each(|(dx, &g)| *dx = g);
                    }
                }
            }
        },
    );
    Tensor::from_buf([tokens, d], dx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_enough_tokens_and_hold_every_text_once() {
        assert_eq!(groups(&[0, 3, 4, 4, 9, 10], 4), [0, 2, 4, 5]);
        assert_eq!(groups(&[0, 100], 4), [0, 1]);
        assert_eq!(groups(&[0, 0, 0], 4), [0, 2]);
        assert_eq!(groups(&[0], 4), [0]);
    }
}
