//! One step of gradient descent, with and without momentum.
//!
//! ```text
//! b ← μ b + g          (the first time: b = g, with b = 0 the same)
//! p ← p − rate · b     (without momentum b = g)
//! ```
//! Bound by bytes: 20 a number of f32 with momentum, 12 without.

use super::given::Given;
use super::map::CHUNK;
use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::table::Table;
use crate::tensor::Tensor;

/// p ← p − rate · g, in place. Rows that are not given stay.
///
/// # Panics
/// If shapes or types differ, or `value` is shared.
#[track_caller]
pub fn sgd(engine: &Engine, value: &mut Tensor, grad: Given<'_>, rate: f64) {
    fn run<T: Real>(engine: &Engine, value: &mut Tensor, grad: Given<'_>, rate: f64) {
        let (width, rate) = (value.shape().last(), T::of(rate));
        engine.chunks(
            value.data_mut::<T>(),
            CHUNK,
            #[inline(always)]
            |i, p| {
                for (at, grad) in grad.pieces::<T>(width, i * CHUNK..i * CHUNK + p.len()) {
                    if let Some(grad) = grad {
                        p[at].iter_mut().zip(grad).for_each(|(p, &g)| *p -= rate * g);
                    }
                }
            },
        );
    }
    grad.check(value.shape());
    if let Some(cuda) = value.cuda().cloned() {
        return cuda::optim::sgd(&cuda, value, grad, rate);
    }
    for_real!(value, run(engine, value, grad, rate));
}

/// p ← p − rate · g of ascending rows of a table. `grads`, `[n, width]`, lies where the table does; weights of bf16 are
/// rounded by the chance of step `number`.
///
/// # Panics
/// If sizes differ, or rows do not ascend or leave the table.
#[track_caller]
pub fn sgd_rows(
    engine: &Engine,
    table: &mut Table,
    (rows, grads): (&[u32], &Tensor),
    rate: f32,
    number: u64,
) {
    assert_eq!(grads.shape().dims(), [rows.len(), table.width()], "sgd_rows: gradients of other rows");
    if let Some(table) = table.on_device(rows) {
        return table.sgd(number, (rows, grads), rate);
    }
    table.change(engine, number, rows, |mut values| rows_on_cpu(engine, &mut values, grads.data(), rate));
}

fn rows_on_cpu(engine: &Engine, values: &mut [&mut [f32]], grads: &[f32], rate: f32) {
    let width = values.first().map_or(1, |row| row.len().max(1));
    let block = (CHUNK / width).max(1);
    engine.chunks(
        values,
        block,
        #[inline(always)]
        |i, values| {
            for (p, grad) in values.iter_mut().zip(grads[i * block * width..].chunks(width)) {
                p.iter_mut().zip(grad).for_each(|(p, &g)| *p -= rate * g);
            }
        },
    );
}

/// b ← momentum · b + g, p ← p − rate · b, in place. Rows that are not given have gradient zero and still move.
///
/// # Panics
/// If shapes or types differ, or one of the two tensors is shared.
#[track_caller]
pub fn sgd_momentum(
    engine: &Engine,
    value: &mut Tensor,
    momentum: (&mut Tensor, f64),
    grad: Given<'_>,
    rate: f64,
) {
    fn run<T: Real>(
        engine: &Engine,
        value: &mut Tensor,
        (buffer, mu): (&mut Tensor, f64),
        grad: Given<'_>,
        rate: f64,
    ) {
        let (width, mu, rate) = (value.shape().last(), T::of(mu), T::of(rate));
        let outputs = ((value.data_mut::<T>(), CHUNK), (buffer.data_mut::<T>(), CHUNK));
        engine.chunks2(
            outputs.0,
            outputs.1,
            #[inline(always)]
            |i, p, b| {
                for (at, grad) in grad.pieces::<T>(width, i * CHUNK..i * CHUNK + p.len()) {
                    let (p, b) = (&mut p[at.clone()], &mut b[at]);
                    match grad {
                        Some(grad) => b.iter_mut().zip(grad).for_each(|(b, &g)| *b = mu * *b + g),
                        None => b.iter_mut().for_each(|b| *b = mu * *b),
                    }
                    p.iter_mut().zip(b).for_each(|(p, &mut b)| *p -= rate * b);
                }
            },
        );
    }
    grad.check(value.shape());
    if let Some(cuda) = value.cuda().cloned() {
        return cuda::optim::momentum(&cuda, value, momentum, grad, rate);
    }
    for_real!(value, run(engine, value, momentum, grad, rate));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn momentum_moves_rows_without_a_gradient_too() {
        let engine = Engine::new(1);
        let mut p = Tensor::from_vec([2, 1], vec![1.0f32, 1.0]);
        let mut b = Tensor::from_vec([2, 1], vec![0.5f32, 0.0]);
        let g = Tensor::from_vec([1, 1], vec![2.0f32]);
        sgd_momentum(&engine, &mut p, (&mut b, 0.5), Given::Rows(&[1], &g), 0.25);
        assert_eq!((b.to_f64(), p.to_f64()), (vec![0.25, 2.0], vec![0.9375, 0.5]));
        sgd(&engine, &mut p, Given::Rows(&[1], &g), 0.25);
        assert_eq!(p.to_f64(), [0.9375, 0.0]);
    }
}
