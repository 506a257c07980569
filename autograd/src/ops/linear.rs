//! y = x Wᵀ + b, the layer of which an encoder mostly consists.
//!
//! ```text
//! x̄ = ȳ W,  W̄ = ȳᵀ x,  b̄ = Σ rows of ȳ
//!
//! x [.., in], W [out, in], b [out] → y [.., out]        leading dimensions count as rows
//! ```
//! The weight lies as PyTorch's, so that checkpoints go in and out without a transpose; the products read it either
//! way. The product adds onto the bias, which saves a pass over y. Bound by flops: 2 · rows · in · out forward, twice
//! that backward.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::broadcast::sum_to;
use engine::kernels::linear::linear;
use engine::kernels::matmul::{Factor, as_layers_multiply, product_of_layer};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// x wᵀ + b: x `[.., in]`, w `[out, in]`, b `[out]` → `[.., out]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn linear(self, w: Var<'t>, b: Option<Var<'t>>) -> Var<'t> {
        match b {
            Some(b) => self.tape().apply(Linear, &[self, w, b]),
            None => self.tape().apply(Linear, &[self, w]),
        }
    }
}

#[derive(Debug)]
struct Linear;

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING.input(0).input(1)
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let (x, w) = (inputs[0], inputs[1]);
        let bias_fits = inputs.get(2).is_none_or(|b| b.dims() == &w.dims()[..1]);
        if x.rank() == 0 || w.rank() != 2 || x.last() != w.last() || !bias_fits {
            return Err(ShapeError::new("x [.., in], w [out, in], b [out]", inputs));
        }
        Ok(x.with_last(w.dim(0)))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let product = 2 * n.out() * n.width(0);
        let bias = if n.count() == 3 { n.wants(2) * n.out() } else { 0 };
        Flops { forward: product, backward: (n.wants(0) + n.wants(1)) * product + bias }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        linear(cx.engine, &cx.inputs[0], &cx.inputs[1], cx.inputs.get(2))
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let by_rows = |t: &Tensor| t.reshape([t.shape().rows(), t.shape().last()]);
        let (grad, x) = (by_rows(cx.grad), by_rows(cx.input(0)));
        // Once for both products; the bias is summed from ȳ itself.
        let rounded = as_layers_multiply(&grad);
        if cx.wants(0) {
            let x = product_of_layer(cx.engine, Factor::new(&rounded), Factor::weight(cx.input(1)));
            cx.give(0, x.reshape(cx.shape(0)));
        }
        if cx.wants(1) {
            let w = product_of_layer(cx.engine, Factor::new(&rounded).t(), Factor::new(&x));
            cx.give(1, w);
        }
        if cx.count() == 3 && cx.wants(2) {
            cx.give(2, sum_to(cx.engine, &grad, cx.shape(2)));
        }
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "linear",
    cases: &[
        Case::new("bias", &[In::normal(&[5, 3]), In::normal(&[4, 3]), In::normal(&[4])], |x| {
            x[0].linear(x[1], Some(x[2]))
        }),
        Case::new("no bias", &[In::normal(&[5, 3]), In::normal(&[4, 3])], |x| x[0].linear(x[1], None)),
        Case::new("batch", &[In::normal(&[2, 3, 4]), In::normal(&[2, 4]), In::normal(&[2])], |x| {
            x[0].linear(x[1], Some(x[2]))
        }),
        Case::new("one vector", &[In::normal(&[3]), In::normal(&[2, 3]), In::normal(&[2])], |x| {
            x[0].linear(x[1], Some(x[2]))
        }),
        Case::new("to one number", &[In::normal(&[4, 3]), In::normal(&[1, 3]), In::normal(&[1])], |x| {
            x[0].linear(x[1], Some(x[2]))
        }),
        Case::new("from one number", &[In::normal(&[4, 1]), In::normal(&[3, 1])], |x| {
            x[0].linear(x[1], None)
        }),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn linear_layer_by_hand() {
        let tape = Tape::inference(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 3.0, 4.0]));
        let w = tape.leaf(Tensor::from_vec([3, 2], vec![1.0f32, 0.0, 0.0, 1.0, 1.0, -1.0]));
        let b = tape.leaf(Tensor::from_vec([3], vec![10.0f32, 20.0, 30.0]));
        assert_eq!(x.linear(w, Some(b)).value().to_f64(), [11.0, 22.0, 29.0, 13.0, 24.0, 29.0]);
        assert_eq!(x.linear(w, None).value().to_f64(), [1.0, 2.0, -1.0, 3.0, 4.0, -1.0]);
    }

    #[test]
    fn bias_reaches_every_row_of_a_large_batch() {
        let engine = Engine::new(2);
        let tape = Tape::inference(&engine);
        let zeros = |shape: [usize; 2]| tape.leaf(Tensor::from_vec(shape, vec![0.0f32; shape[0] * shape[1]]));
        let b = tape.leaf(Tensor::from_vec([7], (0..7).map(|i| i as f32).collect()));
        let y = zeros([5000, 3]).linear(zeros([7, 3]), Some(b)).value().to_f64();
        assert!(y.iter().enumerate().all(|(i, &y)| y == (i % 7) as f64));
    }
}
