//! Parts of tensors along one dimension: cut out, put among zeros, joined. Bound by bytes.
//!
//! Around dimension `axis` a tensor is `[outer, n, inner]`: for every outer index, `n · inner` numbers lie together,
//! so each of the three is a loop of copies.

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::map::CHUNK;
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::ops::Range;

/// The shape with another dimension `axis`.
#[track_caller]
pub fn with_dim(shape: Shape, axis: usize, n: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[axis] = n;
    Shape::new(&dims)
}

/// The numbers of one outer index: `n · inner`.
fn run_of(shape: Shape, axis: usize) -> usize {
    shape.dims()[axis..].iter().product()
}

/// Where the part `range` begins and how long it is, in the numbers of one outer index.
fn part_of(shape: Shape, axis: usize, range: &Range<usize>) -> (usize, usize) {
    let inner: usize = shape.dims()[axis + 1..].iter().product();
    (range.start * inner, range.len() * inner)
}

/// `f(outer index, its numbers)` for all `y`, in parallel, many short runs to a chunk.
fn each_run<T: Real>(engine: &Engine, y: &mut [T], run: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let (run, block) = (run.max(1), (CHUNK / run.max(1)).max(1));
    engine.chunks(y, block * run, |i, y| {
        (i * block..).zip(y.chunks_mut(run)).for_each(|(outer, y)| f(outer, y));
    });
}

/// `x[.., range, ..]` along `axis`. Along the outermost dimension nothing is copied.
///
/// # Panics
/// If the range leaves the dimension.
#[track_caller]
pub fn slice(engine: &Engine, x: &Tensor, axis: usize, range: Range<usize>) -> Tensor {
    if axis == 0 {
        return x.rows(range);
    }
    if let Some(cuda) = x.cuda() {
        let (run, (start, part)) = (run_of(x.shape(), axis), part_of(x.shape(), axis, &range));
        let y = cuda.floats(with_dim(x.shape(), axis, range.len()));
        let n = x.len().checked_div(run).unwrap_or(0);
        cuda::rows::runs(cuda, &y, x, (n, part), [(part, 0), (run, start)]);
        return y;
    }
    for_real!(x, slice_real(engine, x, axis, range))
}

fn slice_real<T: Real>(engine: &Engine, x: &Tensor, axis: usize, range: Range<usize>) -> Tensor {
    let (run, (start, part)) = (run_of(x.shape(), axis), part_of(x.shape(), axis, &range));
    let (to, data) = (with_dim(x.shape(), axis, range.len()), x.data::<T>());
    let mut y = engine.buffer::<T>(to.len());
    each_run(engine, &mut y, part, |i, y| y.copy_from_slice(&data[i * run + start..][..part]));
    Tensor::from_buf(to, y)
}

/// Zeros of shape `to` with `part` at `range` along `axis`: the transpose of [`slice()`].
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn padded(engine: &Engine, part: &Tensor, to: Shape, axis: usize, range: Range<usize>) -> Tensor {
    if let Some(cuda) = part.cuda() {
        let (run, (start, len), y) = (run_of(to, axis), part_of(to, axis, &range), cuda.zeros(to));
        let n = to.len().checked_div(run).unwrap_or(0);
        cuda::rows::runs(cuda, &y, part, (n, len), [(run, start), (len, 0)]);
        return y;
    }
    for_real!(part, padded_real(engine, part, to, axis, range))
}

fn padded_real<T: Real>(
    engine: &Engine,
    part: &Tensor,
    to: Shape,
    axis: usize,
    range: Range<usize>,
) -> Tensor {
    let (run, (start, len)) = (run_of(to, axis), part_of(to, axis, &range));
    let (mut y, data) = (engine.buffer::<T>(to.len()), part.data::<T>());
    each_run(engine, &mut y, run, |i, y| {
        y[..start].fill(T::ZERO);
        y[start..start + len].copy_from_slice(&data[i * len..][..len]);
        y[start + len..].fill(T::ZERO);
    });
    Tensor::from_buf(to, y)
}

/// The parts one after another along `axis`.
///
/// # Panics
/// If there is no part, or the other dimensions or the types differ.
#[track_caller]
pub fn concat(engine: &Engine, parts: &[Tensor], axis: usize) -> Tensor {
    if let Some(cuda) = cuda::of(&parts.iter().collect::<Vec<_>>()) {
        let n = parts.iter().map(|p| p.shape().dim(axis)).sum();
        let to = with_dim(parts[0].shape(), axis, n);
        let (y, run, mut start) = (cuda.floats(to), run_of(to, axis), 0);
        for part in parts {
            let len = run_of(part.shape(), axis);
            let n = to.len().checked_div(run).unwrap_or(0);
            cuda::rows::runs(cuda, &y, part, (n, len), [(run, start), (len, 0)]);
            start += len;
        }
        return y;
    }
    for_real!(parts[0], concat_real(engine, parts, axis))
}

fn concat_real<T: Real>(engine: &Engine, parts: &[Tensor], axis: usize) -> Tensor {
    let n = parts.iter().map(|p| p.shape().dim(axis)).sum();
    let to = with_dim(parts[0].shape(), axis, n);
    let mut y = engine.buffer::<T>(to.len());
    each_run(engine, &mut y, run_of(to, axis), |i, mut y| {
        for part in parts {
            let run = run_of(part.shape(), axis);
            let (head, tail) = y.split_at_mut(run);
            head.copy_from_slice(&part.data::<T>()[i * run..][..run]);
            y = tail;
        }
    });
    Tensor::from_buf(to, y)
}
