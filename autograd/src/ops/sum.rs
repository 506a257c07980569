//! y = Σ x, over all elements or over the innermost dimension.
//!
//! ```text
//! x̄_i = ȳ        the same for every element that was added
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Forward, Keep, Op};
use crate::tape::Var;
use engine::kernels::broadcast::{broadcast, sum_to};
use engine::kernels::map::Map2;
use engine::{DType, Real, Shape, ShapeError, Tensor};

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
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let x = &cx.inputs[0];
        let to = if self.rows { x.shape().with_last(1) } else { Shape::from([]) };
        sum_to(cx.engine, x, to)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let zeros = match cx.grad.dtype() {
            DType::F64 => Tensor::from_buf(cx.shape(0), cx.engine.zeros::<f64>(cx.shape(0).len())),
            _ => Tensor::from_buf(cx.shape(0), cx.engine.zeros::<f32>(cx.shape(0).len())),
        };
        cx.give(0, broadcast(cx.engine, cx.grad, &zeros, First));
    }
}

struct First;
impl Map2 for First {
    fn at<T: Real>(&self, a: T, _: T) -> T {
        a
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "sum",
    cases: &[
        Case::new("all", &[In::normal(&[3, 4])], |x| x[0].sum()),
        Case::new("rows", &[In::normal(&[2, 3, 4])], |x| x[0].sum_rows()),
    ],
};
