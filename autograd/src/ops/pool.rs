//! One vector from the token vectors of each text: their mean, the first, or the largest number of every channel.
//!
//! ```text
//! forward    Mean   y_b = Σ_t x_t/n_b            t over the n_b tokens of text b       x [T, d] → y [B, d]
//!            First  y_b = x_{first token}
//!            Max    y_bc = max_t x_tc
//! backward   Mean   x̄_t = ȳ_b/n_b
//!            First  x̄_t = ȳ_b  for the first token, else 0
//!            Max    x̄_tc = ȳ_bc  where t is the first token that has the maximum, else 0
//! ```
//! A text without tokens gives zeros. Max saves which token won, since the maximum alone would not tell two that are
//! equal apart, and both would then get the gradient of one.

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
pub use engine::kernels::pool::Pool;
use engine::kernels::pool::{gradient, pool};
use engine::{Shape, ShapeError, Tensor};
use std::sync::Arc;

impl<'t> Var<'t> {
    /// One row for every text, `[T, d]` → `[B, d]`; text `b` is the rows `starts[b]..starts[b + 1]`.
    #[track_caller]
    pub fn pool(self, how: Pool, starts: Arc<[u32]>) -> Var<'t> {
        self.tape().apply(Pooled { how, starts }, &[self])
    }
}

#[derive(Debug)]
struct Pooled {
    how: Pool,
    starts: Arc<[u32]>,
}

/// Whether `starts` cuts `tokens` rows into texts: from 0 to the end, never falling.
pub(super) fn cuts(starts: &[u32], tokens: usize) -> bool {
    starts.first() == Some(&0)
        && starts.last().is_some_and(|&end| end as usize == tokens)
        && starts.is_sorted()
}

impl Op for Pooled {
    fn name(&self) -> &'static str {
        "pool"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let x = inputs[0];
        if x.rank() != 2 || x.dim(1) == 0 || !cuts(&self.starts, x.dim(0)) {
            return Err(ShapeError::new("x is [T, d], d > 0, and starts run from 0 to T", inputs));
        }
        Ok(Shape::from([self.starts.len() - 1, x.dim(1)]))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        match self.how {
            Pool::Mean => Flops { forward: n.of(0) + n.out(), backward: n.out() },
            Pool::First => Flops::NOTHING,
            Pool::Max => Flops { forward: n.of(0), backward: 0 },
        }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (y, winners) = pool(cx.engine, &cx.inputs[0], &self.starts, self.how);
        winners.into_iter().for_each(|w| cx.save(w));
        y
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let winners = (self.how == Pool::Max).then(|| cx.saved(0));
        cx.give(0, gradient(cx.engine, cx.grad, &self.starts, self.how, winners));
    }
}

/// Texts of 3, 1, 0 and 2 tokens.
const STARTS: [u32; 5] = [0, 3, 4, 4, 6];

pub(super) const ENTRY: Entry = Entry {
    name: "pool",
    cases: &[
        Case::new("mean", &[In::normal(&[6, 5])], |x| x[0].pool(Pool::Mean, Arc::new(STARTS))),
        Case::new("first", &[In::normal(&[6, 5]).blocked(|i| ![0, 3, 4].contains(&(i / 5)))], |x| {
            x[0].pool(Pool::First, Arc::new(STARTS))
        }),
        // Two tokens at most, so that each of them wins for some seed.
        Case::new("max", &[In::drawn(&[5, 3], Draw::Distinct(0.1))], |x| {
            x[0].pool(Pool::Max, Arc::new([0, 2, 3, 3, 5]))
        }),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    #[track_caller]
    fn check(how: Pool, want: [f64; 8], want_grad: [f64; 12]) {
        let tape = Tape::new(&Engine::poisoned(2));
        let x = [1.0, 9.0, 4.0, 2.0, 4.0, -9.0, 5.0, 6.0, -1.0, -2.0, -1.0, -4.0f32];
        let x = tape.leaf(Tensor::from_vec([6, 2], x.to_vec()));
        let y = x.pool(how, Arc::new(STARTS));
        assert_eq!(y.value().to_f64(), want);
        let seed = (1..=8).map(|i| 6.0 * i as f32).collect();
        let grads = tape.backward(vec![(y, Tensor::from_vec([4, 2], seed))]);
        assert_eq!(grads.of(x).to_f64(), want_grad);
    }

    #[test]
    fn ragged_texts_are_pooled_and_ties_go_to_the_first() {
        let mean = [3.0, 2.0 / 3.0, 5.0, 6.0, 0.0, 0.0, -1.0, -3.0].map(|x| f64::from(x as f32));
        check(Pool::Mean, mean, [2.0, 4.0, 2.0, 4.0, 2.0, 4.0, 18.0, 24.0, 21.0, 24.0, 21.0, 24.0]);
        let first = [1.0, 9.0, 5.0, 6.0, 0.0, 0.0, -1.0, -2.0];
        check(Pool::First, first, [6.0, 12.0, 0.0, 0.0, 0.0, 0.0, 18.0, 24.0, 42.0, 48.0, 0.0, 0.0]);
        let max = [4.0, 9.0, 5.0, 6.0, 0.0, 0.0, -1.0, -2.0];
        check(Pool::Max, max, [0.0, 12.0, 6.0, 0.0, 0.0, 0.0, 18.0, 24.0, 42.0, 48.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "pool: x is [T, d], d > 0, and starts run from 0 to T; got [[5, 2]]")]
    fn starts_must_reach_the_end() {
        let tape = Tape::new(&Engine::new(1));
        tape.leaf(Tensor::from_vec([5, 2], vec![0.0f32; 10])).pool(Pool::Mean, Arc::new(STARTS));
    }
}
