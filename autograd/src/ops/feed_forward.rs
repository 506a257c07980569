//! y = φ(x W₁ᵀ + b₁) W₂ᵀ + b₂: the feed-forward half of a transformer layer (Vaswani et al. 2017, equation 2).
//!
//! ```text
//! forward    u = x W₁ᵀ + b₁,  h = φ(u),  y = h W₂ᵀ + b₂       x [.., d], W₁ [f, d], W₂ [e, f] → y [.., e]
//! backward   ū = (ȳ W₂) ∘ φ′(u)
//!            W̄₂ = ȳᵀ h,  b̄₂ = Σ rows of ȳ,  W̄₁ = ūᵀ x,  b̄₁ = Σ rows of ū,  x̄ = ū W₁
//! ```
//! φ and φ′ meet the pieces of the products while they are in cache. h, the widest matrix of a layer, is not kept: φ(u)
//! is made again beside φ′(u), which needs the same exponentials. Bound by flops: 2 · rows · f · (d + e) forward, twice
//! that backward.

use super::gelu::{Approximate, Exact};
use super::relu::Relu;
use super::{Entry, gelu};
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::broadcast::sum_to;
use engine::kernels::feed_forward::{back_through, bent, bent_and_straight};
use engine::kernels::linear::linear;
use engine::kernels::matmul::{Factor, as_layers_multiply, product_of_layer};
use engine::{Shape, ShapeError, Tensor};

/// The function φ between the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x Φ(x) with the error function.
    Gelu,
    /// The tanh form of the same.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// Operations for each number: of φ forward, of φ and φ′ together with the product by it backward.
    fn flops(self) -> [u64; 2] {
        let [forward, backward] = match self {
            Activation::Gelu => gelu::EXACT,
            Activation::GeluTanh => gelu::APPROXIMATE,
            Activation::Relu => [1, 1],
        };
        [forward, backward + 1]
    }
}

/// `call!(activation, f(a, b))` is `f(a, b, φ)` with the function that the activation names.
macro_rules! call {
    ($activation:expr, $f:ident($($argument:expr),*)) => {
        match $activation {
            Activation::Gelu => $f($($argument),*, Exact),
            Activation::GeluTanh => $f($($argument),*, Approximate),
            Activation::Relu => $f($($argument),*, Relu),
        }
    };
}

impl<'t> Var<'t> {
    /// φ(x w₁ᵀ + b₁) w₂ᵀ + b₂: x `[.., d]`, w₁ `[f, d]`, b₁ `[f]`, w₂ `[e, f]`, b₂ `[e]` → `[.., e]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn feed_forward(
        self,
        w1: Var<'t>,
        b1: Var<'t>,
        w2: Var<'t>,
        b2: Var<'t>,
        activation: Activation,
    ) -> Var<'t> {
        self.tape().apply(FeedForward(activation), &[self, w1, b1, w2, b2])
    }
}

#[derive(Debug)]
struct FeedForward(Activation);

impl Op for FeedForward {
    fn name(&self) -> &'static str {
        "feed_forward"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING.input(0).input(1).input(3)
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [x, w1, b1, w2, b2] = [0, 1, 2, 3, 4].map(|i| inputs[i]);
        let fits = x.rank() > 0
            && w1.rank() == 2
            && w2.rank() == 2
            && x.last() == w1.last()
            && w2.last() == w1.dim(0)
            && b1.dims() == [w1.dim(0)]
            && b2.dims() == [w2.dim(0)];
        match fits {
            true => Ok(x.with_last(w2.dim(0))),
            false => Err(ShapeError::new("x [.., d], w1 [f, d], b1 [f], w2 [e, f], b2 [e]", inputs)),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let (rows, f) = (n.of(0) / n.width(0), n.width(3));
        let (first, second) = (2 * rows * f * n.width(0), 2 * n.out() * f);
        let [there, back] = self.0.flops();
        // ū wants ȳ W₂ whatever else is wanted, and φ′(u) has φ(u) beside it.
        let backward = second * (1 + n.wants(3)) + first * (n.wants(0) + n.wants(1));
        let sums = n.wants(4) * n.out() + n.wants(2) * rows * f;
        Flops { forward: first + second + rows * f * there, backward: backward + sums + rows * f * back }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (engine, [x, w1, b1, w2, b2]) = (cx.engine, [0, 1, 2, 3, 4].map(|i| &cx.inputs[i]));
        if !cx.wants_grad {
            return linear(engine, &call!(self.0, bent(engine, x, w1, b1)), w2, Some(b2));
        }
        let [u, inner] = call!(self.0, bent_and_straight(engine, x, w1, b1));
        cx.save(u);
        linear(engine, &inner, w2, Some(b2))
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let by_rows = |t: &Tensor| t.reshape([t.shape().rows(), t.shape().last()]);
        let (engine, grad, x, u) = (cx.engine, by_rows(cx.grad), by_rows(cx.input(0)), by_rows(cx.saved(0)));
        // Once for both products; b̄₂ is summed from ȳ itself.
        let rounded = as_layers_multiply(&grad);
        let [inner_grad, inner] = call!(self.0, back_through(engine, &rounded, cx.input(3), &u));
        let (second, first) = (Factor::new(&rounded), Factor::new(&inner_grad));
        if cx.wants(3) {
            cx.give(3, product_of_layer(engine, second.t(), Factor::new(&inner)));
        }
        if cx.wants(4) {
            cx.give(4, sum_to(engine, &grad, cx.shape(4)));
        }
        // Its buffer serves what follows.
        drop(inner);
        if cx.wants(1) {
            cx.give(1, product_of_layer(engine, first.t(), Factor::new(&x)));
        }
        if cx.wants(2) {
            cx.give(2, sum_to(engine, &inner_grad, cx.shape(2)));
        }
        if cx.wants(0) {
            let x = product_of_layer(engine, first, Factor::weight(cx.input(1)));
            cx.give(0, x.reshape(cx.shape(0)));
        }
    }
}

/// w₁, b₁, w₂, b₂ from 3 channels over 5 to 2.
const MAPS: [In; 4] = [In::normal(&[5, 3]), In::normal(&[5]), In::normal(&[2, 5]), In::normal(&[2])];

pub(super) const ENTRY: Entry = Entry {
    name: "feed_forward",
    cases: &[
        Case::new("gelu", &[In::normal(&[4, 3]), MAPS[0], MAPS[1], MAPS[2], MAPS[3]], |x| {
            x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::Gelu)
        }),
        Case::new(
            "gelu by tanh, a batch",
            &[In::normal(&[2, 2, 3]), MAPS[0], MAPS[1], MAPS[2], MAPS[3]],
            |x| x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::GeluTanh),
        ),
        Case::new("relu", &[In::normal(&[4, 3]), MAPS[0], MAPS[1], MAPS[2], MAPS[3]], |x| {
            x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::Relu)
        }),
        Case::new("one vector", &[In::normal(&[3]), MAPS[0], MAPS[1], MAPS[2], MAPS[3]], |x| {
            x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::Gelu)
        }),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::{Engine, Stream};

    const SHAPES: [&[usize]; 5] = [&[150, 24], &[100, 24], &[100], &[24, 100], &[24]];

    /// y and the gradients of x and the four parameters, by one operation or by three.
    fn run(threads: usize, activation: Activation, fused: bool) -> Vec<Vec<f64>> {
        let tape = Tape::new(&Engine::poisoned(threads));
        let draw = |dims: &[usize], tag| {
            let n: usize = dims.iter().product();
            let numbers = (0..n as u64).map(|i| Stream::new(1, tag).uniform(i) as f32 - 0.5).collect();
            Tensor::from_vec(Shape::new(dims), numbers)
        };
        let mut tag = 0;
        let leaves = SHAPES.map(|dims| {
            tag += 1;
            tape.leaf(draw(dims, tag))
        });
        let [x, w1, b1, w2, b2] = leaves;
        let y = if fused {
            x.feed_forward(w1, b1, w2, b2, activation)
        } else {
            let u = x.linear(w1, Some(b1));
            let inner = match activation {
                Activation::Gelu => u.gelu(),
                Activation::GeluTanh => u.gelu_tanh(),
                Activation::Relu => u.relu(),
            };
            inner.linear(w2, Some(b2))
        };
        let value = y.value().to_f64();
        let grads = tape.backward(vec![(y, draw(&[150, 24], 9))]);
        [vec![value], leaves.map(|v| grads.of(v).to_f64()).to_vec()].concat()
    }

    #[test]
    fn one_operation_gives_the_bits_of_three_for_any_number_of_threads() {
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            let want = run(1, activation, false);
            assert!([1, 2, 3].into_iter().all(|threads| run(threads, activation, true) == want));
        }
    }

    #[test]
    fn without_a_gradient_the_value_is_the_same() {
        let engine = Engine::new(2);
        let values = [Tape::new(&engine), Tape::inference(&engine)].map(|tape| {
            let [x, w1, b1, w2, b2] = SHAPES.map(|dims| {
                let n = dims.iter().product::<usize>();
                tape.leaf(Tensor::from_vec(Shape::new(dims), (0..n).map(|i| (i as f32).sin()).collect()))
            });
            x.feed_forward(w1, b1, w2, b2, Activation::Gelu).value().to_f64()
        });
        assert_eq!(values[0], values[1]);
    }
}
