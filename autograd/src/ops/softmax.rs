//! y = softmax x, over every row.
//!
//! ```text
//! y_j = e^{x_j} / Σ_k e^{x_k}
//! x̄_j = y_j (ȳ_j − Σ_k ȳ_k y_k)
//!
//! x [.., n] → y [.., n]
//! ```
//! The output is kept and the input is not.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::softmax::{softmax, softmax_back};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The softmax over the innermost dimension: `[.., n]` → `[.., n]`. An entry of −∞ gets 0; a row of nothing but −∞
    /// has no softmax and gets NaN.
    ///
    /// # Panics
    /// If this is a scalar.
    #[track_caller]
    pub fn softmax(self) -> Var<'t> {
        self.tape().apply(Softmax, &[self])
    }
}

#[derive(Debug)]
struct Softmax;

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn keep(&self) -> Keep {
        Keep::OUTPUT
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match inputs[0].rank() {
            0 => Err(ShapeError::new("a softmax needs at least one dimension", inputs)),
            _ => Ok(inputs[0]),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // max, −, e, Σ, /; backward ·, Σ, −, ·
        Flops::each(n.out(), 5, 4)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        softmax(cx.engine, &cx.inputs[0])
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, softmax_back(cx.engine, cx.output(), cx.grad));
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "softmax",
    cases: &[
        Case::new("rows", &[In::normal(&[3, 5])], |x| x[0].softmax()),
        Case::new("batch", &[In::normal(&[2, 2, 3])], |x| x[0].softmax()),
        Case::new("long row", &[In::normal(&[2, 21])], |x| x[0].softmax()),
        Case::new("single row", &[In::normal(&[4])], |x| x[0].softmax()),
        // The softmax of one number is 1, whatever the number.
        Case::new("single column", &[In::normal(&[3, 1]).blocked(|_| true)], |x| x[0].softmax()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn logarithms_of_weights_become_shares_at_any_level() {
        let tape = Tape::inference(&Engine::new(1));
        for level in [0.0f32, 1000.0, -1000.0] {
            let x = [1.0f32, 2.0, 5.0, 0.0].map(|w| w.ln() + level);
            let y = tape.leaf(Tensor::from_vec([1, 4], x.to_vec())).softmax().value().to_f64();
            let want = [0.125, 0.25, 0.625, 0.0];
            assert!(y.iter().zip(want).all(|(y, w)| (y - w).abs() < 1e-4), "{level}: {y:?}");
        }
    }
}
