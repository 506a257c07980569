//! y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), element by element.
//!
//! ```text
//! x̄ = ȳ ∘ σ(x)
//! ```
//! The second form never overflows, and keeps full precision where y is tiny. The input is kept: σ(x) = 1 − e⁻ʸ would
//! cancel there.

use super::Entry;
use super::sigmoid::{SIGMOID, sigmoid};
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// ln(1 + eˣ). Any shape.
    #[track_caller]
    pub fn softplus(self) -> Var<'t> {
        self.tape().apply(Softplus, &[self])
    }
}

#[derive(Debug)]
struct Softplus;

impl Op for Softplus {
    fn name(&self) -> &'static str {
        "softplus"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // |x|, its negative, e, ln(1 + ·), max, sum; backward σ and a product.
        Flops::each(n.out(), 6, SIGMOID + 1)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        map1(cx.engine, &cx.inputs[0], Softplus)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, map2(cx.engine, cx.input(0), cx.grad, Pull));
    }
}

impl Map1 for Softplus {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        T::ZERO.max(x) + (-x.abs()).exp().ln_1p()
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Softplus)
    }
}

/// (x, ȳ) ↦ x̄.
struct Pull;
impl Map2 for Pull {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, grad: T) -> T {
        grad * sigmoid(x)
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::SoftplusBack)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "softplus",
    cases: &[
        // The two halves of the formula meet at 0 without a kink, so the points may lie anywhere.
        Case::new("matrix", &[In::normal(&[3, 4])], |x| x[0].softplus()),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].softplus()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn softplus_is_ln_two_at_zero_and_stable_far_away() {
        let tape = Tape::inference(&Engine::new(1));
        let y =
            tape.leaf(Tensor::from_vec([4], vec![0.0f32, 500.0, -50.0, -1e4])).softplus().value().to_f64();
        assert!((y[0] - std::f64::consts::LN_2).abs() < 1e-7);
        let tiny = (-50.0f64).exp();
        assert!((y[2] - tiny).abs() < 1e-6 * tiny, "ln(1 + t) is t for a tiny t, not 0");
        assert_eq!([y[1], y[3]], [500.0, 0.0]);
    }
}
