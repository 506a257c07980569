//! Dropout, sum and layer normalisation of a row in one pass (equations: `autograd/src/ops/residual_norm.rs`). Bound by
//! bytes: forward reads x and r and writes the sum and y; backward reads the sum and ȳ and writes x̄ and r̄. In three
//! steps it would be twice as many.

use crate::cuda;
use crate::engine::{Engine, parts};
use crate::kernels::dropout::Dropout;
use crate::kernels::layer_norm::{normed, pulled, total};
use crate::real::Real;
use crate::tensor::Tensor;

/// Rows in one parallel chunk, and in one partial sum of w̄ and b̄.
const ROWS: usize = 64;

/// Where the chunks of rows are cut, for rows of `width` numbers.
fn cuts(rows: usize, width: usize) -> Vec<usize> {
    (0..=rows.div_ceil(ROWS)).map(|chunk| (chunk * ROWS).min(rows) * width).collect()
}

/// Whether a dropout, if there is one, has a place for every row.
fn places_fit(dropout: Option<&Dropout>, x: &Tensor) -> bool {
    let rows = x.shape().rows();
    dropout.is_none_or(|d| d.places.slots().len() == rows && d.places.positions().len() == rows)
}

/// y, the sum s = x + m ∘ r/(1 − rate), and the moments (μ, 1/√(σ² + ε)) of its rows, `[n, 2]`.
///
/// # Panics
/// If x and r differ, w and b are not as wide, or there is not one place for every row.
#[track_caller]
pub fn residual_norm(
    engine: &Engine,
    [x, r, w, b]: [&Tensor; 4],
    dropout: Option<&Dropout>,
    eps: f64,
) -> [Tensor; 3] {
    if let Some(cuda) = x.cuda() {
        assert!(
            x.shape() == r.shape() && places_fit(dropout, x),
            "residual_norm: one row and one place for each"
        );
        return cuda::rows::residual_norm(cuda, [x, r, w, b], dropout, eps);
    }
    for_real!(x, forward(engine, [x, r, w, b], dropout, eps))
}

fn forward<T: Real>(
    engine: &Engine,
    inputs: [&Tensor; 4],
    dropout: Option<&Dropout>,
    eps: f64,
) -> [Tensor; 3] {
    let (n, d, class) = (inputs[0].shape().rows(), inputs[0].shape().last(), engine.kernel_class());
    let [x, r, w, b] = inputs.map(|t| t.data::<T>());
    let (mut y, mut s, mut moments) =
        (engine.buffer::<T>(n * d), engine.buffer::<T>(n * d), engine.buffer::<T>(n * 2));
    let chunks = parts([&mut y, &mut s], &cuts(n, d)).into_iter().zip(parts([&mut moments], &cuts(n, 2)));
    engine.each(
        chunks.collect(),
        #[inline(always)]
        |chunk, ([y, s], [moments])| {
            let outputs = y.chunks_mut(d).zip(s.chunks_mut(d)).zip(moments.chunks_mut(2));
            for (row, ((y, s), moments)) in (chunk * ROWS..).zip(outputs) {
                let at = row * d..(row + 1) * d;
                let (x, r) = (&x[at.clone()], &r[at]);
                if let Some(dropout) = dropout {
                    s.copy_from_slice(r);
                    dropout.mask_row(class, s, dropout.places.positions()[row], dropout.places.slots()[row]);
                    s.iter_mut().zip(x).for_each(|(s, &x)| *s += x);
                } else {
                    s.iter_mut().zip(x).zip(r).for_each(|((s, &x), &r)| *s = r + x);
                }
                moments.copy_from_slice(&normed(s, w, b, eps, y));
            }
        },
    );
    [
        Tensor::from_buf(inputs[0].shape(), y),
        Tensor::from_buf(inputs[0].shape(), s),
        Tensor::from_buf([n, 2], moments),
    ]
}

/// The gradients (x̄, r̄, w̄, b̄). Without dropout r̄ is x̄.
///
/// # Panics
/// If the shapes or types differ from those of [`residual_norm`].
#[track_caller]
pub fn gradients(
    engine: &Engine,
    [s, moments, w, g]: [&Tensor; 4],
    dropout: Option<&Dropout>,
) -> [Tensor; 4] {
    if let Some(cuda) = s.cuda() {
        let (ds, branch, [dw, db]) = cuda::rows::norm_back(cuda, [s, moments, w, g], dropout);
        let branch = branch.unwrap_or_else(|| ds.clone());
        return [ds, branch, dw, db];
    }
    for_real!(s, backward(engine, [s, moments, w, g], dropout))
}

fn backward<T: Real>(engine: &Engine, given: [&Tensor; 4], dropout: Option<&Dropout>) -> [Tensor; 4] {
    let (shape, class) = (given[0].shape(), engine.kernel_class());
    let (n, d) = (shape.rows(), shape.last());
    let [s, moments, w, g] = given.map(|t| t.data::<T>());
    let mut dx = engine.buffer::<T>(n * d);
    let mut dr = engine.buffer::<T>(if dropout.is_some() { n * d } else { 0 });
    let mut partial = engine.buffer::<T>(n.div_ceil(ROWS) * 2 * d);
    let sums: Vec<usize> = (0..=n.div_ceil(ROWS)).map(|chunk| chunk * 2 * d).collect();
    // Without dropout the second output is empty, and so is each of its parts.
    let masked = cuts(n, if dropout.is_some() { d } else { 0 });
    let outputs = parts([&mut dx], &cuts(n, d)).into_iter().zip(parts([&mut dr], &masked));
    let chunks = outputs.zip(parts([&mut partial], &sums));
    engine.each(
        chunks.collect(),
        #[inline(always)]
        |chunk, (([dx], [dr]), [partial])| {
            partial.fill(T::ZERO);
            for (row, dx) in (chunk * ROWS..).zip(dx.chunks_mut(d)) {
                let at = row * d..(row + 1) * d;
                let moments = [moments[2 * row], moments[2 * row + 1]];
                pulled(&s[at.clone()], w, moments, &g[at], dx, partial);
                if let Some(dropout) = dropout {
                    let dr = &mut dr[(row - chunk * ROWS) * d..][..d];
                    dr.copy_from_slice(dx);
                    dropout.mask_row(class, dr, dropout.places.positions()[row], dropout.places.slots()[row]);
                }
            }
        },
    );
    let [dw, db] = total(engine, &partial, d);
    let dx = Tensor::from_buf(shape, dx);
    let dr = if dropout.is_some() { Tensor::from_buf(shape, dr) } else { dx.clone() };
    [dx, dr, dw, db]
}
