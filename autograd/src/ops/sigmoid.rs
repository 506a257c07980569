//! y = σ(x) = 1 / (1 + e⁻ˣ), element by element.
//!
//! ```text
//! x̄ = ȳ ∘ y ∘ (1 − y)
//! ```
//! The output is kept and the input is not. One branch-free form serves both signs: e⁻ˣ grows to infinity for very
//! negative x and the quotient is then 0, its limit; it vanishes for very positive x and the quotient is 1. No form
//! with |x| would be closer, and none meets ∞/∞ here.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The logistic function 1 / (1 + e⁻ˣ). Any shape.
    #[track_caller]
    pub fn sigmoid(self) -> Var<'t> {
        self.tape().apply(Sigmoid, &[self])
    }
}

#[derive(Debug)]
struct Sigmoid;

impl Op for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }
    fn keep(&self) -> Keep {
        Keep::OUTPUT
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), SIGMOID, 3)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        map1(cx.engine, &cx.inputs[0], Sigmoid)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, map2(cx.engine, cx.output(), cx.grad, Pull));
    }
}

/// Operations of one: −, e, +, /.
pub(super) const SIGMOID: u64 = 4;

/// σ(x).
#[inline(always)]
pub(super) fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

impl Map1 for Sigmoid {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        sigmoid(x)
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Sigmoid)
    }
}

/// (y, ȳ) ↦ x̄.
struct Pull;
impl Map2 for Pull {
    fn at<T: Real>(&self, y: T, grad: T) -> T {
        grad * y * (T::ONE - y)
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::SigmoidBack)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "sigmoid",
    cases: &[
        Case::new("matrix", &[In::normal(&[3, 4])], |x| x[0].sigmoid()),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].sigmoid()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn sigmoid_is_symmetric_about_one_half_and_reaches_its_limits() {
        let tape = Tape::inference(&Engine::new(1));
        let x = vec![0.0f32, 1.25, -1.25, 60.0, -60.0, 1e4, -1e4];
        let y = tape.leaf(Tensor::from_vec([7], x)).sigmoid().value().to_f64();
        assert_eq!(y[0], 0.5);
        assert!((y[1] + y[2] - 1.0).abs() < 1e-7);
        let tiny = (-60.0f64).exp();
        assert!((y[4] - tiny).abs() < 1e-6 * tiny, "far below zero the relative error stays small");
        assert_eq!([y[3], y[5], y[6]], [1.0, 1.0, 0.0]);
    }
}
