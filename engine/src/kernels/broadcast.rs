//! Arithmetic between tensors of different shapes, by the rule of numpy: shapes are aligned at their last dimension,
//! and a dimension of 1 (or a missing one) is repeated. Bound by bytes.
//!
//! ```text
//! forward   y[i] = f(a[i mod a's shape], b[i mod b's shape])
//! backward  ā = Σ over the repeated dimensions of ȳ ∂f/∂a          (`sum_to`)
//! ```

use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::kernels::map::{CHUNK, Map2, map2, on_device};
use crate::real::Real;
use crate::shape::{RANK_MAX, Shape, ShapeError};
use crate::tensor::Tensor;

/// The shape of `a ∘ b`.
///
/// # Errors
/// If two aligned dimensions differ and neither is 1.
pub fn joined(a: Shape, b: Shape) -> Result<Shape, ShapeError> {
    let rank = a.rank().max(b.rank());
    let mut dims = [1; RANK_MAX];
    for (i, dim) in dims[..rank].iter_mut().enumerate() {
        let of = |s: Shape| (i + s.rank()).checked_sub(rank).map_or(1, |j| s.dim(j));
        *dim = match (of(a), of(b)) {
            (m, n) if m == n => m,
            (1, n) => n,
            (m, 1) => m,
            _ => return Err(ShapeError::new("aligned dimensions are equal or 1", &[a, b])),
        };
    }
    Ok(Shape::new(&dims[..rank]))
}

/// Strides of `from` when walked in the dimensions of `to`: 0 where a dimension is repeated.
fn strides(from: Shape, to: Shape) -> [usize; RANK_MAX] {
    let mut strides = [0; RANK_MAX];
    let mut step = 1;
    for back in 1..=from.rank() {
        let dim = from.dim(from.rank() - back);
        strides[to.rank() - back] = if dim == 1 { 0 } else { step };
        step *= dim;
    }
    strides
}

/// Where the row `row` of a tensor of shape `to` starts in a tensor with these strides.
fn row_offset(mut row: usize, to: Shape, strides: &[usize; RANK_MAX]) -> usize {
    let mut offset = 0;
    for d in (0..to.rank().saturating_sub(1)).rev() {
        offset += row % to.dim(d) * strides[d];
        row /= to.dim(d);
    }
    offset
}

/// f over the broadcast pairs of `a` and `b`.
///
/// # Panics
/// If the shapes do not join, or the types differ or are no floats.
#[track_caller]
pub fn broadcast(engine: &Engine, a: &Tensor, b: &Tensor, f: impl Map2) -> Tensor {
    fn run<T: Real>(engine: &Engine, a: &Tensor, b: &Tensor, f: impl Map2) -> Tensor {
        let to = joined(a.shape(), b.shape()).unwrap_or_else(|e| panic!("broadcast: {e}"));
        let (sa, sb, width) = (strides(a.shape(), to), strides(b.shape(), to), to.last().max(1));
        let inner = to.rank().saturating_sub(1);
        let (data_a, data_b) = (a.data::<T>(), b.data::<T>());
        let rows = (CHUNK / width).max(1);
        let mut y = engine.buffer::<T>(to.len());
        engine.chunks(
            &mut y,
            rows * width,
            #[inline(always)]
            |chunk, y| {
                for (i, y) in y.chunks_mut(width).enumerate() {
                    let row = chunk * rows + i;
                    let (a, b) = (&data_a[row_offset(row, to, &sa)..], &data_b[row_offset(row, to, &sb)..]);
                    match (sa[inner] == 0, sb[inner] == 0) {
                        (false, false) => {
                            y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f.at(a, b))
                        }
                        (true, false) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = f.at(a[0], b)),
                        (false, true) => y.iter_mut().zip(a).for_each(|(y, &a)| *y = f.at(a, b[0])),
                        (true, true) => y.fill(f.at(a[0], b[0])),
                    }
                }
            },
        );
        Tensor::from_buf(to, y)
    }
    if a.shape() == b.shape() {
        return map2(engine, a, b, f);
    }
    if let Some(cuda) = cuda::of(&[a, b]) {
        let to = joined(a.shape(), b.shape()).unwrap_or_else(|e| panic!("broadcast: {e}"));
        return cuda::map::broadcast(cuda, a, b, to, on_device(&f, f.on_device()));
    }
    for_real!(a, run(engine, a, b, f))
}

/// Sums `x` over the dimensions in which `shape` was repeated to reach the shape of `x`.
///
/// Rows are added in blocks of a fixed size and the blocks one after another, so the bits do not depend on threads.
///
/// # Panics
/// If `shape` does not broadcast to the shape of `x`, or `x` holds no floats.
#[track_caller]
pub fn sum_to(engine: &Engine, x: &Tensor, shape: Shape) -> Tensor {
    if let (Some(cuda), true) = (x.cuda(), x.shape() != shape) {
        return cuda::map::sum_to(cuda, x, shape);
    }
    for_real!(x, sum_to_real(engine, x, shape))
}

fn sum_to_real<T: Real>(engine: &Engine, x: &Tensor, shape: Shape) -> Tensor {
    if x.shape() == shape {
        return x.clone();
    }
    let from = x.shape();
    let (steps, width, data) = (strides(shape, from), from.last().max(1), x.data::<T>());
    let inner = steps[from.rank().saturating_sub(1)];
    let rows = data.len() / width;
    let block = (4 * CHUNK / width).max(1);
    let partial = engine.map(rows.div_ceil(block), |b| {
        let mut sum = engine.zeros::<T>(shape.len());
        engine.vectorised(
            #[inline(always)]
            || {
                for row in b * block..((b + 1) * block).min(rows) {
                    let (x, to) = (&data[row * width..][..width], row_offset(row, from, &steps));
                    if inner == 0 {
                        sum[to] += lanes::sum([x], |[x]| x);
                    } else {
                        sum[to..][..width].iter_mut().zip(x).for_each(|(s, &x)| *s += x);
                    }
                }
            },
        );
        sum
    });
    let mut total = engine.zeros::<T>(shape.len());
    for part in &partial {
        total.iter_mut().zip(part.iter()).for_each(|(t, &p)| *t += p);
    }
    Tensor::from_buf(shape, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Times;
    impl Map2 for Times {
        fn at<T: Real>(&self, a: T, b: T) -> T {
            a * b
        }
    }

    #[track_caller]
    fn check(a: &[usize], b: &[usize], want: &[usize]) {
        assert_eq!(joined(Shape::new(a), Shape::new(b)), Ok(Shape::new(want)));
        let engine = Engine::new(2);
        let fill = |dims: &[usize], from: f64| {
            let shape = Shape::new(dims);
            Tensor::from_vec(shape, (0..shape.len()).map(|i| from + i as f64).collect())
        };
        let (a, b) = (fill(a, 1.0), fill(b, 10.0));
        // ndarray broadcasts by the same rule and knows nothing of ours.
        let (va, vb) = (a.view::<f64>(), b.view::<f64>());
        let (va, vb) = (va.broadcast(want).expect("joins"), vb.broadcast(want).expect("joins"));
        assert_eq!(broadcast(&engine, &a, &b, Times).view::<f64>(), &va * &vb);
        let y = fill(want, 0.5);
        let back = sum_to(&engine, &y, a.shape());
        let dot = |x: &Tensor, y: &Tensor| x.to_f64().iter().zip(y.to_f64()).map(|(x, y)| x * y).sum::<f64>();
        let spread = Tensor::from_array(va.to_owned());
        assert!((dot(&back, &a) - dot(&y, &spread)).abs() < 1e-6, "sum_to is the transpose of repeating");
    }

    #[test]
    fn broadcasting_follows_numpy() {
        check(&[2, 3], &[3], &[2, 3]);
        check(&[2, 3], &[2, 1], &[2, 3]);
        check(&[4], &[], &[4]);
        check(&[2, 1, 4], &[3, 1], &[2, 3, 4]);
        check(&[5, 1], &[1, 4], &[5, 4]);
        check(&[1, 1], &[], &[1, 1]);
        assert!(joined(Shape::from([2, 3]), Shape::from([2])).is_err());
    }
}
