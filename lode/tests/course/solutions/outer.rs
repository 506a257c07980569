//! Exercise 2: an operation of your own, the outer product.
//!
//! ```text
//! y_ij = a_i b_j            a [m], b [n] → y [m, n]
//! ā_i = Σ_j ȳ_ij b_j        a_i touches row i, each entry with the slope b_j
//! b̄_j = Σ_i ȳ_ij a_i        b_j touches column j
//! ```

use lode::Tensor;
use lode::autograd::gradcheck::{Case, In};
use lode::autograd::{Backward, Flops, Forward, Keep, Op, Sizes};
use lode::engine::{Shape, ShapeError};

#[derive(Debug)]
struct Outer;

impl Op for Outer {
    fn name(&self) -> &'static str {
        "outer"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match (inputs[0].dims(), inputs[1].dims()) {
            (&[m], &[n]) => Ok(Shape::from([m, n])),
            _ => Err(ShapeError::new("[m] times [n]", inputs)),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops { forward: n.out(), backward: 2 * n.out() * (n.wants(0) + n.wants(1)) }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let (a, b) = (cx.inputs[0].to_f64(), cx.inputs[1].to_f64());
        let y: Vec<f64> = a.iter().flat_map(|a| b.iter().map(move |b| a * b)).collect();
        Tensor::from_vec([a.len(), b.len()], y)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let (a, b) = (cx.input(0).to_f64(), cx.input(1).to_f64());
        let y = cx.grad.to_f64(); // ȳ, row by row: ȳ_ij is y[i * b.len() + j]
        let (mut of_a, mut of_b) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        for i in 0..a.len() {
            for j in 0..b.len() {
                of_a[i] += y[i * b.len() + j] * b[j];
                of_b[j] += y[i * b.len() + j] * a[i];
            }
        }
        cx.give(0, Tensor::from_vec([a.len()], of_a));
        cx.give(1, Tensor::from_vec([b.len()], of_b));
    }
}

/// What the gradient checker tries: a of 3 numbers, b of 4.
pub(crate) const CASE: Case =
    Case::new("outer product", &[In::normal(&[3]), In::normal(&[4])], |x| x[0].tape().apply(Outer, x));
