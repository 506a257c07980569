//! y = x, as a constant: no gradient passes.
//!
//! ```text
//! x̄ = 0
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
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
    fn passes_gradient(&self) -> bool {
        false
    }
    fn flops(&self, _: &Sizes<'_>) -> Flops {
        Flops::NOTHING
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

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn nothing_is_kept_behind_a_detach() {
        let engine = Engine::new(1);
        let held = |detach: bool| {
            let tape = Tape::new(&engine);
            let x = tape.leaf(Tensor::from_vec([1000], vec![2.0f32; 1000]));
            let before = engine.pool_stats().bytes_in_use;
            let _y = tape.scope(|| {
                let x = if detach { x.detach() } else { x };
                (x.exp() * x).tanh() * x
            });
            engine.pool_stats().bytes_in_use - before
        };
        let (open, behind) = (held(false), held(true));
        assert!((4000..8000).contains(&behind), "the result alone is held, not {behind} bytes");
        assert!(open > 3 * behind - 1000, "{open} bytes without a detach");
    }
}
