//! y = the k largest numbers of every row, largest first.
//!
//! ```text
//! y_r = x[i_r],  x[i_0] ≥ x[i_1] ≥ … ≥ x[i_{k−1}] ≥ all others; of equal numbers the first
//! x̄[i_r] = ȳ_r, else 0
//!
//! x [.., n] → y [.., k]
//! ```
//! The places are saved, not the input: k numbers a row instead of n. Where two numbers change places the derivative
//! jumps; the rule for ties decides it, the same way every time.

use super::Entry;
use crate::gradcheck::{Case, Draw, In, constant};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::top_k::{top_k, top_k_back};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The `k` largest numbers of every row, descending, ties by lower index: `[.., n]` → `[.., k]`. A NaN counts as
    /// +∞, so that it shows.
    ///
    /// # Panics
    /// If this is a scalar, or `k` is 0 or exceeds the row.
    #[track_caller]
    pub fn top_k(self, k: usize) -> Var<'t> {
        self.tape().apply(TopK { k }, &[self])
    }
}

#[derive(Debug)]
struct TopK {
    k: usize,
}

impl Op for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if inputs[0].rank() == 0 || self.k == 0 || self.k > inputs[0].last() {
            return Err(ShapeError::new(format!("rows of at least k = {} > 0 numbers", self.k), inputs));
        }
        Ok(inputs[0].with_last(self.k))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // Each number is compared with the least of the k so far.
        Flops { forward: n.of(0), backward: 0 }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (values, places) = top_k(cx.engine, &cx.inputs[0], self.k);
        cx.save(places);
        values
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, top_k_back(cx.engine, cx.shape(0), cx.saved(0), cx.grad));
    }
}

const APART: Draw = Draw::Distinct(0.1);

pub(super) const ENTRY: Entry = Entry {
    name: "top_k",
    cases: &[
        Case::new("rows", &[In::drawn(&[3, 4], APART)], |x| x[0].top_k(2)),
        Case::new("batch", &[In::drawn(&[2, 2, 3], APART)], |x| x[0].top_k(2)),
        Case::new("whole row", &[In::drawn(&[5], APART)], |x| x[0].top_k(5)),
        Case::new("single column", &[In::drawn(&[3, 1], APART)], |x| x[0].top_k(1)),
        // The last column lies far below the others of its row.
        Case::new("never chosen", &[In::drawn(&[2, 3], APART).blocked(|i| i % 3 == 2)], |x| {
            let low = constant(x[0], &[3], &[0.0, 0.0, -100.0]);
            (x[0] + x[0].tape().constant(low)).top_k(2)
        }),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    #[test]
    fn the_largest_come_first_and_ties_go_to_the_lower_index() {
        let engine = Engine::new(1);
        let x = Tensor::from_vec([2, 4], vec![1.0f32, 3.0, 3.0, 2.0, 0.0, -1.0, f32::NAN, 0.0]);
        let (values, places) = top_k(&engine, &x, 3);
        assert_eq!(values.data::<f32>()[..3], [3.0, 3.0, 2.0]);
        assert_eq!(places.data::<u32>(), [1, 2, 3, 2, 0, 3]);
        assert!(values.data::<f32>()[3].is_nan());
    }

    #[test]
    fn many_rows_agree_with_a_full_sort() {
        let (rows, n, k) = (50, 37, 9);
        let stream = engine::Stream::new(5, 1);
        let x: Vec<f64> = (0..rows * n).map(|i| (stream.uniform(i) * 20.0).floor()).collect();
        let tape = Tape::inference(&Engine::new(3));
        let (rows, n) = (rows as usize, n as usize);
        let y = tape.leaf(Tensor::from_vec([rows, n], x.clone())).top_k(k).value().to_f64();
        for (x, y) in x.chunks(n).zip(y.chunks(k)) {
            let mut sorted = x.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            assert_eq!(y, &sorted[..k]);
        }
    }
}
