//! y = x̂ ∘ w + b, where x̂ is the row x shifted and scaled to mean 0 and variance 1 (Ba, Kiros, Hinton 2016).
//!
//! ```text
//! forward    μ = Σ x/d,  σ² = Σ (x − μ)²/d,  r = 1/√(σ² + ε),  x̂ = (x − μ)·r        x [.., d], w [d], b [d]
//!
//! backward   h = ȳ ∘ w                       the gradient of x̂
//!            x̄ = r·(h − Σ h/d − x̂·Σ hx̂/d)    what remains of h after its parts along 1 and along x̂ are gone:
//!                                            moving x along either does not change x̂
//!              = r·h − A − C·(x − μ)         with A = r·Σ h/d  and  C = r³·Σ h(x − μ)/d
//!            w̄ = Σ_rows ȳ ∘ x̂,   b̄ = Σ_rows ȳ
//! ```
//! In the last form a row needs two sums and then one pass in which every number is used once, and x̂ is never stored:
//! forward saves two numbers a row, μ and r. Rows add to w̄ and b̄ in blocks of a fixed size and the blocks one after
//! another, so the bits do not depend on the number of threads.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::layer_norm::{gradients, layer_norm};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// Rows of mean 0 and variance 1, then scaled by `w` and shifted by `b`: `[.., d]`, `[d]`, `[d]` → `[.., d]`.
    /// `eps` is added to the variance (BERT: 1e-12).
    #[track_caller]
    pub fn layer_norm(self, w: Var<'t>, b: Var<'t>, eps: f64) -> Var<'t> {
        self.tape().apply(LayerNorm { eps }, &[self, w, b])
    }
}

/// Operations for each number, forward and backward.
pub(super) const FORWARD: u64 = 8;
pub(super) const BACKWARD: u64 = 13;

#[derive(Debug)]
struct LayerNorm {
    eps: f64,
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING.input(0).input(1)
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [x, w, b] = [inputs[0], inputs[1], inputs[2]];
        let row = Shape::from([x.last()]);
        if x.rank() == 0 || x.last() == 0 || w != row || b != row {
            return Err(ShapeError::new("x is [.., d], w and b are [d], d > 0", inputs));
        }
        Ok(x)
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // μ: Σ; σ²: −, ·, Σ; y: −, ·, ·, +. Backward h: ·; its sums: Σ, −, ·, Σ; x̄: ·, −, ·, −; w̄: ·, ·, Σ; b̄: Σ.
        Flops::each(n.out(), FORWARD, BACKWARD)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let [x, w, b] = [0, 1, 2].map(|i| &cx.inputs[i]);
        let (y, moments) = layer_norm(cx.engine, x, w, b, self.eps);
        cx.save(moments);
        y
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let grads = gradients(cx.engine, cx.input(0), cx.input(1), cx.saved(0), cx.grad);
        for (i, grad) in grads.into_iter().enumerate() {
            cx.give(i, grad);
        }
    }
}

const AFFINE: [In; 2] = [In::normal(&[5]), In::normal(&[5])];

pub(super) const ENTRY: Entry = Entry {
    name: "layer_norm",
    cases: &[
        Case::new("rows", &[In::normal(&[3, 5]), AFFINE[0], AFFINE[1]], |x| {
            x[0].layer_norm(x[1], x[2], 1e-5)
        }),
        Case::new("a large epsilon", &[In::normal(&[2, 5]), AFFINE[0], AFFINE[1]], |x| {
            x[0].layer_norm(x[1], x[2], 0.5)
        }),
        Case::new(
            "more rows than one block",
            &[In::normal(&[65, 17]), In::normal(&[17]), In::normal(&[17])],
            |x| x[0].layer_norm(x[1], x[2], 1e-5),
        ),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Stream, Tensor};

    #[test]
    fn a_row_becomes_mean_zero_and_variance_one_then_affine() {
        let tape = Tape::new(&Engine::poisoned(1));
        let leaf = |values: &[f64]| tape.constant(Tensor::from_vec([values.len()], values.to_vec()));
        // Mean 5, variance 4: x̂ = −1, −1, 1, 1; a constant row has x̂ = 0.
        let x = tape.constant(Tensor::from_vec([2, 4], vec![3.0, 3.0, 7.0, 7.0, 2.0, 2.0, 2.0, 2.0f64]));
        let y = x.layer_norm(leaf(&[1.0, 2.0, 3.0, 4.0]), leaf(&[0.5, 0.0, 0.0, -1.0]), 1e-300);
        assert_eq!(y.value().to_f64()[..4], [-0.5, -2.0, 3.0, 3.0]);
        assert_eq!(y.value().to_f64()[4..], [0.5, 0.0, 0.0, -1.0]);
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let draw = |n: usize, tag| -> Vec<f32> {
            (0..n as u64).map(|i| Stream::new(1, tag).uniform(i) as f32).collect()
        };
        let run = |threads| {
            let tape = Tape::new(&Engine::new(threads));
            let x = tape.leaf(Tensor::from_vec([300, 37], draw(300 * 37, 1)));
            let w = tape.leaf(Tensor::from_vec([37], draw(37, 2)));
            let b = tape.leaf(Tensor::from_vec([37], draw(37, 3)));
            let y = x.layer_norm(w, b, 1e-12);
            let seed = Tensor::from_vec([300, 37], draw(300 * 37, 4));
            let grads = tape.backward(vec![(y, seed)]);
            [x, w, b].map(|v| grads.of(v).to_f64())
        };
        assert!([2, 3].into_iter().all(|threads| run(threads) == run(1)));
    }
}
