//! y = x, as a constant: no gradient passes.
//!
//! ```text
//! x̄ = 0
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Forward, Keep, Op};
use crate::tape::Var;
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The same value, through which no gradient passes. Any shape; the numbers are shared, not copied.
    #[track_caller]
    pub fn detach(self) -> Var<'t> {
        self.tape().apply(Detach, &[self])
    }
}

#[derive(Debug)]
struct Detach;

impl Op for Detach {
    fn name(&self) -> &'static str {
        "detach"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        cx.inputs[0].clone()
    }
    fn backward(&self, _: &mut Backward<'_>) {}
}

pub(super) const ENTRY: Entry = Entry {
    name: "detach",
    cases: &[
        Case::new("factor", &[In::normal(&[3, 4]).blocked(|_| true), In::normal(&[3, 4])], |x| {
            x[0].detach() * x[1]
        }),
        Case::new("alone", &[In::normal(&[4]).blocked(|_| true)], |x| x[0].detach()),
    ],
};
