//! y = a·b, one product of matrices or a batch of them.
//!
//! ```text
//! matmul      y = a b     ā = ȳ bᵀ,  b̄ = aᵀ ȳ
//! matmul_nt   y = a bᵀ    ā = ȳ b,   b̄ = ȳᵀ a
//!
//! a [m, k], b [k, n] (nt: [n, k]) → y [m, n]; all three with the same leading dimension in a batch
//! ```
//! A transpose is a flag that the product reads, so all six products run without a copy. Scores of queries against
//! labels are `queries.matmul_nt(labels)`.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::matmul::{Factor, product};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// a·b: `[m, k]` · `[k, n]` → `[m, n]`, or the same in a batch, `[batch, m, k]` · `[batch, k, n]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul(self, b: Var<'t>) -> Var<'t> {
        self.tape().apply(MatMul { transposed: false }, &[self, b])
    }
    /// a·bᵀ: `[m, k]` · `[n, k]`ᵀ → `[m, n]`, or the same in a batch.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_nt(self, b: Var<'t>) -> Var<'t> {
        self.tape().apply(MatMul { transposed: true }, &[self, b])
    }
}

#[derive(Debug)]
struct MatMul {
    /// Whether b is read as bᵀ.
    transposed: bool,
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let turn = |k, n| if self.transposed { (n, k) } else { (k, n) };
        match (inputs[0].dims(), inputs[1].dims()) {
            (&[m, k], &[r, c]) if turn(r, c).0 == k => Ok(Shape::from([m, turn(r, c).1])),
            (&[batch, m, k], &[batch_b, r, c]) if batch == batch_b && turn(r, c).0 == k => {
                Ok(Shape::from([batch, m, turn(r, c).1]))
            }
            _ => {
                let rule = if self.transposed {
                    "[.., m, k] times [.., n, k]ᵀ"
                } else {
                    "[.., m, k] times [.., k, n]"
                };
                Err(ShapeError::new(format!("{rule}, rank 2 or 3"), inputs))
            }
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let product = 2 * n.out() * n.width(0);
        Flops { forward: product, backward: (n.wants(0) + n.wants(1)) * product }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let [a, b] = [0, 1].map(|i| Factor::new(&cx.inputs[i]));
        product(cx.engine, a, if self.transposed { b.t() } else { b })
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let y = Factor::new(cx.grad);
        if cx.wants(0) {
            let b = Factor::new(cx.input(1));
            cx.give(0, product(cx.engine, y, if self.transposed { b } else { b.t() }));
        }
        if cx.wants(1) {
            let a = Factor::new(cx.input(0));
            let (left, right) = if self.transposed { (y.t(), a) } else { (a.t(), y) };
            cx.give(1, product(cx.engine, left, right));
        }
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "matmul",
    cases: &[
        Case::new("matrices", &[In::normal(&[3, 4]), In::normal(&[4, 2])], |x| x[0].matmul(x[1])),
        Case::new("batch", &[In::normal(&[2, 3, 4]), In::normal(&[2, 4, 5])], |x| x[0].matmul(x[1])),
        Case::new("transposed", &[In::normal(&[3, 4]), In::normal(&[5, 4])], |x| x[0].matmul_nt(x[1])),
        Case::new("batch, transposed", &[In::normal(&[2, 3, 4]), In::normal(&[2, 5, 4])], |x| {
            x[0].matmul_nt(x[1])
        }),
        Case::new("row by column", &[In::normal(&[1, 4]), In::normal(&[4, 1])], |x| x[0].matmul(x[1])),
        Case::new("column by row", &[In::normal(&[3, 1]), In::normal(&[1, 4])], |x| x[0].matmul(x[1])),
        Case::new("a value with itself", &[In::normal(&[3, 2])], |x| x[0].matmul_nt(x[0])),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn products_by_hand() {
        let tape = Tape::inference(&Engine::new(1));
        let a = tape.leaf(Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 3.0, 4.0]));
        let b = tape.leaf(Tensor::from_vec([2, 2], vec![5.0f32, 6.0, 7.0, 8.0]));
        assert_eq!(a.matmul(b).value().to_f64(), [19.0, 22.0, 43.0, 50.0]);
        assert_eq!(a.matmul_nt(b).value().to_f64(), [17.0, 23.0, 39.0, 53.0]);
        let (batch_a, batch_b) = (a.reshape([2, 1, 2]), b.reshape([2, 2, 1]));
        assert_eq!(batch_a.matmul(batch_b).value().to_f64(), [17.0, 53.0]);
    }

    #[test]
    #[should_panic(expected = "matmul: [.., m, k] times [.., k, n], rank 2 or 3; got [[2, 3], [2, 3]]")]
    fn inner_dimensions_that_differ_are_refused() {
        let tape = Tape::inference(&Engine::new(1));
        let a = tape.leaf(Tensor::from_vec([2, 3], vec![0.0f32; 6]));
        a.matmul(a);
    }
}
