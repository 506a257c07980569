//! y = ln Σ_j keep_j e^{x_j}, over the kept entries of every row.
//!
//! ```text
//! x̄_j = ȳ keep_j e^{x_j − y}
//!
//! x [.., m], keep [.., m] → y [..]
//! ```
//! A row in which nothing is kept has y = −∞, the logarithm of nothing, and gradient zero: a loss that meets such a row
//! drops it or sees the infinity, never a made-up number. Input and output are kept, the terms are computed again.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::logsumexp::{logsumexp, logsumexp_back};
use engine::{Shape, ShapeError, Tensor};
use std::sync::Arc;

impl<'t> Var<'t> {
    /// The logarithm of the sum of exponentials of every row: `[.., m]` → `[..]`. With `keep` (row-major, one flag for
    /// each element) only over the kept entries; a row without one gives −∞ and passes no gradient.
    ///
    /// # Panics
    /// If this is a scalar, or `keep` has another length.
    #[track_caller]
    pub fn logsumexp(self, keep: Option<Arc<[bool]>>) -> Var<'t> {
        self.tape().apply(LogSumExp { keep }, &[self])
    }
}

#[derive(Debug)]
struct LogSumExp {
    keep: Option<Arc<[bool]>>,
}

impl Op for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS.and_output()
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let Some((_, rows)) = inputs[0].dims().split_last() else {
            return Err(ShapeError::new("a logsumexp needs at least one dimension", inputs));
        };
        match &self.keep {
            Some(keep) if keep.len() != inputs[0].len() => {
                Err(ShapeError::new(format!("{} flags, one for each element", keep.len()), inputs))
            }
            _ => Ok(Shape::new(rows)),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // max, −, e, Σ; backward −, e, ·
        Flops::each(n.of(0), 4, 3)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        logsumexp(cx.engine, &cx.inputs[0], self.keep.as_deref())
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let keep = self.keep.as_deref();
        cx.give(0, logsumexp_back(cx.engine, cx.input(0), keep, cx.output(), cx.grad));
    }
}

/// Flags of a 3 × 5 matrix: the middle row keeps one entry.
const KEEP: [bool; 15] = {
    const YES: bool = true;
    const NO: bool = false;
    [YES, NO, YES, YES, NO, NO, NO, NO, YES, NO, YES, YES, YES, YES, YES]
};

pub(super) const ENTRY: Entry = Entry {
    name: "logsumexp",
    cases: &[
        Case::new("all kept", &[In::normal(&[3, 5])], |x| x[0].logsumexp(None)),
        Case::new("masked", &[In::normal(&[3, 5]).blocked(|i| !KEEP[i])], |x| {
            x[0].logsumexp(Some(Arc::from(KEEP)))
        }),
        Case::new("long row", &[In::normal(&[2, 21])], |x| x[0].logsumexp(None)),
        Case::new("single row", &[In::normal(&[4])], |x| x[0].logsumexp(None)),
        Case::new("single column", &[In::normal(&[3, 1])], |x| x[0].logsumexp(None)),
        Case::new("batch", &[In::normal(&[2, 2, 3])], |x| x[0].logsumexp(None)),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};
    use std::sync::Arc;

    #[test]
    fn kept_weights_add_up_at_any_level() {
        let tape = Tape::inference(&Engine::new(1));
        for level in [0.0, 1000.0, -1000.0] {
            let x = [1.0f64, 2.0, 5.0].map(|w| w.ln() + level);
            let x = tape.leaf(Tensor::from_vec([1, 3], x.to_vec()));
            assert!((x.logsumexp(None).value().item() - level - 8f64.ln()).abs() < 1e-12);
            let kept = x.logsumexp(Some(Arc::from([true, false, true])));
            assert!((kept.value().item() - level - 6f64.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn a_row_with_nothing_kept_is_minus_infinity_without_gradient() {
        let tape = Tape::new(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 3.0, f32::NEG_INFINITY]));
        let y = x.logsumexp(Some(Arc::from([false, false, true, true])));
        assert_eq!(y.value().to_f64(), [f64::NEG_INFINITY, 3.0]);
        let grads = tape.backward(vec![(y, Tensor::from_vec([2], vec![1.0f32, 1.0]))]);
        assert_eq!(grads.of(x).to_f64(), [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn nan_is_not_hidden() {
        let tape = Tape::inference(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([2, 2], vec![f32::NAN, 1.0, f32::NAN, f32::NAN]));
        assert!(x.logsumexp(None).value().to_f64().iter().all(|y| y.is_nan()));
    }
}
