//! log σ(α(s + t)) with the shift t at which the σ of a row add up to k (equations: `autograd/src/ops/soft_top_k.rs`).
//! Bound by the exponentials: [`HALVINGS`] + [`POLISH`] + 1 a column forward, one backward.

use super::relevance::Relevance;
use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::real::Real;
use crate::tensor::Tensor;

/// Halvings of the interval in which t is sought. The interval is some units long:
/// what is left after the halvings is where Newton converges, and each of its steps doubles the digits.
pub const HALVINGS: usize = 24;
/// Steps of Newton after them.
pub const POLISH: usize = 2;
/// Scores that one parallel task takes.
const SCORES: usize = 1024;

/// What turns scores into soft memberships of their row's top k.
#[derive(Clone, Debug)]
pub struct SoftTopK {
    /// k.
    pub k: f64,
    /// α: how sharp the border is.
    pub sharpness: f64,
    /// The positives and negatives of each row; a column that is neither is left out.
    pub relevance: Relevance,
}

/// log σ(α(s + t)) of scores `[n, m]`; 0 in columns that are left out and in rows of at most k columns.
///
/// # Panics
/// If sizes differ or the scores are no floats.
#[track_caller]
pub fn soft_top_k(engine: &Engine, s: &Tensor, top: &SoftTopK) -> Tensor {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::soft_top_k(cuda, s, top, [HALVINGS, POLISH]);
    }
    for_real!(s, forward(engine, s, top))
}

/// The gradient of the scores from the gradient `g` of the output `y`.
///
/// # Panics
/// As [`soft_top_k`].
#[track_caller]
pub fn gradient(engine: &Engine, y: &Tensor, g: &Tensor, top: &SoftTopK) -> Tensor {
    if let Some(cuda) = y.cuda() {
        return cuda::losses::soft_top_k_back(cuda, y, g, top);
    }
    for_real!(y, backward(engine, y, g, top))
}

/// σ(x).
#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// The t at which Σ_j σ(α(s_j + t)) = k. More than k scores.
#[inline(always)]
fn shift<T: Real>(s: &[T], k: T, alpha: T) -> T {
    let far = T::of(10.0) / alpha;
    let lowest = -lanes::fold([s], T::NEG_INFINITY, |[s]| -s, |a, b| b.max(a));
    let (mut low, mut high) = (-lanes::max(s) - far, far - lowest);
    for _ in 0..HALVINGS {
        let middle = (low + high) * T::of(0.5);
        let sum = lanes::sum([s], |[s]| sigmoid(alpha * (s + middle)));
        (low, high) = if sum < k { (middle, high) } else { (low, middle) };
    }
    let mut t = (low + high) * T::of(0.5);
    for _ in 0..POLISH {
        let sum = lanes::sum([s], |[s]| sigmoid(alpha * (s + t)));
        let slope = lanes::sum([s], |[s]| {
            let y = sigmoid(alpha * (s + t));
            alpha * y * (T::ONE - y)
        });
        if slope > T::ZERO {
            t += (k - sum) / slope;
        }
    }
    t
}

impl SoftTopK {
    fn part(&self, i: usize, m: usize) -> impl Fn(usize) -> bool {
        let (positive, negative) = self.relevance.row(i, m);
        move |j| positive[j] || negative[j]
    }
}

fn forward<T: Real>(engine: &Engine, s: &Tensor, top: &SoftTopK) -> Tensor {
    let (m, data) = (s.shape().last(), s.data::<T>());
    let (k, alpha, rows) = (T::of(top.k), T::of(top.sharpness), (SCORES / m).max(1));
    let mut y = engine.buffer::<T>(s.len());
    engine.chunks(
        &mut y,
        rows * m,
        #[inline(always)]
        |chunk, y| {
            let mut here = Vec::with_capacity(m);
            for (r, y) in y.chunks_mut(m).enumerate() {
                let i = chunk * rows + r;
                let (scores, takes_part) = (&data[i * m..][..m], top.part(i, m));
                here.clear();
                here.extend((0..m).filter(|&j| takes_part(j)).map(|j| scores[j]));
                y.fill(T::ZERO);
                if T::of(here.len() as f64) <= k {
                    continue;
                }
                let t = shift(&here, k, alpha);
                for j in (0..m).filter(|&j| takes_part(j)) {
                    let x = alpha * (scores[j] + t);
                    // log σ(x) = −log(1 + e⁻ˣ), without overflow; a NaN stays one.
                    y[j] = -(T::ZERO.max(-x) + (-x.abs()).exp().ln_1p());
                }
            }
        },
    );
    Tensor::from_buf(s.shape(), y)
}

fn backward<T: Real>(engine: &Engine, y: &Tensor, g: &Tensor, top: &SoftTopK) -> Tensor {
    let (m, y_data, g) = (y.shape().last(), y.data::<T>(), g.data::<T>());
    let (alpha, rows) = (T::of(top.sharpness), (SCORES / m).max(1));
    let mut ds = engine.buffer::<T>(y.len());
    engine.chunks(
        &mut ds,
        rows * m,
        #[inline(always)]
        |chunk, ds| {
            let mut v = Vec::with_capacity(m);
            for (r, ds) in ds.chunks_mut(m).enumerate() {
                let i = chunk * rows + r;
                let (y, g) = (&y_data[i * m..][..m], &g[i * m..][..m]);
                // y = 0 is σ = 1: where nothing was computed u and v are exactly 0.
                v.clear();
                v.extend(y.iter().map(|&y| alpha * y.exp() * (T::ONE - y.exp())));
                ds.iter_mut().zip(y).zip(g).for_each(|((u, &y), &g)| *u = alpha * g * (T::ONE - y.exp()));
                let (u_sum, v_sum) = (lanes::sum([&*ds], |[u]| u), lanes::sum([&v], |[v]| v));
                if v_sum > T::ZERO {
                    let pull = u_sum / v_sum;
                    ds.iter_mut().zip(&v).for_each(|(u, &v)| *u -= v * pull);
                }
            }
        },
    );
    Tensor::from_buf(y.shape(), ds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calculated independently, by bisection in double precision.
    #[test]
    fn the_shift_is_where_the_members_add_up_to_k() {
        let s = [2.0, 1.0, 0.5, -1.0, 0.0];
        let t: f64 = shift(&s, 2.0, 2.0);
        assert!((t + 0.845_540).abs() < 5e-7, "{t}");
        let sum: f64 = s.iter().map(|s| sigmoid(2.0 * (s + t))).sum();
        assert!((sum - 2.0).abs() < 1e-12, "{sum}");
    }
}
