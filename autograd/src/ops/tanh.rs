//! y = tanh x, element by element.
//!
//! ```text
//! x̄ = ȳ ∘ (1 − y²)
//! ```
//! The output is kept and the input is not.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The hyperbolic tangent. Any shape.
    #[track_caller]
    pub fn tanh(self) -> Var<'t> {
        self.tape().apply(Tanh, &[self])
    }
}

#[derive(Debug)]
struct Tanh;

impl Op for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
    }
    fn keep(&self) -> Keep {
        Keep::OUTPUT
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), 1, 3)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        map1(cx.engine, &cx.inputs[0], Tanh)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, map2(cx.engine, cx.output(), cx.grad, Pull));
    }
}

impl Map1 for Tanh {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        x.tanh()
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Tanh)
    }
}

/// (y, ȳ) ↦ x̄.
struct Pull;
impl Map2 for Pull {
    fn at<T: Real>(&self, y: T, grad: T) -> T {
        grad * (T::ONE - y * y)
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::TanhBack)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "tanh",
    cases: &[
        Case::new("matrix", &[In::normal(&[3, 4])], |x| x[0].tanh()),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].tanh()),
    ],
};
