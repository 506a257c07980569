//! y = Σ x, over all elements or over the innermost dimension.
//!
//! ```text
//! x̄_i = ȳ        the same for every element that was added
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::broadcast::sum_to;
use engine::kernels::mean::spread;
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// Σ over all elements: a scalar.
    #[track_caller]
    pub fn sum(self) -> Var<'t> {
        self.tape().apply(Sum { rows: false }, &[self])
    }
    /// Σ over the innermost dimension, which becomes 1: `[.., n]` → `[.., 1]`.
    #[track_caller]
    pub fn sum_rows(self) -> Var<'t> {
        self.tape().apply(Sum { rows: true }, &[self])
    }
}

#[derive(Debug)]
struct Sum {
    rows: bool,
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match (self.rows, inputs[0].rank()) {
            (false, _) => Ok(Shape::from([])),
            (true, 0) => Err(ShapeError::new("a row sum needs at least one dimension", inputs)),
            (true, _) => Ok(inputs[0].with_last(1)),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops { forward: n.of(0), backward: 0 }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let x = &cx.inputs[0];
        let to = if self.rows { x.shape().with_last(1) } else { Shape::from([]) };
        sum_to(cx.engine, x, to)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, spread(cx.engine, cx.grad, cx.shape(0), 1.0));
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "sum",
    cases: &[
        Case::new("all", &[In::normal(&[3, 4])], |x| x[0].sum()),
        Case::new("rows", &[In::normal(&[2, 3, 4])], |x| x[0].sum_rows()),
    ],
};
