//! y = max(x, 0), element by element.
//!
//! ```text
//! x̄ = ȳ where y > 0, else 0
//! ```
//! The output tells the two sides apart, so it is kept and the input is not. At the kink the derivative is taken as 0.

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// max(x, 0). Any shape. NaN stays NaN.
    #[track_caller]
    pub fn relu(self) -> Var<'t> {
        self.tape().apply(Relu, &[self])
    }
}

/// The operation and its function; as a function of two numbers, (y, ȳ) ↦ x̄, or (x, ȳ) ↦ x̄, which is the same.
#[derive(Debug)]
pub(super) struct Relu;

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }
    fn keep(&self) -> Keep {
        Keep::OUTPUT
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), 1, 1)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        map1(cx.engine, &cx.inputs[0], Relu)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, map2(cx.engine, cx.output(), cx.grad, Relu));
    }
}

impl Map1 for Relu {
    fn at<T: Real>(&self, x: T) -> T {
        // In this order a NaN is the result: `max` gives its second argument when it cannot compare.
        T::ZERO.max(x)
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Relu)
    }
}

impl Map2 for Relu {
    fn at<T: Real>(&self, y: T, grad: T) -> T {
        if y > T::ZERO { grad } else { T::ZERO }
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::ReluBack)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "relu",
    cases: &[
        Case::new("both sides", &[In::drawn(&[3, 4], Draw::Signed(0.05, 2.0))], |x| x[0].relu()),
        Case::new("dead", &[In::drawn(&[4], Draw::Uniform(-2.0, -0.05)).blocked(|_| true)], |x| x[0].relu()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn negatives_become_zero_and_nan_is_not_hidden() {
        let tape = Tape::inference(&Engine::new(1));
        let y = tape.leaf(Tensor::from_vec([4], vec![-1.0f32, 0.0, 2.5, f32::NAN])).relu().value().to_f64();
        assert_eq!(y[..3], [0.0, 0.0, 2.5]);
        assert!(y[3].is_nan());
    }
}
