//! y = a / b, element by element, with broadcasting.
//!
//! ```text
//! ā = ȳ / b,  b̄ = −(ȳ / b) ∘ y        summed over the dimensions in which a or b was repeated
//! ```
//! The quotient is kept, not the dividend: b̄ then needs ȳ / b, which ā has, and no square of b.

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::Function2;
use engine::kernels::broadcast::{broadcast, joined, sum_to};
use engine::kernels::map::{Map2, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> std::ops::Div for Var<'t> {
    type Output = Var<'t>;
    /// a / b. Shapes join as numpy's do. Division by zero follows IEEE 754: an infinity, or NaN for 0/0.
    ///
    /// # Panics
    /// If two aligned dimensions differ and neither is 1.
    #[track_caller]
    fn div(self, b: Var<'t>) -> Var<'t> {
        self.tape().apply(Div, &[self, b])
    }
}

#[derive(Debug)]
struct Div;

impl Op for Div {
    fn name(&self) -> &'static str {
        "div"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING.input(1).and_output()
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        joined(inputs[0], inputs[1])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let (dividend, divisor) = (n.wants(0) * n.repeats(0), n.wants(1) * (2 * n.out() + n.repeats(1)));
        Flops { forward: n.out(), backward: n.out() + dividend + divisor }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        broadcast(cx.engine, &cx.inputs[0], &cx.inputs[1], Quotient)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let a = broadcast(cx.engine, cx.grad, cx.input(1), Quotient);
        if cx.wants(1) {
            let b = map2(cx.engine, &a, cx.output(), MinusTimes);
            cx.give(1, sum_to(cx.engine, &b, cx.shape(1)));
        }
        if cx.wants(0) {
            cx.give(0, sum_to(cx.engine, &a, cx.shape(0)));
        }
    }
}

struct Quotient;
impl Map2 for Quotient {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a / b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Quotient)
    }
}

struct MinusTimes;
impl Map2 for MinusTimes {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        -(a * b)
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::MinusTimes)
    }
}

const AWAY_FROM_ZERO: Draw = Draw::Signed(0.5, 2.0);

pub(super) const ENTRY: Entry = Entry {
    name: "div",
    cases: &[
        Case::new("same shape", &[In::normal(&[3, 4]), In::drawn(&[3, 4], AWAY_FROM_ZERO)], |x| x[0] / x[1]),
        Case::new("row repeated", &[In::normal(&[3, 4]), In::drawn(&[4], AWAY_FROM_ZERO)], |x| x[0] / x[1]),
        Case::new("column repeated", &[In::normal(&[2, 3, 4]), In::drawn(&[3, 1], AWAY_FROM_ZERO)], |x| {
            x[0] / x[1]
        }),
        Case::new("scalar over vector", &[In::normal(&[]), In::drawn(&[5], AWAY_FROM_ZERO)], |x| x[0] / x[1]),
    ],
};
