//! Layer normalisation of rows (equations and derivation: `autograd/src/ops/layer_norm.rs`). Bound by bytes: forward
//! reads x and writes y, backward reads x and ȳ and writes x̄, and a row stays in the first cache between its passes.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::real::Real;
use crate::tensor::Tensor;

/// Rows in one parallel chunk, and in one partial sum of w̄ and b̄.
const ROWS: usize = 64;

/// y = (x − μ)·r·w + b for rows x, and the moments (μ, r) of each row: `[n, 2]`, r = 1/√(σ² + ε).
///
/// # Panics
/// If w and b are not as wide as x, or the types differ.
#[track_caller]
pub fn layer_norm(engine: &Engine, x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> (Tensor, Tensor) {
    if let Some(cuda) = x.cuda() {
        return cuda::rows::layer_norm(cuda, [x, w, b], eps);
    }
    for_real!(x, forward(engine, x, w, b, eps))
}

fn forward<T: Real>(engine: &Engine, x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> (Tensor, Tensor) {
    let (n, d) = (x.shape().rows(), x.shape().last());
    let (data, w, b) = (x.data::<T>(), &w.data::<T>()[..d], &b.data::<T>()[..d]);
    let (mut y, mut moments) = (engine.buffer::<T>(n * d), engine.buffer::<T>(n * 2));
    engine.chunks2(
        (&mut y, ROWS * d),
        (&mut moments, ROWS * 2),
        #[inline(always)]
        |chunk, y, moments| {
            let rows = data[chunk * ROWS * d..].chunks(d);
            for ((y, moments), x) in y.chunks_mut(d).zip(moments.chunks_mut(2)).zip(rows) {
                moments.copy_from_slice(&normed(x, w, b, eps, y));
            }
        },
    );
    (Tensor::from_buf(x.shape(), y), Tensor::from_buf([n, 2], moments))
}

/// The gradients (x̄, w̄, b̄).
///
/// # Panics
/// If the shapes or types differ from those of [`layer_norm`].
#[track_caller]
pub fn gradients(engine: &Engine, x: &Tensor, w: &Tensor, moments: &Tensor, g: &Tensor) -> [Tensor; 3] {
    if let Some(cuda) = x.cuda() {
        let (dx, _, [dw, db]) = cuda::rows::norm_back(cuda, [x, moments, w, g], None);
        return [dx, dw, db];
    }
    for_real!(x, backward(engine, x, w, moments, g))
}

fn backward<T: Real>(engine: &Engine, x: &Tensor, w: &Tensor, moments: &Tensor, g: &Tensor) -> [Tensor; 3] {
    let (n, d) = (x.shape().rows(), x.shape().last());
    let (data, g, w) = (x.data::<T>(), g.data::<T>(), &w.data::<T>()[..d]);
    let moments = moments.data::<T>();
    let mut dx = engine.buffer::<T>(n * d);
    let mut partial = engine.buffer::<T>(n.div_ceil(ROWS) * 2 * d);
    engine.chunks2(
        (&mut dx, ROWS * d),
        (&mut partial, 2 * d),
        #[inline(always)]
        |chunk, dx, partial| {
            partial.fill(T::ZERO);
            let rows = data[chunk * ROWS * d..].chunks(d).zip(g[chunk * ROWS * d..].chunks(d));
            for ((dx, m), (x, g)) in dx.chunks_mut(d).zip(moments[chunk * ROWS * 2..].chunks(2)).zip(rows) {
                pulled(x, w, [m[0], m[1]], g, dx, partial);
            }
        },
    );
    let [dw, db] = total(engine, &partial, d);
    [Tensor::from_buf(x.shape(), dx), dw, db]
}

/// Writes the row y of x, and gives its moments (μ, r).
#[inline(always)]
pub(super) fn normed<T: Real>(x: &[T], w: &[T], b: &[T], eps: f64, y: &mut [T]) -> [T; 2] {
    let per = T::of(1.0 / x.len() as f64);
    let mean = lanes::sum([x], |[x]| x) * per;
    let variance = lanes::sum([x], |[x]| (x - mean) * (x - mean)) * per;
    let r = T::ONE / (variance + T::of(eps)).sqrt();
    for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
        *y = (x - mean) * r * w + b;
    }
    [mean, r]
}

/// Writes the row x̄ and adds to w̄ and b̄, which lie one behind the other in `partial`.
#[inline(always)]
pub(super) fn pulled<T: Real>(x: &[T], w: &[T], [mean, r]: [T; 2], g: &[T], dx: &mut [T], partial: &mut [T]) {
    let (dw, db) = partial.split_at_mut(x.len());
    let per = T::of(1.0 / x.len() as f64);
    let a = r * per * lanes::sum([g, w], |[g, w]| g * w);
    let c = r * r * r * per * lanes::sum([g, w, x], |[g, w, x]| g * w * (x - mean));
    for (((dx, &x), &g), &w) in dx.iter_mut().zip(x).zip(g).zip(w) {
        *dx = r * (g * w) - a - c * (x - mean);
    }
    for (((dw, db), &x), &g) in dw.iter_mut().zip(db.iter_mut()).zip(x).zip(g) {
        *dw += g * (x - mean) * r;
        *db += g;
    }
}

/// The sums of the blocks of w̄ and b̄, one block after another.
pub(super) fn total<T: Real>(engine: &Engine, partial: &[T], d: usize) -> [Tensor; 2] {
    let mut sums = [engine.zeros::<T>(d), engine.zeros::<T>(d)];
    for part in partial.chunks(2 * d) {
        for (sum, part) in sums.iter_mut().zip(part.chunks(d)) {
            sum.iter_mut().zip(part).for_each(|(t, &p)| *t += p);
        }
    }
    sums.map(|sum| Tensor::from_buf([d], sum))
}
