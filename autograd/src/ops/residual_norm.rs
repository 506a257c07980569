//! y = LN(x + m ∘ r/(1 − rate)): a branch r joins the residual stream x, and the sum is normalised. What stands behind
//! both halves of a post-norm layer (Vaswani et al. 2017), in one pass.
//!
//! ```text
//! forward    s = x + m ∘ r/(1 − rate),  y = LN(s)             x, r, y [.., d], w, b [d]; m and LN as in
//!                                                             `dropout.rs` and `layer_norm.rs`
//! backward   s̄, w̄, b̄  by LN from s and ȳ
//!            x̄ = s̄,   r̄ = m ∘ s̄/(1 − rate)
//! ```
//! Three operations would read or write twelve rows of d numbers for a row of y; this one reads and writes four
//! forward and four backward. It keeps s and two moments a row: y does not give s back where a weight is near 0.

use super::dropout::{Dropout, a_third, broken, is_dropped};
use super::{Entry, layer_norm};
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::residual_norm::{gradients, residual_norm};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The layer norm of `self` plus `branch`, of which some numbers are dropped: `[.., d]`, `[.., d]`, w `[d]`, b
    /// `[d]` → `[.., d]`.
    #[track_caller]
    pub fn residual_norm(
        self,
        branch: Var<'t>,
        dropout: &Option<Dropout>,
        w: Var<'t>,
        b: Var<'t>,
        eps: f64,
    ) -> Var<'t> {
        let dropout = dropout.clone().filter(|d| d.rate != 0.0);
        self.tape().apply(ResidualNorm { dropout, eps }, &[self, branch, w, b])
    }
}

#[derive(Debug)]
struct ResidualNorm {
    dropout: Option<Dropout>,
    eps: f64,
}

impl Op for ResidualNorm {
    fn name(&self) -> &'static str {
        "residual_norm"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING.input(2)
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [x, r, w, b] = [inputs[0], inputs[1], inputs[2], inputs[3]];
        let row = Shape::from([x.last()]);
        if x.rank() == 0 || x.last() == 0 || x != r || w != row || b != row {
            return Err(ShapeError::new("x and the branch are [.., d], w and b are [d], d > 0", inputs));
        }
        match self.dropout.as_ref().and_then(|dropout| broken(dropout, x.rows())) {
            Some(rule) => Err(ShapeError::new(rule, inputs)),
            None => Ok(x),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let dropped = u64::from(self.dropout.is_some());
        Flops::each(n.out(), 1 + dropped + layer_norm::FORWARD, dropped + layer_norm::BACKWARD)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let inputs = [0, 1, 2, 3].map(|i| &cx.inputs[i]);
        let [y, s, moments] = residual_norm(cx.engine, inputs, self.dropout.as_ref(), self.eps);
        cx.save(s);
        cx.save(moments);
        y
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let given = [cx.saved(0), cx.saved(1), cx.input(2), cx.grad];
        let grads = gradients(cx.engine, given, self.dropout.as_ref());
        for (i, grad) in grads.into_iter().enumerate() {
            cx.give(i, grad);
        }
    }
}

const WIDE: [In; 2] = [In::normal(&[70]), In::normal(&[70])];

pub(super) const ENTRY: Entry = Entry {
    name: "residual_norm",
    cases: &[
        Case::new(
            "no dropout",
            &[In::normal(&[3, 5]), In::normal(&[3, 5]), In::normal(&[5]), In::normal(&[5])],
            |x| x[0].residual_norm(x[1], &None, x[2], x[3], 1e-5),
        ),
        Case::new(
            "a third of the branch is dropped",
            &[In::normal(&[3, 70]), In::normal(&[3, 70]).blocked(is_dropped), WIDE[0], WIDE[1]],
            |x| x[0].residual_norm(x[1], &Some(a_third()), x[2], x[3], 1e-5),
        ),
        Case::new(
            "more rows than one block",
            &[In::normal(&[65, 17]), In::normal(&[65, 17]), In::normal(&[17]), In::normal(&[17])],
            |x| x[0].residual_norm(x[1], &None, x[2], x[3], 1e-5),
        ),
        Case::new(
            "one value is stream and branch",
            &[In::normal(&[2, 5]), In::normal(&[5]), In::normal(&[5])],
            |x| x[0].residual_norm(x[0], &None, x[1], x[2], 0.5),
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::{Engine, Places, Stream};
    use std::sync::Arc;

    /// y and the gradients of x, r, w, b, with the bits of one operation or of three.
    fn run(threads: usize, dropout: &Option<Dropout>, fused: bool) -> Vec<Vec<f64>> {
        let tape = Tape::new(&Engine::poisoned(threads));
        let draw = |dims: &[usize], tag| {
            let n: usize = dims.iter().product();
            let numbers = (0..n as u64).map(|i| Stream::new(1, tag).uniform(i) as f32 - 0.5).collect();
            Tensor::from_vec(Shape::new(dims), numbers)
        };
        let [x, r] = [1, 2].map(|tag| tape.leaf(draw(&[150, 70], tag)));
        let [w, b] = [3, 4].map(|tag| tape.leaf(draw(&[70], tag)));
        let y = if fused {
            x.residual_norm(r, dropout, w, b, 1e-12)
        } else {
            (x + dropout.as_ref().map_or(r, |dropout| r.dropout(dropout))).layer_norm(w, b, 1e-12)
        };
        let value = y.value().to_f64();
        let grads = tape.backward(vec![(y, draw(&[150, 70], 5))]);
        [vec![value], [x, r, w, b].map(|v| grads.of(v).to_f64()).to_vec()].concat()
    }

    #[test]
    fn one_pass_gives_the_bits_of_three_for_any_number_of_threads() {
        let places = Arc::new(Places::new(&[0, 60, 61, 150], 3));
        for dropout in [None, Some(Dropout { rate: 0.3, key: [1, 2], places })] {
            let want = run(1, &dropout, false);
            assert!([1, 2, 3].into_iter().all(|threads| run(threads, &dropout, true) == want));
        }
    }
}
