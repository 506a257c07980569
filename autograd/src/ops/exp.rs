//! y = eˣ, element by element.
//!
//! ```text
//! x̄ = ȳ ∘ y
//! ```
//! The output is kept and the input is not: the exponential is its own derivative.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// eˣ. Any shape. Overflows to infinity, underflows to 0.
    #[track_caller]
    pub fn exp(self) -> Var<'t> {
        self.tape().apply(Exp, &[self])
    }
}

#[derive(Debug)]
struct Exp;

impl Op for Exp {
    fn name(&self) -> &'static str {
        "exp"
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
        map1(cx.engine, &cx.inputs[0], Exp)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, map2(cx.engine, cx.output(), cx.grad, Pull));
    }
}

impl Map1 for Exp {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        x.exp()
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Exp)
    }
}

/// (y, ȳ) ↦ x̄.
struct Pull;
impl Map2 for Pull {
    fn at<T: Real>(&self, y: T, grad: T) -> T {
        grad * y
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Times)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "exp",
    cases: &[
        Case::new("matrix", &[In::normal(&[3, 4])], |x| x[0].exp()),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].exp()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn exponential_agrees_with_the_standard_library_and_saturates() {
        let tape = Tape::inference(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([4], vec![1.0f32, -3.5, 1000.0, -1000.0]));
        let y = x.exp().value().to_f64();
        assert!((y[0] - std::f64::consts::E).abs() < 1e-6 && (y[1] - (-3.5f64).exp()).abs() < 1e-8);
        assert_eq!(y[2..], [f64::INFINITY, 0.0]);
    }
}
