//! Rotary positions (Su et al. 2021, "RoFormer", equation 34): queries and keys are turned by their positions, so that
//! their products depend on the distance alone.
//!
//! ```text
//! forward    (y_c, y_{c+d/2}) = R(p·θ_c) (x_c, x_{c+d/2}),  θ_c = base^(−2c/d)      x, y  [T, heads·d]
//!            R(φ) = (cos φ, −sin φ; sin φ, cos φ)           for c < d/2 in every head, p the position in the text
//! backward   (x̄_c, x̄_{c+d/2}) = R(−p·θ_c) (ȳ_c, ȳ_{c+d/2})
//! ```
//! Channel c is paired with c + d/2, as transformers has it, and not with its neighbour as in the paper: weights of one
//! form do not fit the other. Keeps nothing.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::rotary::{Turn, rotary};
use engine::{Shape, ShapeError, Tensor};
use std::sync::Arc;

impl<'t> Var<'t> {
    /// Rows `[T, heads·d]`, each turned by its position: `positions` `[T]`, d even.
    #[track_caller]
    pub fn rotary(self, positions: Arc<[u32]>, heads: usize, base: f64) -> Var<'t> {
        self.tape().apply(Rotary { positions, heads, base }, &[self])
    }
}

#[derive(Debug)]
struct Rotary {
    positions: Arc<[u32]>,
    heads: usize,
    base: f64,
}

impl Op for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let (x, heads) = (inputs[0], self.heads);
        if x.rank() != 2 || heads == 0 || x.dim(1) == 0 || !x.dim(1).is_multiple_of(2 * heads) {
            return Err(ShapeError::new(format!("x is [T, {heads} heads · d], d even"), inputs));
        }
        if x.dim(0) != self.positions.len() {
            return Err(ShapeError::new(format!("x has {} rows", self.positions.len()), inputs));
        }
        Ok(x)
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), 3, 3)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        rotary(cx.engine, &cx.inputs[0], &self.positions, (self.heads, self.base), Turn::Forward)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, rotary(cx.engine, cx.grad, &self.positions, (self.heads, self.base), Turn::Back));
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "rotary",
    cases: &[
        Case::new("two heads", &[In::normal(&[5, 8])], |x| {
            x[0].rotary(Arc::new([0, 1, 2, 0, 700]), 2, 100.0)
        }),
        Case::new("one pair", &[In::normal(&[3, 2])], |x| x[0].rotary(Arc::new([0, 1, 2]), 1, 1e4)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    fn turned(x: Vec<f32>, position: u32, d: usize) -> Vec<f64> {
        let tape = Tape::inference(&Engine::poisoned(1));
        let x = tape.leaf(Tensor::from_vec([1, d], x));
        x.rotary(Arc::new([position]), 1, 1e4).value().to_f64()
    }

    /// A quarter turn and its hundredth: with d = 4 and base 10⁴ the second pair is a hundred times slower.
    #[test]
    fn pairs_turn_by_their_own_speed() {
        let y = turned(vec![1.0, 0.0, 0.0, 1.0], 3, 4);
        let want = [3f64.cos(), -(0.03f64.sin()), 3f64.sin(), 0.03f64.cos()];
        assert!(y.iter().zip(want).all(|(y, want)| (y - want).abs() < 1e-7), "{y:?}");
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        let (q, k): (Vec<f32>, Vec<f32>) =
            (0..16).map(|i| ((i as f32).sin(), (2.0 * i as f32).cos())).unzip();
        let product = |at, from| -> f64 {
            turned(q.clone(), at, 16).iter().zip(turned(k.clone(), from, 16)).map(|(a, b)| a * b).sum()
        };
        assert!((product(9, 4) - product(105, 100)).abs() < 1e-5);
        assert!((product(9, 4) - product(9, 3)).abs() > 1e-2);
    }
}
