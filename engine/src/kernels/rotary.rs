//! Rotary positions (equations: `autograd/src/ops/rotary.rs`). Bound by bytes; the sines are made once for each
//! position.

use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;

/// Rows in one parallel chunk.
const ROWS: usize = 64;

/// Which way the pairs of channels turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// By +θ.
    Forward,
    /// By −θ: the gradient, since the transpose of a rotation is its inverse.
    Back,
}

/// Turns the pairs of channels of every head in rows `x` `[T, heads·d]` by angles that grow with `positions` `[T]`.
///
/// # Panics
/// If the rows are not as many as the positions, or d is not even.
#[track_caller]
pub fn rotary(
    engine: &Engine,
    x: &Tensor,
    positions: &[u32],
    (heads, base): (usize, f64),
    turn: Turn,
) -> Tensor {
    let (rows, width) = (x.shape().rows(), x.shape().last());
    assert!(rows == positions.len() && width.is_multiple_of(2 * heads), "rotary: {rows} rows of {width}");
    let table = angles(positions, width / heads, base, turn);
    if let Some(cuda) = x.cuda() {
        return cuda::rows::rotary(cuda, x, positions, heads, &table);
    }
    for_real!(x, on_cpu(engine, x, positions, heads, &table))
}

/// cos θ and sin θ of every position and pair: `[longest, d/2, 2]`. θ = position · base^(−2·pair/d).
fn angles(positions: &[u32], d: usize, base: f64, turn: Turn) -> Vec<f64> {
    let sign = if turn == Turn::Back { -1.0 } else { 1.0 };
    let speeds: Vec<f64> = (0..d / 2).map(|pair| sign * base.powf(-2.0 * pair as f64 / d as f64)).collect();
    let longest = positions.iter().max().map_or(0, |&last| last + 1);
    let pairs = (0..longest).flat_map(|position| speeds.iter().map(move |speed| f64::from(position) * speed));
    pairs.flat_map(|theta| [theta.cos(), theta.sin()]).collect()
}

fn on_cpu<T: Real>(engine: &Engine, x: &Tensor, positions: &[u32], heads: usize, table: &[f64]) -> Tensor {
    let (width, data) = (x.shape().last(), x.data::<T>());
    let (d, half) = (width / heads, width / heads / 2);
    let [cos, sin]: [Vec<T>; 2] = [0, 1].map(|at| table[at..].iter().step_by(2).map(|&v| T::of(v)).collect());
    let mut y = engine.buffer::<T>(data.len());
    engine.chunks(
        &mut y,
        ROWS * width,
        #[inline(always)]
        |chunk, y| {
            let rows = data[chunk * ROWS * width..].chunks(width).zip(&positions[chunk * ROWS..]);
            for (y, (x, &position)) in y.chunks_mut(width).zip(rows) {
                let at = position as usize * half;
                let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
                for (y, x) in y.chunks_mut(d).zip(x.chunks(d)) {
                    let ((y, y_high), (x, x_high)) = (y.split_at_mut(half), x.split_at(half));
                    for c in 0..half {
                        y[c] = x[c] * cos[c] - x_high[c] * sin[c];
                        y_high[c] = x_high[c] * cos[c] + x[c] * sin[c];
                    }
                }
            }
        },
    );
    Tensor::from_buf(x.shape(), y)
}
