//! The k largest numbers of every row, largest first; of equal ones the one that stands first.
//!
//! ```text
//! forward   y_r = x[i_r],  x[i_0] ≥ x[i_1] ≥ … ≥ x[i_{k−1}] ≥ all others
//! backward  x̄[i_r] = ȳ_r, else 0
//! ```
//! A selection in linear time, then a sort of k. Bound by bytes and by branches that nobody can predict.

use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::cmp::Ordering;

/// Rows in one parallel chunk.
const ROWS: usize = 8;

/// The values `[.., k]` and where in their row they stand, `[.., k]` of u32. A NaN counts as +∞, so that it shows.
///
/// # Panics
/// If `k` exceeds the row, or `x` holds no floats.
#[track_caller]
pub fn top_k(engine: &Engine, x: &Tensor, k: usize) -> (Tensor, Tensor) {
    assert!(k <= x.shape().last(), "top_k: {k} of {:?}", x.shape());
    if let Some(cuda) = x.cuda() {
        return cuda::losses::top_k(cuda, x, k);
    }
    for_real!(x, forward(engine, x, k))
}

/// Zeros of shape `to` (`[.., n]`) with `values` (`[.., k]`) where `places` says: x̄ from ȳ.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn top_k_back(engine: &Engine, to: Shape, places: &Tensor, values: &Tensor) -> Tensor {
    assert_eq!(places.shape(), values.shape(), "top_k: one place for each value");
    if let Some(cuda) = values.cuda() {
        return cuda::losses::top_k_back(cuda, to, places, values);
    }
    for_real!(values, backward(engine, to, places, values))
}

fn forward<T: Real>(engine: &Engine, x: &Tensor, k: usize) -> (Tensor, Tensor) {
    let (shape, width, data) = (x.shape().with_last(k), x.shape().last(), x.data::<T>());
    let (mut values, mut places) = (engine.buffer::<T>(shape.len()), engine.buffer::<u32>(shape.len()));
    let rows = ROWS * k;
    engine.chunks2((&mut values, rows), (&mut places, rows), |i, values, places| {
        let mut order = Vec::with_capacity(width);
        for (j, (values, places)) in values.chunks_mut(k).zip(places.chunks_mut(k)).enumerate() {
            let x = &data[(i * ROWS + j) * width..][..width];
            select(x, &mut order, places);
            values.iter_mut().zip(places).for_each(|(v, place)| *v = x[*place as usize]);
        }
    });
    (Tensor::from_buf(shape, values), Tensor::from_buf(shape, places))
}

/// The places of the `places.len()` largest numbers of `x`, in order. `order` is room to work in.
fn select<T: Real>(x: &[T], order: &mut Vec<u32>, places: &mut [u32]) {
    let key = |i: u32| {
        let x = x[i as usize];
        if x.partial_cmp(&x).is_none() { -T::NEG_INFINITY } else { x }
    };
    let first = |&a: &u32, &b: &u32| key(b).partial_cmp(&key(a)).unwrap_or(Ordering::Equal).then(a.cmp(&b));
    order.clear();
    order.extend(0..x.len() as u32);
    if places.len() < x.len() {
        order.select_nth_unstable_by(places.len(), first);
    }
    order[..places.len()].sort_unstable_by(first);
    places.copy_from_slice(&order[..places.len()]);
}

fn backward<T: Real>(engine: &Engine, to: Shape, places: &Tensor, values: &Tensor) -> Tensor {
    let (width, k) = (to.last(), values.shape().last());
    let (places, values, mut x) = (places.data::<u32>(), values.data::<T>(), engine.buffer::<T>(to.len()));
    engine.chunks(&mut x, ROWS * width, |i, x| {
        x.fill(T::ZERO);
        for (row, x) in (i * ROWS..).zip(x.chunks_mut(width)) {
            let row = row * k..(row + 1) * k;
            places[row.clone()].iter().zip(&values[row]).for_each(|(&place, &v)| x[place as usize] = v);
        }
    });
    Tensor::from_buf(to, x)
}
