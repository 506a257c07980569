//! One step of LAMB (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020,
//! algorithm 2) on one layer, in three passes over the parameter and its moments.
//!
//! ```text
//! m ← m + (1 − β₁)(g − m),  v ← β₂ v + (1 − β₂) g²
//! u = m · lift / (√v · widen + ε) + λ p       lift = 1 / (1 − β₁ᵗ),  widen = 1 / √(1 − β₂ᵗ)
//! p ← p − rate · (‖p‖ / ‖u‖) · u              the ratio is 1 where either norm is 0
//! ```
//! u is computed twice, for its norm and for the step, so that nothing is held but the moments. Norms are summed in f64
//! in blocks of a fixed size. Bound by bytes: 48 a number of f32.

use super::given::Given;
use super::map::CHUNK;
use super::squares::{block_squares, squares, tree_sum};
use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;

/// Numbers of u that are there at once where its norm is taken.
const PIECE: usize = 1024;

/// The constants of one step, all computed in f64.
#[derive(Clone, Copy, Debug)]
pub struct LambStep {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// 1 / (1 − β₁ᵗ).
    pub lift: f64,
    /// 1 / √(1 − β₂ᵗ).
    pub widen: f64,
    /// ε, added after the widening.
    pub eps: f64,
    /// λ; 0 without decay.
    pub decay: f64,
    /// The learning rate.
    pub rate: f64,
}

impl LambStep {
    /// The constants of step number `t`, counted from 1.
    pub fn new((beta1, beta2): (f64, f64), eps: f64, decay: f64, rate: f64, t: u32) -> LambStep {
        let t = f64::from(t);
        let (lift, widen) = (1.0 / (1.0 - beta1.powf(t)), 1.0 / (1.0 - beta2.powf(t)).sqrt());
        LambStep { beta1, beta2, lift, widen, eps, decay, rate }
    }
}

/// u of [`LambStep`] in the type of the numbers.
#[derive(Clone, Copy)]
struct Direction<T> {
    lift: T,
    widen: T,
    eps: T,
    decay: T,
}

impl<T: Real> Direction<T> {
    fn of(s: &LambStep) -> Direction<T> {
        Direction { lift: T::of(s.lift), widen: T::of(s.widen), eps: T::of(s.eps), decay: T::of(s.decay) }
    }
    #[inline(always)]
    fn at(self, p: T, m: T, v: T) -> T {
        self.lift * m / (v.sqrt() * self.widen + self.eps) + self.decay * p
    }
}

/// One step of `value` and its moments m and v, in place; gives the trust ratio ‖p‖ / ‖u‖. Rows that are not given have
/// gradient zero: their moments fade, and what is left of them moves the rows.
///
/// # Panics
/// If shapes or types differ, or one of the three tensors is shared.
#[track_caller]
pub fn lamb(
    engine: &Engine,
    value: &mut Tensor,
    (m, v): (&mut Tensor, &mut Tensor),
    grad: Given<'_>,
    step: &LambStep,
) -> f64 {
    grad.check(value.shape());
    let same = |x: &Tensor| x.shape() == value.shape() && x.dtype() == value.dtype();
    assert!(same(m) && same(v), "lamb: moments of another parameter");
    if let Some(cuda) = value.cuda().cloned() {
        return cuda::optim::lamb(&cuda, value, (m, v), grad, step);
    }
    for_real!(value, run(engine, value, (m, v), grad, step))
}

fn run<T: Real>(
    engine: &Engine,
    value: &mut Tensor,
    (m, v): (&mut Tensor, &mut Tensor),
    grad: Given<'_>,
    step: &LambStep,
) -> f64 {
    fade::<T>(engine, value.shape().last(), (m, v), grad, step);
    let (u, m, v) = (Direction::of(step), m.data::<T>(), v.data::<T>());
    let norm = tree_sum(&block_squares(engine, &[value])).sqrt();
    let moved = norm_of(engine, u, value.data(), m, v);
    let trust = if norm > 0.0 && moved > 0.0 { norm / moved } else { 1.0 };
    let rate = T::of(step.rate * trust);
    engine.chunks(
        value.data_mut::<T>(),
        CHUNK,
        #[inline(always)]
        |i, p| {
            for ((p, &m), &v) in p.iter_mut().zip(&m[i * CHUNK..]).zip(&v[i * CHUNK..]) {
                *p -= rate * u.at(*p, m, v);
            }
        },
    );
    trust
}

/// The moments take the gradient in.
fn fade<T: Real>(
    engine: &Engine,
    width: usize,
    (m, v): (&mut Tensor, &mut Tensor),
    grad: Given<'_>,
    step: &LambStep,
) {
    let (new1, beta2, new2) = (T::of(1.0 - step.beta1), T::of(step.beta2), T::of(1.0 - step.beta2));
    engine.chunks2(
        (m.data_mut::<T>(), CHUNK),
        (v.data_mut::<T>(), CHUNK),
        #[inline(always)]
        |i, m, v| {
            let update = |m: &mut T, v: &mut T, g: T| {
                *m += new1 * (g - *m);
                *v = beta2 * *v + new2 * (g * g);
            };
            for (at, grad) in grad.pieces::<T>(width, i * CHUNK..i * CHUNK + m.len()) {
                let both = m[at.clone()].iter_mut().zip(&mut v[at]);
                match grad {
                    Some(grad) => both.zip(grad).for_each(|((m, v), &g)| update(m, v, g)),
                    None => both.for_each(|(m, v)| update(m, v, T::ZERO)),
                }
            }
        },
    );
}

/// ‖u‖.
fn norm_of<T: Real>(engine: &Engine, u: Direction<T>, p: &[T], m: &[T], v: &[T]) -> f64 {
    let mut blocks = vec![0.0; p.len().div_ceil(PIECE)];
    engine.chunks(
        &mut blocks,
        CHUNK / PIECE,
        #[inline(always)]
        |i, sums| {
            let mut of = [T::ZERO; PIECE];
            for (k, sum) in sums.iter_mut().enumerate() {
                let first = i * CHUNK + k * PIECE;
                let rows = p[first..].iter().zip(&m[first..]).zip(&v[first..]);
                let n = PIECE.min(p.len() - first);
                of[..n].iter_mut().zip(rows).for_each(|(of, ((&p, &m), &v))| *of = u.at(p, m, v));
                *sum = squares(&of[..n]);
            }
        },
    );
    tree_sum(&blocks).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stepped(p: Vec<f64>, g: Vec<f64>, decay: f64) -> (Vec<f64>, f64) {
        let n = p.len();
        let step = LambStep::new((0.9, 0.999), 0.0, decay, 0.125, 1);
        let mut p = Tensor::from_vec([n], p);
        let (mut m, mut v) = (Tensor::from_vec([n], vec![0.0f64; n]), Tensor::from_vec([n], vec![0.0f64; n]));
        let g = Tensor::from_vec([n], g);
        let trust = lamb(&Engine::new(1), &mut p, (&mut m, &mut v), Given::All(&g), &step);
        (p.to_f64(), trust)
    }

    #[track_caller]
    fn close(got: &[f64], want: &[f64]) {
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{got:?} instead of {want:?}");
    }

    #[test]
    fn the_first_step_is_as_long_as_the_rate_times_the_layer() {
        // t = 1, ε = 0: m̂ / √v̂ is the sign of g. ‖p‖ = 4, u = (1, −1, 1, 1), ‖u‖ = 2.
        let (p, trust) = stepped(vec![2.0, 2.0, -2.0, 2.0], vec![0.25, -4.0, 8.0, 1.0], 0.0);
        close(&[trust], &[2.0]);
        close(&p, &[1.75, 2.25, -2.25, 1.75]);
        // λ = 1/2: u = (2, 0, 0, 2), ‖u‖ = √8.
        let (p, trust) = stepped(vec![2.0, 2.0, -2.0, 2.0], vec![0.25, -4.0, 8.0, 1.0], 0.5);
        close(&[trust], &[2.0f64.sqrt()]);
        let moved = 0.25 * 2.0f64.sqrt();
        close(&p, &[2.0 - moved, 2.0, -2.0, 2.0 - moved]);
    }

    #[test]
    fn a_layer_of_zeros_and_a_step_of_zeros_are_trusted_once() {
        assert_eq!(stepped(vec![0.0; 2], vec![1.0, 1.0], 0.0).1, 1.0);
        let still = LambStep::new((0.9, 0.999), 1e-6, 0.0, 0.5, 1);
        let [mut p, mut m, mut v] =
            [1.0f32, 0.0, 0.0].map(|first| Tensor::from_vec([2], vec![first, 2.0 * first]));
        let g = Tensor::from_vec([2], vec![0.0f32; 2]);
        let trust = lamb(&Engine::new(1), &mut p, (&mut m, &mut v), Given::All(&g), &still);
        assert_eq!((trust, p.to_f64()), (1.0, vec![1.0, 2.0]));
    }
}
