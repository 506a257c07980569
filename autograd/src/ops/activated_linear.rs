//! y = φ(u) Wᵀ + b: the second half of a feed-forward part, which keeps u and not φ(u).
//!
//! ```text
//! forward    v = φ(u),  y = v Wᵀ + b                     u [.., in], W [out, in], b [out] → y [.., out]
//! backward   v̄ = ȳ W,   ū = v̄ ∘ φ′(u),   W̄ = ȳᵀ v,   b̄ = Σ rows of ȳ
//! ```
//! As two operations, u is kept for φ′ and v for W̄: the widest two matrices of a layer. v costs one pass over u to
//! compute again, and φ′(u) needs most of it anyway, so that both come from one pass over u and v̄. φ is the unit of
//! `gelu.rs` in one of its forms, or of `relu.rs`.

use super::Entry;
use super::gelu::{Approximate, Exact};
use crate::gradcheck::{Case, Draw, In};
use crate::op::{Backward, Forward, Keep, Op};
use crate::tape::Var;
use engine::kernels::broadcast::sum_to;
use engine::kernels::linear::linear;
use engine::kernels::map::{Map1, Map2, map_and_pull, map1};
use engine::kernels::matmul::{Factor, product};
use engine::{Real, Shape, ShapeError, Tensor};

/// The non-linearity of a feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x Φ(x) with the error function.
    Gelu,
    /// The tanh form of the same.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

impl<'t> Var<'t> {
    /// φ(self) wᵀ + b: self `[.., in]`, w `[out, in]`, b `[out]` → `[.., out]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn activated_linear(self, activation: Activation, w: Var<'t>, b: Var<'t>) -> Var<'t> {
        self.tape().apply(ActivatedLinear(activation), &[self, w, b])
    }
}

#[derive(Debug)]
struct ActivatedLinear(Activation);

impl Op for ActivatedLinear {
    fn name(&self) -> &'static str {
        "activated_linear"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING.input(0).input(1)
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [u, w, b] = [inputs[0], inputs[1], inputs[2]];
        if u.rank() == 0 || w.rank() != 2 || u.last() != w.last() || b.dims() != &w.dims()[..1] {
            return Err(ShapeError::new("u [.., in], w [out, in], b [out]", inputs));
        }
        Ok(u.with_last(w.dim(0)))
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let u = &cx.inputs[0];
        let v = match self.0 {
            Activation::Gelu => map1(cx.engine, u, Exact),
            Activation::GeluTanh => map1(cx.engine, u, Approximate),
            Activation::Relu => map1(cx.engine, u, Rectified),
        };
        linear(cx.engine, &v, &cx.inputs[1], Some(&cx.inputs[2]))
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let by_rows = |t: &Tensor| t.reshape([t.shape().rows(), t.shape().last()]);
        let (u, grad) = (by_rows(cx.input(0)), by_rows(cx.grad));
        let back = product(cx.engine, Factor::new(&grad), Factor::new(cx.input(1)));
        let (v, back) = match self.0 {
            Activation::Gelu => map_and_pull(cx.engine, &u, back, Exact),
            Activation::GeluTanh => map_and_pull(cx.engine, &u, back, Approximate),
            Activation::Relu => map_and_pull(cx.engine, &u, back, Rectified),
        };
        cx.give(0, back.reshape(cx.shape(0)));
        cx.give(1, product(cx.engine, Factor::new(&grad).t(), Factor::new(&v)));
        cx.give(2, sum_to(cx.engine, &grad, cx.shape(2)));
    }
}

struct Rectified;

impl Map1 for Rectified {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        // In this order a NaN is the result: `max` gives its second argument when it cannot compare.
        T::ZERO.max(x)
    }
}

/// (x, ȳ) ↦ x̄; at the kink the derivative is taken as 0.
impl Map2 for Rectified {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, grad: T) -> T {
        if x > T::ZERO { grad } else { T::ZERO }
    }
}

const WEIGHT: [In; 2] = [In::normal(&[4, 3]), In::normal(&[4])];

pub(super) const ENTRY: Entry = Entry {
    name: "activated_linear",
    cases: &[
        Case::new("gelu", &[In::normal(&[5, 3]), WEIGHT[0], WEIGHT[1]], |x| {
            x[0].activated_linear(Activation::Gelu, x[1], x[2])
        }),
        Case::new("gelu by tanh, batch", &[In::normal(&[2, 3, 3]), WEIGHT[0], WEIGHT[1]], |x| {
            x[0].activated_linear(Activation::GeluTanh, x[1], x[2])
        }),
        Case::new(
            "relu",
            &[In::drawn(&[2, 3], Draw::Signed(0.1, 2.0)).blocked(is_negative), WEIGHT[0], WEIGHT[1]],
            |x| {
                let sign = Tensor::from_vec(
                    [2, 3],
                    (0..6).map(|i| if is_negative(i) { -1.0 } else { 1.0 }).collect(),
                );
                let u = x[0] * x[0] * x[0].tape().constant(sign);
                u.activated_linear(Activation::Relu, x[1], x[2])
            },
        ),
    ],
};

/// Where the case of the rectified unit is negative.
fn is_negative(i: usize) -> bool {
    i == 1 || i == 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::{Engine, Stream};

    /// y and the gradients of u, w, b by one operation or by two.
    fn run(threads: usize, activation: Activation, fused: bool) -> Vec<Vec<f64>> {
        let tape = Tape::new(&Engine::poisoned(threads));
        let draw = |dims: &[usize], tag| {
            let n: usize = dims.iter().product();
            let numbers = (0..n as u64).map(|i| 8.0 * Stream::new(1, tag).uniform(i) as f32 - 4.0).collect();
            Tensor::from_vec(Shape::new(dims), numbers)
        };
        let [u, w, b] =
            [(&[301, 70][..], 1), (&[9, 70], 2), (&[9], 3)].map(|(dims, tag)| tape.leaf(draw(dims, tag)));
        let y = match (fused, activation) {
            (true, _) => u.activated_linear(activation, w, b),
            (false, Activation::Gelu) => u.gelu().linear(w, Some(b)),
            (false, Activation::GeluTanh) => u.gelu_tanh().linear(w, Some(b)),
            (false, Activation::Relu) => u.relu().linear(w, Some(b)),
        };
        let value = y.value().to_f64();
        let grads = tape.backward(vec![(y, draw(&[301, 9], 4))]);
        [vec![value], [u, w, b].map(|v| grads.of(v).to_f64()).to_vec()].concat()
    }

    #[test]
    fn one_operation_gives_the_bits_of_two_for_any_number_of_threads() {
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            let want = run(1, activation, false);
            assert!([1, 2, 3].into_iter().all(|threads| run(threads, activation, true) == want));
        }
    }
}
