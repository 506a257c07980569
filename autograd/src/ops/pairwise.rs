//! Losses of pairs: how far the score of a positive lies above that of a negative.
//!
//! ```text
//! forward    RankNet      ℓ = softplus(s⁻ − s⁺)                   Burges et al. 2005
//!            Margin-MSE   ℓ = e²,  e = (s⁺ − s⁻) − margin         Hofstätter et al. 2020: a teacher's T⁺ − T⁻
//! backward   RankNet      s̄⁻ = ℓ̄·σ(s⁻ − s⁺),  s̄⁺ = −s̄⁻
//!            Margin-MSE   s̄⁺ = ℓ̄·2e,          s̄⁻ = −s̄⁺
//! ```
//! Element by element; all of one shape. The softmax loss of a row of one positive and one negative is RankNet.
//! softplus x = max(x, 0) + ln(1 + e^{−|x|}), which overflows nowhere.

use super::Entry;
use crate::gradcheck::{Case, In, constant};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};

/// The form of a pairwise loss.
#[derive(Clone, Debug)]
pub enum Pairwise {
    /// The positive should have the larger score.
    RankNet,
    /// The scores should lie as far apart as a teacher's.
    MarginMse {
        /// The teacher's score of the positive minus that of the negative, in the shape of the scores.
        margin: Tensor,
    },
}

impl<'t> Var<'t> {
    /// The loss of every pair: `self` are the scores of the positives, `negative` those of the negatives; one shape.
    #[track_caller]
    pub fn pairwise(self, negative: Var<'t>, form: Pairwise) -> Var<'t> {
        self.tape().apply(form, &[self, negative])
    }
}

impl Op for Pairwise {
    fn name(&self) -> &'static str {
        "pairwise"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let teacher = if let Pairwise::MarginMse { margin } = self { margin.shape() } else { inputs[0] };
        if inputs[0] != inputs[1] || inputs[0] != teacher {
            let rule = "positives, negatives and margins have one shape";
            return Err(ShapeError::new(rule, &[inputs[0], inputs[1], teacher]));
        }
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        match self {
            // −, and as `softplus.rs`; backward −, σ, ·, −
            Pairwise::RankNet => Flops::each(n.out(), 7, 7),
            // −, −, ·; backward −, −, +, ·, −
            Pairwise::MarginMse { .. } => Flops::each(n.out(), 3, 5),
        }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let above = map2(cx.engine, &cx.inputs[0], &cx.inputs[1], Minus);
        match self {
            Pairwise::RankNet => map1(cx.engine, &above, SoftplusOfMinus),
            Pairwise::MarginMse { margin } => {
                let error = map2(cx.engine, &above, margin, Minus);
                map2(cx.engine, &error, &error, Times)
            }
        }
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let above = map2(cx.engine, cx.input(0), cx.input(1), Minus);
        let slope = match self {
            Pairwise::RankNet => map1(cx.engine, &above, MinusSigmoidOfMinus),
            Pairwise::MarginMse { margin } => {
                let error = map2(cx.engine, &above, margin, Minus);
                map2(cx.engine, &error, &error, Plus)
            }
        };
        let positive = map2(cx.engine, &slope, cx.grad, Times);
        let negative = map1(cx.engine, &positive, Negated);
        cx.give(0, positive);
        cx.give(1, negative);
    }
}

struct Minus;
impl Map2 for Minus {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a - b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Minus)
    }
}

struct Plus;
impl Map2 for Plus {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a + b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Plus)
    }
}

struct Times;
impl Map2 for Times {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a * b
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::Times)
    }
}

struct Negated;
impl Map1 for Negated {
    fn at<T: Real>(&self, x: T) -> T {
        -x
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Linear(-1.0, 0.0))
    }
}

/// softplus(−x).
struct SoftplusOfMinus;
impl Map1 for SoftplusOfMinus {
    fn at<T: Real>(&self, x: T) -> T {
        // The maximum with a NaN is its second number: a NaN must not become 0.
        T::ZERO.max(-x) + (-x.abs()).exp().ln_1p()
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::SoftplusOfMinus)
    }
}

/// −σ(−x), the derivative of softplus(−x).
struct MinusSigmoidOfMinus;
impl Map1 for MinusSigmoidOfMinus {
    fn at<T: Real>(&self, x: T) -> T {
        -T::ONE / (T::ONE + x.exp())
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::MinusSigmoidOfMinus)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "pairwise",
    cases: &[
        Case::new("RankNet", &[In::normal(&[6]), In::normal(&[6])], |x| {
            x[0].pairwise(x[1], Pairwise::RankNet)
        }),
        Case::new("Margin-MSE", &[In::normal(&[2, 3]), In::normal(&[2, 3])], |x| {
            let margin = constant(x[0], &[2, 3], &[0.5, -1.0, 2.0, 0.0, 7.0, 0.1]);
            x[0].pairwise(x[1], Pairwise::MarginMse { margin })
        }),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::Engine;

    fn losses(form: Pairwise, positive: &[f64], negative: &[f64]) -> Vec<f64> {
        let tape = Tape::new(&Engine::new(1));
        let leaf = |x: &[f64]| tape.leaf(Tensor::from_vec([x.len()], x.to_vec()));
        leaf(positive).pairwise(leaf(negative), form).value().to_f64()
    }

    #[test]
    fn losses_equal_those_by_hand() {
        // s⁺ = s⁻: ln 2. s⁺ − s⁻ = ln 3: ln(1 + 1/3).
        let got = losses(Pairwise::RankNet, &[1.0, 3f64.ln()], &[1.0, 0.0]);
        assert!((got[0] - 2f64.ln()).abs() < 1e-15 && (got[1] - (4.0f64 / 3.0).ln()).abs() < 1e-15);
        let margin = Tensor::from_vec([2], vec![1.0, -1.0f64]);
        assert_eq!(losses(Pairwise::MarginMse { margin }, &[4.0, 1.0], &[1.0, 4.0]), [4.0, 4.0]);
    }

    #[test]
    fn distant_scores_do_not_overflow() {
        assert_eq!(losses(Pairwise::RankNet, &[1e4, -1e4], &[-1e4, 1e4]), [0.0, 2e4]);
        assert!(losses(Pairwise::RankNet, &[f64::NAN], &[0.0])[0].is_nan());
    }
}
