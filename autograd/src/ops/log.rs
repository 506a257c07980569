//! y = ln x, element by element.
//!
//! ```text
//! x̄ = ȳ / x
//! ```

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The natural logarithm. Any shape. −∞ at 0, NaN below.
    #[track_caller]
    pub fn log(self) -> Var<'t> {
        self.tape().apply(Log, &[self])
    }
}

#[derive(Debug)]
struct Log;

impl Op for Log {
    fn name(&self) -> &'static str {
        "log"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), 1, 1)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        map1(cx.engine, &cx.inputs[0], Log)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, map2(cx.engine, cx.input(0), cx.grad, Pull));
    }
}

impl Map1 for Log {
    fn at<T: Real>(&self, x: T) -> T {
        x.ln()
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Log)
    }
}

/// (x, ȳ) ↦ x̄.
struct Pull;
impl Map2 for Pull {
    fn at<T: Real>(&self, x: T, grad: T) -> T {
        grad / x
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::LogBack)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "log",
    cases: &[
        Case::new("matrix", &[In::drawn(&[3, 4], Draw::Uniform(0.5, 3.0))], |x| x[0].log()),
        Case::new("scalar", &[In::drawn(&[], Draw::Uniform(0.5, 3.0))], |x| x[0].log()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn logarithm_of_powers_of_e_and_of_zero() {
        let tape = Tape::inference(&Engine::new(1));
        let e = std::f64::consts::E;
        let y = tape.leaf(Tensor::from_vec([3], vec![1.0, e * e, 0.0])).log().value().to_f64();
        assert_eq!((y[0], y[2]), (0.0, f64::NEG_INFINITY));
        assert!((y[1] - 2.0).abs() < 1e-15);
    }
}
