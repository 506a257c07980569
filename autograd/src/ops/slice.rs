//! y = x[.., range, ..], a part along a dimension.
//!
//! ```text
//! x̄ = ȳ in the range, 0 outside
//!
//! x [.., n, ..] → y [.., range, ..]
//! ```
//! Rows (dimension 0) are shared with x, not copied.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::slice::{padded, slice, with_dim};
use engine::{Shape, ShapeError, Tensor};
use std::ops::Range;

impl<'t> Var<'t> {
    /// The part `range` along dimension `axis`.
    ///
    /// # Panics
    /// If there is no such dimension, or the range leaves it.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Var<'t> {
        self.tape().apply(Slice { axis, range }, &[self])
    }
}

#[derive(Debug)]
struct Slice {
    axis: usize,
    range: Range<usize>,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let (x, range) = (inputs[0], &self.range);
        if self.axis >= x.rank() || range.start > range.end || range.end > x.dim(self.axis) {
            let rule = format!("dimension {} exists and holds {range:?}", self.axis);
            return Err(ShapeError::new(rule, inputs));
        }
        Ok(with_dim(x, self.axis, range.len()))
    }
    fn flops(&self, _: &Sizes<'_>) -> Flops {
        Flops::NOTHING
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        slice(cx.engine, &cx.inputs[0], self.axis, self.range.clone())
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, padded(cx.engine, cx.grad, cx.shape(0), self.axis, self.range.clone()));
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "slice",
    cases: &[
        Case::new("rows", &[In::normal(&[4, 3]).blocked(|i| !(1..3).contains(&(i / 3)))], |x| {
            x[0].slice(0, 1..3)
        }),
        Case::new("columns", &[In::normal(&[3, 5]).blocked(|i| i % 5 < 2)], |x| x[0].slice(1, 2..5)),
        Case::new("middle", &[In::normal(&[2, 3, 2]).blocked(|i| i / 2 % 3 != 1)], |x| x[0].slice(1, 1..2)),
        Case::new("everything", &[In::normal(&[3])], |x| x[0].slice(0, 0..3)),
        Case::new("overlapping", &[In::normal(&[4])], |x| x[0].slice(0, 0..3) * x[0].slice(0, 1..4)),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn a_slice_takes_what_ndarray_takes() {
        let x = Tensor::from_vec([2, 3, 4], (0..24).map(f64::from).collect());
        let view = x.view::<f64>();
        let tape = Tape::inference(&Engine::new(1));
        let leaf = tape.leaf(x.clone());
        for (axis, range) in [(0, 1..2), (1, 0..2), (2, 1..4), (2, 2..2)] {
            let mut want = view.clone();
            want.slice_axis_inplace(ndarray::Axis(axis), range.clone().into());
            assert_eq!(leaf.slice(axis, range).value().view::<f64>(), want);
        }
    }

    #[test]
    #[should_panic(expected = "slice: dimension 1 exists and holds 2..4; got [[2, 3]]")]
    fn a_range_outside_the_dimension_is_refused() {
        let tape = Tape::inference(&Engine::new(1));
        tape.leaf(Tensor::from_vec([2, 3], vec![0.0f32; 6])).slice(1, 2..4);
    }
}
