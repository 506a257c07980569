//! e = y/‖y‖: rows of length 1, so that a dot product is a cosine.
//!
//! ```text
//! forward    e = y/max(‖y‖, 1e-12)               y [.., d]
//! backward   ȳ = (ē − e(e·ē))/‖y‖                the part of ē along e is gone: a longer y has the same e
//! ```
//! Keeps the output and the lengths, not y. A row below the floor has no direction: its gradient is set to zero, where
//! the formula would multiply it by 1e12 and one empty text would outweigh the batch.

use super::Entry;
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::normalise::{gradient, normalise};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// Rows divided by their length: `[.., d]` → `[.., d]`. A row of zeros stays one.
    #[track_caller]
    pub fn normalise(self) -> Var<'t> {
        self.tape().apply(Normalise, &[self])
    }
}

#[derive(Debug)]
struct Normalise;

impl Op for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }
    fn keep(&self) -> Keep {
        Keep::OUTPUT
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if inputs[0].rank() == 0 || inputs[0].last() == 0 {
            return Err(ShapeError::new("rows have at least one number", inputs));
        }
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // ·, Σ, /; backward ·, Σ, ·, −, /
        Flops::each(n.out(), 3, 5)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (e, lengths) = normalise(cx.engine, &cx.inputs[0]);
        cx.save(lengths);
        e
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, gradient(cx.engine, cx.output(), cx.saved(0), cx.grad));
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "normalise",
    cases: &[
        Case::new("rows", &[In::drawn(&[3, 5], Draw::Signed(0.5, 2.0))], |x| x[0].normalise()),
        Case::new("wide rows", &[In::drawn(&[2, 35], Draw::Signed(0.5, 2.0))], |x| x[0].normalise()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn rows_get_length_one_and_zeros_stay_without_gradient() {
        let tape = Tape::new(&Engine::poisoned(1));
        let y = tape.leaf(Tensor::from_vec([3, 2], vec![3.0, 4.0, 0.0, 0.0, -5.0, 12.0f64]));
        let e = y.normalise();
        let close = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-15);
        assert!(close(&e.value().to_f64(), &[0.6, 0.8, 0.0, 0.0, -5.0 / 13.0, 12.0 / 13.0]));
        let grads = tape.backward(vec![(e, Tensor::from_vec([3, 2], vec![1.0f64; 6]))]);
        // (1 − e₀(e₀ + e₁), 1 − e₁(e₀ + e₁))/‖y‖ by hand.
        let want = [0.16 / 5.0, -0.12 / 5.0, 0.0, 0.0, 204.0 / 2197.0, 85.0 / 2197.0];
        assert!(close(&grads.of(y).to_f64(), &want), "{:?}", grads.of(y).to_f64());
    }

    #[test]
    fn a_nan_is_not_hidden_by_the_floor() {
        let tape = Tape::new(&Engine::new(1));
        let y = tape.leaf(Tensor::from_vec([1, 2], vec![f32::NAN, 1.0]));
        assert!(y.normalise().value().to_f64()[1].is_nan());
    }
}
