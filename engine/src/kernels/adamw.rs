//! One step of Adam with decoupled decay (Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019,
//! algorithm 2, in the order of PyTorch), in one pass over the parameter and its moments.
//!
//! ```text
//! p ← p · keep                          keep   = 1 − rate · decay
//! m ← m + (1 − β₁)(g − m)
//! v ← β₂ v + (1 − β₂) g²
//! p ← p − step · m / (√v · widen + ε)   step   = rate / (1 − β₁ᵗ),  widen = 1 / √(1 − β₂ᵗ)
//! ```
//! Bound by bytes: 28 a number of f32 (four reads, three writes).

use super::given::Given;
use super::map::CHUNK;
use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::table::Table;
use crate::tensor::Tensor;

/// The constants of one step, all computed in f64.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// 1 − rate · decay; 1 without decay.
    pub keep: f64,
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// rate / (1 − β₁ᵗ).
    pub step: f64,
    /// 1 / √(1 − β₂ᵗ).
    pub widen: f64,
    /// ε, added after the widening.
    pub eps: f64,
}

impl AdamStep {
    /// The constants of step number `t`, counted from 1.
    pub fn new((beta1, beta2): (f64, f64), eps: f64, decay: f64, rate: f64, t: u32) -> AdamStep {
        let t = f64::from(t);
        AdamStep {
            keep: 1.0 - rate * decay,
            beta1,
            beta2,
            step: rate / (1.0 - beta1.powf(t)),
            widen: 1.0 / (1.0 - beta2.powf(t)).sqrt(),
            eps,
        }
    }
}

/// [`AdamStep`] in the type of the numbers.
#[derive(Clone, Copy)]
struct Constants<T> {
    keep: T,
    new1: T,
    beta2: T,
    new2: T,
    step: T,
    widen: T,
    eps: T,
}

impl<T: Real> Constants<T> {
    fn of(s: &AdamStep) -> Constants<T> {
        Constants {
            keep: T::of(s.keep),
            new1: T::of(1.0 - s.beta1),
            beta2: T::of(s.beta2),
            new2: T::of(1.0 - s.beta2),
            step: T::of(s.step),
            widen: T::of(s.widen),
            eps: T::of(s.eps),
        }
    }
    #[inline(always)]
    fn update(self, p: &mut T, m: &mut T, v: &mut T, g: T) {
        *m += self.new1 * (g - *m);
        *v = self.beta2 * *v + self.new2 * (g * g);
        *p = *p * self.keep - self.step * *m / (v.sqrt() * self.widen + self.eps);
    }
    #[inline(always)]
    fn update_all(self, p: &mut [T], m: &mut [T], v: &mut [T], grad: &[T]) {
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(grad) {
            self.update(p, m, v, g);
        }
    }
    #[inline(always)]
    fn update_without_gradient(self, p: &mut [T], m: &mut [T], v: &mut [T]) {
        for ((p, m), v) in p.iter_mut().zip(m).zip(v) {
            self.update(p, m, v, T::ZERO);
        }
    }
}

/// One step of `value` and its moments m and v, in place. Rows that are not given have gradient zero: they decay, and
/// so do their moments.
///
/// # Panics
/// If shapes or types differ, or one of the three tensors is shared.
#[track_caller]
pub fn adamw(
    engine: &Engine,
    value: &mut Tensor,
    moments: (&mut Tensor, &mut Tensor),
    grad: Given<'_>,
    step: &AdamStep,
) {
    fn run<T: Real>(
        engine: &Engine,
        value: &mut Tensor,
        (m, v): (&mut Tensor, &mut Tensor),
        grad: Given<'_>,
        step: &AdamStep,
    ) {
        let (width, c) = (value.shape().last(), Constants::<T>::of(step));
        engine.chunks3(
            [value.data_mut::<T>(), m.data_mut(), v.data_mut()],
            CHUNK,
            #[inline(always)]
            |i, [p, m, v]| {
                for (at, grad) in grad.pieces::<T>(width, i * CHUNK..i * CHUNK + p.len()) {
                    let (p, m, v) = (&mut p[at.clone()], &mut m[at.clone()], &mut v[at]);
                    match grad {
                        Some(grad) => c.update_all(p, m, v, grad),
                        None => c.update_without_gradient(p, m, v),
                    }
                }
            },
        );
    }
    grad.check(value.shape());
    if let Some(cuda) = value.cuda().cloned() {
        return cuda::optim::adamw(&cuda, value, moments, grad, step);
    }
    for_real!(value, run(engine, value, moments, grad, step));
}

/// One step of ascending rows of a table and of its moments m and v. `grads`, `[n, width]`, lies where the tables do;
/// weights of bf16 are rounded by the chance of step `number`.
///
/// # Panics
/// If sizes differ, rows do not ascend or leave the table, or the tables lie in different memories.
#[track_caller]
pub fn adamw_rows(
    engine: &Engine,
    [table, m, v]: [&mut Table; 3],
    (rows, grads): (&[u32], &Tensor),
    step: &AdamStep,
    number: u64,
) {
    assert_eq!(grads.shape().dims(), [rows.len(), table.width()], "adamw_rows: gradients of other rows");
    if let Some(table) = table.on_device(rows) {
        let state = [m, v].map(|table| table.on_device(rows).expect("moments on the device of the table"));
        return table.adamw(number, state, (rows, grads), step);
    }
    let state = [m, v].map(|table| table.rows_mut(rows));
    table.change(engine, number, rows, |values| {
        let (mut values, [mut m, mut v]) = (values, state);
        rows_on_cpu(engine, [&mut values, &mut m, &mut v], grads.data(), step);
    });
}

/// `values[i]`, `m[i]` and `v[i]` are a row of each table.
fn rows_on_cpu(engine: &Engine, [values, m, v]: [&mut [&mut [f32]]; 3], grads: &[f32], step: &AdamStep) {
    let (width, c) = (values.first().map_or(1, |row| row.len().max(1)), Constants::of(step));
    let block = (CHUNK / width).max(1);
    engine.chunks3(
        [values, m, v],
        block,
        #[inline(always)]
        |i, [values, m, v]| {
            let rows = values.iter_mut().zip(m).zip(v).zip(grads[i * block * width..].chunks(width));
            for (((p, m), v), grad) in rows {
                c.update_all(p, m, v, grad);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_rate_against_the_sign_of_the_gradient() {
        // t = 1: m̂ = g, v̂ = g², so p moves by rate · g / |g| when ε = 0.
        let engine = Engine::new(1);
        let step = AdamStep::new((0.9, 0.999), 0.0, 0.5, 0.125, 1);
        let mut p = Tensor::from_vec([3], vec![1.0f64, 2.0, -1.0]);
        let (mut m, mut v) = (Tensor::from_vec([3], vec![0.0f64; 3]), Tensor::from_vec([3], vec![0.0f64; 3]));
        let g = Tensor::from_vec([3], vec![0.25f64, -4.0, 8.0]);
        adamw(&engine, &mut p, (&mut m, &mut v), Given::All(&g), &step);
        let want = [1.0 * 0.9375 - 0.125, 2.0 * 0.9375 + 0.125, -0.9375 - 0.125];
        for (p, want) in p.to_f64().iter().zip(want) {
            assert!((p - want).abs() < 1e-12, "{p} instead of {want}");
        }
    }
}
