//! Dropout masks drawn from counters (equations: `autograd/src/ops/dropout.rs`). Bound by the integer arithmetic of
//! Philox: ten rounds for four numbers, sixteen counters at a time.

use crate::engine::Engine;
use crate::packed::Places;
use crate::random::philox;
use crate::real::Real;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Counters that are encrypted together.
const COUNTERS: usize = 16;
/// Words that they give.
const WORDS: usize = 4 * COUNTERS;
/// Rows in one parallel chunk.
const ROWS: usize = 32;

/// Which numbers to drop: a function of key and place, never stored, so that forward and backward draw the same.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// The share of numbers that become 0, in [0, 1). Kept numbers are scaled by 1/(1 − rate).
    pub rate: f32,
    /// [`crate::Stream::key`] of (run's seed, step, site in the model).
    pub key: [u32; 2],
    /// Where each row stands in the batch.
    pub places: Arc<Places>,
}

impl Dropout {
    /// Multiplies number `4·c + w` of `values` by 0 or by 1/(1 − rate), as word `w` of Philox at `counter(c)` says.
    #[inline(always)]
    pub(crate) fn apply<T: Real>(&self, values: &mut [T], counter: impl Fn(usize) -> [u32; 4]) {
        let dropped_below = (f64::from(self.rate) * 4_294_967_296.0) as u32;
        let scale = T::of(1.0 / (1.0 - f64::from(self.rate)));
        for (block, values) in values.chunks_mut(WORDS).enumerate() {
            let counters = [0, 1, 2, 3].map(|word| {
                let mut lane = [0; COUNTERS];
                lane.iter_mut().enumerate().for_each(|(l, x)| *x = counter(block * COUNTERS + l)[word]);
                lane
            });
            let words = philox_lanes(counters, self.key);
            for (l, values) in values.chunks_mut(4).enumerate() {
                for (value, word) in values.iter_mut().zip([0, 1, 2, 3].map(|w| words[w][l])) {
                    *value *= if word < dropped_below { T::ZERO } else { scale };
                }
            }
        }
    }
}

/// [`philox`] of sixteen counters, word by word: the same numbers, in a form that becomes vector code.
#[inline(always)]
fn philox_lanes(x: [[u32; COUNTERS]; 4], key: [u32; 2]) -> [[u32; COUNTERS]; 4] {
    let mut y = [[0; COUNTERS]; 4];
    for l in 0..COUNTERS {
        let words = philox([x[0][l], x[1][l], x[2][l], x[3][l]], key);
        (0..4).for_each(|w| y[w][l] = words[w]);
    }
    y
}

/// y = x ∘ mask/(1 − rate) for rows x; it is its own transpose.
///
/// # Panics
/// If there is not one place for every row of x, or x holds no floats.
#[track_caller]
pub fn dropout(engine: &Engine, x: &Tensor, dropout: &Dropout) -> Tensor {
    for_real!(x, run(engine, x, dropout))
}

fn run<T: Real>(engine: &Engine, x: &Tensor, dropout: &Dropout) -> Tensor {
    let (width, data, places) = (x.shape().last(), x.data::<T>(), &*dropout.places);
    assert_eq!(x.shape().rows(), places.slots.len(), "dropout: one place for every row");
    let mut y = engine.buffer::<T>(x.len());
    engine.chunks(
        &mut y,
        ROWS * width,
        #[inline(always)]
        |chunk, y| {
            y.copy_from_slice(&data[chunk * ROWS * width..][..y.len()]);
            for (i, y) in y.chunks_mut(width).enumerate() {
                let row = chunk * ROWS + i;
                let (slot, position) = (places.slots[row], places.positions[row]);
                dropout.apply(y, |c| [c as u32, position, slot, 0]);
            }
        },
    );
    Tensor::from_buf(x.shape(), y)
}
