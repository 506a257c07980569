//! y = (Σ x) / n, over all elements or over the innermost dimension.
//!
//! ```text
//! x̄_i = ȳ / n        the same for every element that was added
//! ```

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::Function1;
use engine::kernels::broadcast::sum_to;
use engine::kernels::map::{Map1, map1};
use engine::kernels::mean::spread;
use engine::{Real, Shape, ShapeError, Tensor};

impl<'t> Var<'t> {
    /// The mean of all elements: a scalar.
    ///
    /// # Panics
    /// If there is no element.
    #[track_caller]
    pub fn mean(self) -> Var<'t> {
        self.tape().apply(Mean { rows: false }, &[self])
    }
    /// The mean over the innermost dimension, which becomes 1: `[.., n]` → `[.., 1]`.
    ///
    /// # Panics
    /// If this is a scalar, or n is 0.
    #[track_caller]
    pub fn mean_rows(self) -> Var<'t> {
        self.tape().apply(Mean { rows: true }, &[self])
    }
}

#[derive(Debug)]
struct Mean {
    rows: bool,
}

impl Mean {
    /// How many elements of `x` make one mean.
    fn count(&self, x: Shape) -> usize {
        if self.rows { x.last() } else { x.len() }
    }
}

impl Op for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if self.rows && inputs[0].rank() == 0 {
            return Err(ShapeError::new("a row mean needs at least one dimension", inputs));
        }
        if self.count(inputs[0]) == 0 {
            return Err(ShapeError::new("a mean needs at least one element", inputs));
        }
        Ok(if self.rows { inputs[0].with_last(1) } else { Shape::from([]) })
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops { forward: n.of(0) + n.out(), backward: n.of(0) }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let x = &cx.inputs[0];
        let to = if self.rows { x.shape().with_last(1) } else { Shape::from([]) };
        map1(cx.engine, &sum_to(cx.engine, x, to), Over(self.count(x.shape())))
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let x = cx.shape(0);
        cx.give(0, spread(cx.engine, cx.grad, x, 1.0 / self.count(x) as f64));
    }
}

struct Over(usize);
impl Map1 for Over {
    fn at<T: Real>(&self, x: T) -> T {
        x / T::of(self.0 as f64)
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Over(self.0 as f64))
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "mean",
    cases: &[
        Case::new("all", &[In::normal(&[3, 4])], |x| x[0].mean()),
        Case::new("rows", &[In::normal(&[2, 3, 4])], |x| x[0].mean_rows()),
        Case::new("single row", &[In::normal(&[5])], |x| x[0].mean_rows()),
        Case::new("single column", &[In::normal(&[3, 1])], |x| x[0].mean_rows()),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].mean()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn means_by_hand() {
        let tape = Tape::inference(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 5.0, 10.0]));
        assert_eq!(x.mean().value().item(), 4.5);
        assert_eq!(x.mean_rows().value().to_f64(), [1.5, 7.5]);
    }

    #[test]
    #[should_panic(expected = "mean: a mean needs at least one element; got [[0, 2]]")]
    fn nothing_has_no_mean() {
        let tape = Tape::inference(&Engine::new(1));
        tape.leaf(Tensor::from_vec([0, 2], Vec::<f32>::new())).mean();
    }
}
