//! y = x, in another shape.
//!
//! ```text
//! x̄ = ȳ, in the shape of x
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The same numbers, row-major, in another shape; they are shared, not copied.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Var<'t> {
        self.tape().apply(Reshape { to: shape.into() }, &[self])
    }
}

#[derive(Debug)]
struct Reshape {
    to: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if inputs[0].len() != self.to.len() {
            let rule = format!("{:?} has {} elements", self.to, self.to.len());
            return Err(ShapeError::new(rule, inputs));
        }
        Ok(self.to)
    }
    fn flops(&self, _: &Sizes<'_>) -> Flops {
        Flops::NOTHING
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        cx.inputs[0].reshape(self.to)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, cx.grad.reshape(cx.shape(0)));
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "reshape",
    cases: &[
        Case::new("flat", &[In::normal(&[3, 4]), In::normal(&[12])], |x| x[0].reshape([12]) * x[1]),
        Case::new("scalar", &[In::normal(&[1, 1])], |x| x[0].reshape([])),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn numbers_keep_their_row_major_order() {
        let tape = Tape::inference(&Engine::new(1));
        let y = tape.leaf(Tensor::from_vec([2, 3], vec![0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0])).reshape([3, 2]);
        assert_eq!(y.value().view::<f32>()[[2, 0]], 4.0);
    }

    #[test]
    #[should_panic(expected = "reshape: [4] has 4 elements; got [[3]]")]
    fn a_shape_of_another_size_is_refused() {
        let tape = Tape::inference(&Engine::new(1));
        tape.leaf(Tensor::from_vec([3], vec![0.0f32; 3])).reshape([4]);
    }
}
