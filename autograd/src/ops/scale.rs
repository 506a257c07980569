//! y = αx + β, with constants α and β: `x.scale(α)`, `x.shift(β)`, `-x`.
//!
//! ```text
//! x̄ = αȳ
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::map::linear;
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// αx, for a constant α. Any shape.
    #[track_caller]
    pub fn scale(self, factor: f64) -> Var<'t> {
        self.tape().apply(Scale { factor, offset: 0.0 }, &[self])
    }
    /// x + β, for a constant β. Any shape.
    #[track_caller]
    pub fn shift(self, offset: f64) -> Var<'t> {
        self.tape().apply(Scale { factor: 1.0, offset }, &[self])
    }
}

impl<'t> std::ops::Neg for Var<'t> {
    type Output = Var<'t>;
    /// −x. Any shape.
    #[track_caller]
    fn neg(self) -> Var<'t> {
        self.scale(-1.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Scale {
    factor: f64,
    offset: f64,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), 2, u64::from(self.factor != 1.0))
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        linear(cx.engine, &cx.inputs[0], [self.factor, self.offset])
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        // A shift passes the gradient on: the clone shares its storage.
        let grad = match self.factor {
            1.0 => cx.grad.clone(),
            factor => linear(cx.engine, cx.grad, [factor, 0.0]),
        };
        cx.give(0, grad);
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "scale",
    cases: &[
        Case::new("factor", &[In::normal(&[3, 4])], |x| x[0].scale(-1.7)),
        Case::new("negated", &[In::normal(&[5])], |x| -x[0]),
        Case::new("shifted", &[In::normal(&[2, 1, 3])], |x| x[0].shift(0.3)),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].scale(3.0).shift(-1.0)),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn scale_negation_and_shift_give_the_numbers_of_the_equation() {
        let tape = Tape::inference(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([2], vec![1.5f32, -4.0]));
        assert_eq!(x.scale(2.0).value().to_f64(), [3.0, -8.0]);
        assert_eq!((-x).value().to_f64(), [-1.5, 4.0]);
        assert_eq!(x.shift(0.5).value().to_f64(), [2.0, -3.5]);
    }
}
