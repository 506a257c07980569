//! Dropout masks drawn from counters (equations: `autograd/src/ops/dropout.rs`). Bound by the integer arithmetic of
//! Philox: ten rounds for four numbers, sixteen counters at a time.

use crate::cuda;
use crate::engine::{Engine, KernelClass};
use crate::packed::Places;
use crate::random::{M0, M1, W0, W1};
use crate::real::Real;
use crate::tensor::Tensor;
use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
mod avx512;

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
    /// A word below this drops its number.
    #[inline(always)]
    pub(crate) fn dropped_below(&self) -> u32 {
        (f64::from(self.rate) * 4_294_967_296.0) as u32
    }
    /// 1/(1 − rate).
    #[inline(always)]
    pub(crate) fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (1.0 - f64::from(self.rate)))
    }
    /// Multiplies number `4·c + w` of a row by 0 or by 1/(1 − rate), as word `w` of Philox at `[c, position, slot, 0]`
    /// says.
    #[inline(always)]
    pub(crate) fn mask_row<T: Real>(&self, class: KernelClass, row: &mut [T], position: u32, slot: u32) {
        #[cfg(target_arch = "x86_64")]
        if let (KernelClass::Avx512, Some(row)) = (class, T::singles(row)) {
            // SAFETY: the class of an engine is what `KernelClass::detect` found.
            return unsafe { self.mask_row_avx512(row, position, slot) };
        }
        self.apply(row, |c| [c as u32, position, slot, 0]);
    }
    /// Multiplies number `4·c + w` of `values` by 0 or by 1/(1 − rate), as word `w` of Philox at `counter(c)` says.
    #[inline(always)]
    pub(crate) fn apply<T: Real>(&self, values: &mut [T], counter: impl Fn(usize) -> [u32; 4]) {
        let (dropped_below, scale) = (self.dropped_below(), self.scale());
        for (block, values) in values.chunks_mut(WORDS).enumerate() {
            // Loops, not `map`: a closure that is not inlined would know the narrowest vectors only.
            let mut counters = [[0; COUNTERS]; 4];
            for l in 0..COUNTERS {
                let words = counter(block * COUNTERS + l);
                for (lanes, word) in counters.iter_mut().zip(words) {
                    lanes[l] = word;
                }
            }
            let words = philox_lanes(counters, self.key);
            for (l, values) in values.chunks_mut(4).enumerate() {
                for (w, value) in values.iter_mut().enumerate() {
                    *value *= if words[w][l] < dropped_below { T::ZERO } else { scale };
                }
            }
        }
    }
}

/// [`philox`](crate::random::philox) of sixteen counters, word by word: the same numbers, in a form that becomes vector
/// code. A product of 32 bits takes a lane of 64; numbers stay in such lanes, and what is in their upper halves does
/// not matter, for only the lower halves are multiplied.
#[inline(always)]
fn philox_lanes(x: [[u32; COUNTERS]; 4], key: [u32; 2]) -> [[u32; COUNTERS]; 4] {
    const LOW: u64 = u32::MAX as u64;
    let mut y = [[0; COUNTERS]; 4];
    for l in 0..COUNTERS {
        let mut x = [0, 1, 2, 3].map(|w| u64::from(x[w][l]));
        let mut key = key;
        for _ in 0..10 {
            let (a, b) = ((x[0] & LOW) * u64::from(M0), (x[2] & LOW) * u64::from(M1));
            x = [(b >> 32) ^ x[1] ^ u64::from(key[0]), b, (a >> 32) ^ x[3] ^ u64::from(key[1]), a];
            key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
        }
        for (y, x) in y.iter_mut().zip(x) {
            y[l] = x as u32;
        }
    }
    y
}

/// y = x ∘ mask/(1 − rate) for rows x; it is its own transpose.
///
/// # Panics
/// If there is not one place for every row of x, or x holds no floats.
#[track_caller]
pub fn dropout(engine: &Engine, x: &Tensor, dropout: &Dropout) -> Tensor {
    if let Some(cuda) = x.cuda() {
        let places = [dropout.places.slots(), dropout.places.positions()];
        assert!(places.iter().all(|p| p.len() == x.shape().rows()), "dropout: one place for every row");
        return cuda::rows::dropout(cuda, x, dropout);
    }
    for_real!(x, run(engine, x, dropout))
}

fn run<T: Real>(engine: &Engine, x: &Tensor, dropout: &Dropout) -> Tensor {
    let (width, data, places) = (x.shape().last(), x.data::<T>(), &*dropout.places);
    assert_eq!(x.shape().rows(), places.slots().len(), "dropout: one place for every row");
    let (mut y, class) = (engine.buffer::<T>(x.len()), engine.kernel_class());
    engine.chunks(
        &mut y,
        ROWS * width,
        #[inline(always)]
        |chunk, y| {
            y.copy_from_slice(&data[chunk * ROWS * width..][..y.len()]);
            for (i, y) in y.chunks_mut(width).enumerate() {
                let row = chunk * ROWS + i;
                let (slot, position) = (places.slots()[row], places.positions()[row]);
                dropout.mask_row(class, y, position, slot);
            }
        },
    );
    Tensor::from_buf(x.shape(), y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::philox;

    #[test]
    fn sixteen_counters_give_what_each_gives_alone() {
        let counter = |l: usize| [l as u32, u32::MAX - l as u32, 7 * l as u32, 0x8000_0001];
        let lanes = [0, 1, 2, 3].map(|w| std::array::from_fn(|l| counter(l)[w]));
        let (got, key) = (philox_lanes(lanes, [5, u32::MAX]), [5, u32::MAX]);
        let alone = |l: usize| philox(counter(l), key);
        assert!((0..COUNTERS).all(|l| got.map(|word| word[l]) == alone(l)));
    }

    #[test]
    fn every_kernel_class_draws_the_mask_of_the_definition() {
        let places = Arc::new(Places::rows(1, 0));
        let dropout = Dropout { rate: 0.4, key: [3, 9], places };
        for (width, class) in [1, 4, 15, 64, 70, 384]
            .into_iter()
            .flat_map(|w| [KernelClass::Portable, KernelClass::detect()].map(|class| (w, class)))
        {
            let mut row = vec![1f32; width];
            dropout.mask_row(class, &mut row, 11, 7);
            for (channel, &kept) in row.iter().enumerate() {
                let word = philox([channel as u32 / 4, 11, 7, 0], dropout.key)[channel % 4];
                let want =
                    if f64::from(word) < f64::from(0.4f32) * 4_294_967_296.0 { 0.0 } else { 1.0 / 0.6 };
                assert!((kept - want).abs() < 1e-6, "channel {channel} of {width}, {}", class.name());
            }
        }
    }
}
