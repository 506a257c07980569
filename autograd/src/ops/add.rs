//! y = a + b, element by element, with broadcasting.
//!
//! ```text
//! ā = ȳ,  b̄ = ȳ        summed over the dimensions in which a or b was repeated
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::Function2;
use engine::kernels::broadcast::{broadcast, joined, sum_to};
use engine::kernels::map::Map2;
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> std::ops::Add for Var<'t> {
    type Output = Var<'t>;
    /// a + b. Shapes join as numpy's do.
    #[track_caller]
    fn add(self, b: Var<'t>) -> Var<'t> {
        self.tape().apply(Add, &[self, b])
    }
}

#[derive(Debug)]
struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        joined(inputs[0], inputs[1])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops { forward: n.out(), backward: n.wants(0) * n.repeats(0) + n.wants(1) * n.repeats(1) }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        broadcast(cx.engine, &cx.inputs[0], &cx.inputs[1], Plus)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        for i in 0..2 {
            if cx.wants(i) {
                cx.give(i, sum_to(cx.engine, cx.grad, cx.shape(i)));
            }
        }
    }
}

struct Plus;
impl Map2 for Plus {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a + b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Plus)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "add",
    cases: &[
        Case::new("same shape", &[In::normal(&[3, 4]), In::normal(&[3, 4])], |x| x[0] + x[1]),
        Case::new("a value with itself", &[In::normal(&[4])], |x| x[0] + x[0]),
        Case::new("row repeated", &[In::normal(&[3, 4]), In::normal(&[4])], |x| x[0] + x[1]),
        Case::new("both repeated", &[In::normal(&[3, 1]), In::normal(&[1, 4])], |x| x[0] + x[1]),
    ],
};
