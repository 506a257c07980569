//! y = the parts, one after another along a dimension.
//!
//! ```text
//! x̄ᵢ = the part of ȳ that came from xᵢ
//!
//! xᵢ [.., nᵢ, ..] → y [.., Σ nᵢ, ..]        all other dimensions are equal
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::slice::{concat, slice, with_dim};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The parts, one after another along dimension `axis`.
    ///
    /// # Panics
    /// If there is no part, or the parts differ in another dimension.
    #[track_caller]
    pub fn concat(parts: &[Var<'t>], axis: usize) -> Var<'t> {
        assert!(!parts.is_empty(), "concat: there is no part");
        parts[0].tape().apply(Concat { axis }, parts)
    }
}

#[derive(Debug)]
struct Concat {
    axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let first = inputs[0];
        if self.axis >= first.rank() {
            return Err(ShapeError::new(format!("there is no dimension {}", self.axis), inputs));
        }
        let fits =
            |s: &Shape| s.rank() == first.rank() && with_dim(*s, self.axis, first.dim(self.axis)) == first;
        if !inputs.iter().all(fits) {
            return Err(ShapeError::new(format!("only dimension {} may differ", self.axis), inputs));
        }
        Ok(with_dim(first, self.axis, inputs.iter().map(|s| s.dim(self.axis)).sum()))
    }
    fn flops(&self, _: &Sizes<'_>) -> Flops {
        Flops::NOTHING
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        concat(cx.engine, cx.inputs, self.axis)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let mut start = 0;
        for i in 0..cx.count() {
            let end = start + cx.shape(i).dim(self.axis);
            if cx.wants(i) {
                cx.give(i, slice(cx.engine, cx.grad, self.axis, start..end));
            }
            start = end;
        }
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "concat",
    cases: &[
        Case::new("rows", &[In::normal(&[2, 3]), In::normal(&[1, 3]), In::normal(&[3, 3])], |x| {
            Var::concat(x, 0)
        }),
        Case::new("columns", &[In::normal(&[3, 1]), In::normal(&[3, 4])], |x| Var::concat(x, 1)),
        Case::new("middle", &[In::normal(&[2, 1, 3]), In::normal(&[2, 2, 3])], |x| Var::concat(x, 1)),
        Case::new("a value with itself", &[In::normal(&[3])], |x| Var::concat(&[x[0], x[0]], 0)),
        Case::new("alone", &[In::normal(&[3, 2])], |x| Var::concat(x, 1)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    #[test]
    fn parts_stand_side_by_side() {
        let tape = Tape::inference(&Engine::new(1));
        let a = tape.leaf(Tensor::from_vec([2, 1], vec![1.0f32, 2.0]));
        let b = tape.leaf(Tensor::from_vec([2, 2], vec![3.0f32, 4.0, 5.0, 6.0]));
        assert_eq!(Var::concat(&[a, b], 1).value().to_f64(), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        assert_eq!(Var::concat(&[b, b], 0).shape(), Shape::from([4, 2]));
    }

    #[test]
    #[should_panic(expected = "concat: only dimension 0 may differ; got [[2, 1], [2, 2]]")]
    fn parts_of_different_width_are_refused() {
        let tape = Tape::inference(&Engine::new(1));
        let part = |n: usize| tape.leaf(Tensor::from_vec([2, n], vec![0.0f32; 2 * n]));
        Var::concat(&[part(1), part(2)], 0);
    }
}
