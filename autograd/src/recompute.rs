//! Time for memory: forget the inside of a segment after forward and run it again in backward.
//!
//! Only the inputs and the result stay alive. A dropout mask repeats itself because it is a function of its place
//! ([`engine::Stream`]), not of a generator's state.

use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::{Tape, Var};
use crate::watch::Watch;
use engine::{Shape, ShapeError, Tensor};
use std::fmt;
use std::rc::Rc;

/// A piece of a model that can run on any tape: a function of its inputs alone, parameters among them.
pub type Segment = Rc<dyn for<'s> Fn(&[Var<'s>]) -> Var<'s>>;

struct Recompute {
    segment: Segment,
    shape: Shape,
    result: Tensor,
    /// Of what is inside, where somebody asks.
    inside: Flops,
}

impl fmt::Debug for Recompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recompute({:?})", self.shape)
    }
}

impl Op for Recompute {
    fn name(&self) -> &'static str {
        "recompute"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, _: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(self.shape)
    }
    fn flops(&self, _: &Sizes<'_>) -> Flops {
        Flops { forward: self.inside.forward, backward: self.inside.total() }
    }
    fn forward(&self, _: &mut Forward<'_>) -> Tensor {
        self.result.clone()
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let tape = Tape::new(cx.engine);
        let leaf =
            |i| if cx.wants(i) { tape.leaf(cx.input(i).clone()) } else { tape.constant(cx.input(i).clone()) };
        let inputs: Vec<Var<'_>> = (0..cx.count()).map(leaf).collect();
        let result = (self.segment)(&inputs);
        let mut grads = tape.backward(vec![(result, cx.grad.clone())]);
        for (i, input) in inputs.into_iter().enumerate() {
            if let Some(grad) = grads.take(input) {
                cx.give_any(i, grad);
            }
        }
    }
}

impl Tape {
    /// Runs `segment` on `inputs` (parameters included) and keeps only those and the result. Backward runs it again.
    #[track_caller]
    pub fn recompute<'t>(&'t self, segment: Segment, inputs: &[Var<'t>]) -> Var<'t> {
        let inside = self.watch().map(|watch| Watch::new(watch.clock()));
        let (result, seconds) = Watch::time(self.watch(), || {
            // What backward costs is known of a tape that records.
            let inner = inside.as_ref().map_or_else(
                || Tape::inference(self.engine()),
                |inside| Tape::new(self.engine()).watched(inside),
            );
            let leaf =
                |v: &Var<'t>| if v.wants_grad() { inner.leaf(v.value()) } else { inner.constant(v.value()) };
            let leaves: Vec<Var<'_>> = inputs.iter().map(leaf).collect();
            segment(&leaves).value()
        });
        let inside =
            inside.map_or(Flops::NOTHING, |inside| inside.seen().iter().map(|seen| seen.flops).sum());
        let result = self.apply(Recompute { segment, shape: result.shape(), result, inside }, inputs);
        if let Some(watch) = self.watch() {
            watch.went_forward(result.id(), seconds);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Engine;

    #[test]
    fn a_recomputed_segment_has_the_same_value_and_gradient() {
        let segment: Segment = Rc::new(|x| (x[0] * x[1]) * x[0] + x[1]);
        let run = |recompute: bool| {
            let tape = Tape::new(&Engine::new(1));
            let x = [tape.leaf(Tensor::scalar(3.0f64)), tape.leaf(Tensor::scalar(5.0f64))];
            let y = if recompute { tape.recompute(segment.clone(), &x) } else { segment(&x) };
            let value = y.value().item();
            let grads = tape.backward_from(y);
            (value, x.map(|x| grads.of(x).to_f64()))
        };
        assert_eq!(run(true), run(false));
        assert_eq!(run(true), (50.0, [vec![30.0], vec![10.0]]));
    }
}
