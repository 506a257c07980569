//! SoftTop-k (Gupta et al., "Dual-encoders for extreme multi-label classification", ICLR 2024): how far each score of a
//! row belongs to its k largest, as the logarithm of a number in (0, 1).
//!
//! ```text
//! s [n, m] scores, the columns of a row that take part
//!
//! forward    t with Σ_j σ(α(s_j + t)) = k           y_j = log σ(α(s_j + t))
//! backward   u_j = α ȳ_j (1 − σ_j),  v_j = α σ_j (1 − σ_j)            s̄ = u − v (Σu)/(Σv)
//! ```
//! t depends on all scores of the row: Σ_j v_j (1 + ∂t/∂s_i) = 0 gives ∂t/∂s_i = −v_i/Σv, the second term. The sum of
//! s̄ is 0: a row that is shifted as a whole stays what it was. The loss of a row with positives P is −(1/|P|) Σ_p y_p.
//!
//! t is found by halving an interval and two steps of Newton, the output alone is kept. A row of at most k columns has
//! no such t: y and s̄ are exactly 0 there, as they are in columns that take no part.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::relevance::Relevance;
pub use engine::kernels::soft_top_k::SoftTopK;
use engine::kernels::soft_top_k::{HALVINGS, POLISH, gradient, soft_top_k};
use engine::{Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// log σ(α(s + t)) of every score: `[n, m]` → `[n, m]`.
    #[track_caller]
    pub fn soft_top_k(self, top: SoftTopK) -> Var<'t> {
        self.tape().apply(top, &[self])
    }
}

impl Op for SoftTopK {
    fn name(&self) -> &'static str {
        "soft_top_k"
    }
    fn keep(&self) -> Keep {
        Keep::OUTPUT
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let s = inputs[0];
        let rule = if s.rank() != 2 || s.dim(1) == 0 {
            "scores are [n, m], m > 0"
        } else if !self.relevance.fits(s.len()) {
            "positives and negatives have one entry for every score"
        } else if !(self.k > 0.0 && self.sharpness > 0.0) {
            "k and the sharpness are positive"
        } else {
            return Ok(s);
        };
        Err(ShapeError::new(rule, inputs))
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // A search step: +, ·, σ, Σ; one of Newton also ·, −, Σ. Backward e of y, −, ·, ·, ·, Σ, Σ, ·, /, −.
        Flops::each(n.out(), 7 * (HALVINGS + POLISH) as u64 + 3 * POLISH as u64, 10)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        soft_top_k(cx.engine, &cx.inputs[0], self)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, gradient(cx.engine, cx.output(), cx.grad, self));
    }
}

/// Row 0: all columns. Row 1: one is left out. Row 2: two columns, of which the top two are all.
fn case() -> SoftTopK {
    let rows = [[1, 1, 2, 2, 2], [2, 1, 0, 2, 1], [1, 2, 0, 0, 0]];
    let marks = |of: u8| rows.map(|r| r.map(|m| m == of)).concat();
    let relevance = Relevance { positive: marks(1).into(), negative: marks(2).into() };
    SoftTopK { k: 2.0, sharpness: 1.3, relevance }
}

pub(super) const ENTRY: Entry = Entry {
    name: "soft_top_k",
    cases: &[Case::new(
        "all, some and few columns",
        &[In::normal(&[3, 5]).blocked(|i| i == 7 || i >= 10)],
        |x| x[0].soft_top_k(case()),
    )],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    fn members(scores: Vec<f32>, k: f64, sharpness: f64) -> Vec<f64> {
        let m = scores.len();
        let relevance = Relevance { positive: vec![true; m].into(), negative: vec![true; m].into() };
        let tape = Tape::inference(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([1, m], scores));
        let y = s.soft_top_k(SoftTopK { k, sharpness, relevance }).value().to_f64();
        y.iter().map(|y| y.exp()).collect()
    }

    #[test]
    fn members_equal_the_known_ones() {
        let got = members(vec![2.0, 1.0, 0.5, -1.0, 0.0], 2.0, 2.0);
        let want = [0.909_613, 0.576_622, 0.333_793, 0.024_338, 0.155_634];
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 2e-6), "{got:?}");
    }

    #[test]
    fn members_add_up_to_k_whatever_the_range_of_the_scores() {
        for (spread, k) in [(0.01f32, 1.0), (1.0, 5.0), (300.0, 5.0), (300.0, 59.0)] {
            let got = members((0..60).map(|i| spread * (i * 37 % 60) as f32).collect(), k, 2.0);
            let sum: f64 = got.iter().sum();
            assert!((sum - k).abs() < 1e-3 * k, "spread {spread}: {sum}");
        }
    }
}
