//! y = a − b, element by element, with broadcasting.
//!
//! ```text
//! ā = ȳ,  b̄ = −ȳ        summed over the dimensions in which a or b was repeated
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::broadcast::{broadcast, joined, sum_to};
use engine::kernels::map::{Map1, Map2, map1};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> std::ops::Sub for Var<'t> {
    type Output = Var<'t>;
    /// a − b. Shapes join as numpy's do.
    ///
    /// # Panics
    /// If two aligned dimensions differ and neither is 1.
    #[track_caller]
    fn sub(self, b: Var<'t>) -> Var<'t> {
        self.tape().apply(Sub, &[self, b])
    }
}

#[derive(Debug)]
struct Sub;

impl Op for Sub {
    fn name(&self) -> &'static str {
        "sub"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        joined(inputs[0], inputs[1])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let backward = n.wants(0) * n.repeats(0) + n.wants(1) * (n.repeats(1) + n.of(1));
        Flops { forward: n.out(), backward }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        broadcast(cx.engine, &cx.inputs[0], &cx.inputs[1], Minus)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        if cx.wants(0) {
            cx.give(0, sum_to(cx.engine, cx.grad, cx.shape(0)));
        }
        if cx.wants(1) {
            let sum = sum_to(cx.engine, cx.grad, cx.shape(1));
            cx.give(1, map1(cx.engine, &sum, Negative));
        }
    }
}

struct Minus;
impl Map2 for Minus {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a - b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Minus)
    }
}

struct Negative;
impl Map1 for Negative {
    fn at<T: Real>(&self, x: T) -> T {
        -x
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Linear(-1.0, 0.0))
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "sub",
    cases: &[
        Case::new("same shape", &[In::normal(&[3, 4]), In::normal(&[3, 4])], |x| x[0] - x[1]),
        Case::new("row repeated", &[In::normal(&[3, 4]), In::normal(&[4])], |x| x[0] - x[1]),
        Case::new("column repeated", &[In::normal(&[3, 1]), In::normal(&[2, 3, 4])], |x| x[0] - x[1]),
        Case::new("scalar", &[In::normal(&[]), In::normal(&[5])], |x| x[0] - x[1]),
    ],
};
