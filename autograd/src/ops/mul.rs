//! y = a ∘ b, element by element, with broadcasting.
//!
//! ```text
//! ā = ȳ ∘ b,  b̄ = ȳ ∘ a        summed over the dimensions in which a or b was repeated
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::Function2;
use engine::kernels::broadcast::{broadcast, joined, sum_to};
use engine::kernels::map::Map2;
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> std::ops::Mul for Var<'t> {
    type Output = Var<'t>;
    /// a ∘ b. Shapes join as numpy's do.
    #[track_caller]
    fn mul(self, b: Var<'t>) -> Var<'t> {
        self.tape().apply(Mul, &[self, b])
    }
}

#[derive(Debug)]
struct Mul;

impl Op for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        joined(inputs[0], inputs[1])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let backward = |i| n.wants(i) * (n.out() + n.repeats(i));
        Flops { forward: n.out(), backward: backward(0) + backward(1) }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        broadcast(cx.engine, &cx.inputs[0], &cx.inputs[1], Times)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        for (i, other) in [(0, 1), (1, 0)] {
            if cx.wants(i) {
                let grad = broadcast(cx.engine, cx.grad, cx.input(other), Times);
                cx.give(i, sum_to(cx.engine, &grad, cx.shape(i)));
            }
        }
    }
}

struct Times;
impl Map2 for Times {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a * b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Times)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "mul",
    cases: &[
        Case::new("same shape", &[In::normal(&[3, 4]), In::normal(&[3, 4])], |x| x[0] * x[1]),
        Case::new("a value with itself", &[In::normal(&[4])], |x| x[0] * x[0]),
        Case::new("row repeated", &[In::normal(&[3, 4]), In::normal(&[4])], |x| x[0] * x[1]),
        Case::new("column repeated", &[In::normal(&[3, 1]), In::normal(&[2, 1, 4])], |x| x[0] * x[1]),
        Case::new("scalar", &[In::normal(&[]), In::normal(&[5])], |x| x[0] * x[1]),
    ],
};
