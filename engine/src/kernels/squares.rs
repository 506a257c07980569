//! Sums of squares in f64, in an order that depends on sizes alone, and scaling in place.
//!
//! ```text
//! Σᵢ xᵢ²   in blocks of CHUNK numbers; in a block eight lanes (i mod 8), then a tree over lanes and blocks
//! ```
//! Bound by bytes: 4 a number of f32 to read.

use super::map::{CHUNK, Map1, map1};
use crate::cuda::{self, Function1};
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;

const LANES: usize = 8;

/// The sum as a balanced tree, so that its error grows with the logarithm of the length.
pub fn tree_sum(terms: &[f64]) -> f64 {
    match terms {
        [] => 0.0,
        [x] => *x,
        _ => {
            let (left, right) = terms.split_at(terms.len().next_power_of_two() / 2);
            tree_sum(left) + tree_sum(right)
        }
    }
}

/// The sums of squares of the blocks of each of them, one after another.
///
/// # Panics
/// If one holds no floats, or they lie on several devices.
#[track_caller]
pub fn block_squares(engine: &Engine, all: &[&Tensor]) -> Vec<f64> {
    fn run<T: Real>(engine: &Engine, x: &Tensor, blocks: &mut Vec<f64>) {
        let (data, first) = (x.data::<T>(), blocks.len());
        blocks.resize(first + data.len().div_ceil(CHUNK), 0.0);
        engine.chunks(
            &mut blocks[first..],
            1,
            #[inline(always)]
            |i, sum| {
                let block = &data[i * CHUNK..((i + 1) * CHUNK).min(data.len())];
                sum[0] = squares(block);
            },
        );
    }
    let there: Vec<&Tensor> = all.iter().copied().filter(|x| x.cuda().is_some()).collect();
    let mut fetched = cuda::of(&there).map_or(vec![], |cuda| cuda::optim::squares(cuda, &there)).into_iter();
    let mut blocks = vec![];
    for x in all {
        match x.cuda() {
            Some(_) => blocks.extend(fetched.by_ref().take(cuda::optim::blocks(x.len()))),
            None => for_real!(x, run(engine, x, &mut blocks)),
        }
    }
    blocks
}

#[inline(always)]
pub(super) fn squares<T: Real>(x: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for part in whole {
        for (lane, &x) in lanes.iter_mut().zip(part) {
            *lane += x.f64() * x.f64();
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x.f64() * x.f64();
    }
    tree_sum(&lanes)
}

/// x ← factor · x, in place; a shared tensor is replaced by its scaled copy.
///
/// # Panics
/// If `x` holds no floats.
#[track_caller]
pub fn scale_by(engine: &Engine, x: &mut Tensor, factor: f64) {
    struct Scale(f64);
    impl Map1 for Scale {
        #[inline(always)]
        fn at<T: Real>(&self, x: T) -> T {
            x * T::of(self.0)
        }
        fn on_device(&self) -> Option<Function1> {
            Some(Function1::Linear(self.0, 0.0))
        }
    }
    fn run<T: Real>(engine: &Engine, x: &mut Tensor, factor: f64) {
        let factor = T::of(factor);
        engine.chunks(
            x.data_mut::<T>(),
            CHUNK,
            #[inline(always)]
            |_, x| x.iter_mut().for_each(|x| *x *= factor),
        );
    }
    if !x.is_unique() {
        *x = map1(engine, x, Scale(factor));
        return;
    }
    if let Some(cuda) = x.cuda().cloned() {
        return cuda::map::map1_in_place(&cuda, x, Function1::Linear(factor, 0.0));
    }
    for_real!(x, run(engine, x, factor));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_integers_are_summed_exactly_with_any_number_of_threads() {
        // Σ i² = n(n+1)(2n+1)/6 is exact in f64 for these sizes; in f32 it would not be.
        for n in [0usize, 1, 7, 9, CHUNK, 3 * CHUNK + 11] {
            let x = Tensor::from_vec([n], (1..=n).map(|i| i as f32).collect());
            let two = Tensor::from_vec([1], vec![2.0f32]);
            for threads in [1, 3] {
                let blocks = block_squares(&Engine::new(threads), &[&two, &x]);
                let n = n as u64;
                assert_eq!(tree_sum(&blocks), (n * (n + 1) * (2 * n + 1) / 6 + 4) as f64);
            }
        }
    }

    #[test]
    fn a_shared_tensor_is_copied_before_it_is_scaled() {
        let engine = Engine::new(1);
        let mut x = Tensor::from_vec([2], vec![1.0f32, -3.0]);
        let other = x.clone();
        scale_by(&engine, &mut x, 0.5);
        let address = x.data::<f32>().as_ptr();
        scale_by(&engine, &mut x, 2.0);
        assert_eq!((x.to_f64(), other.to_f64()), (vec![1.0, -3.0], vec![1.0, -3.0]));
        assert_eq!(x.data::<f32>().as_ptr(), address, "a tensor of one owner stays where it is");
    }
}
