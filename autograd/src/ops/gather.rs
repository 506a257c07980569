//! y[n] = table[ids[n]]: rows of a table, looked up.
//!
//! ```text
//! table̅[r] = Σ ȳ[n] over all n with ids[n] = r        (row gradients: rows that nobody asked for are absent)
//!
//! table [rows, width], ids [n] → y [n, width]
//! ```
//! A vocabulary has 30 000 rows and a batch asks for a few hundred: a dense gradient would be mostly zeros.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::rows::gathered;
use engine::{Shape, ShapeError, Tensor};
use std::sync::Arc;

impl<'t> Var<'t> {
    /// Rows `ids` of a table `[rows, width]`, in this order, repeats allowed: `[n, width]`.
    ///
    /// # Panics
    /// If the table is not a matrix or has no such row.
    #[track_caller]
    pub fn gather(self, ids: Arc<[u32]>) -> Var<'t> {
        self.tape().apply(Gather { ids }, &[self])
    }
}

#[derive(Debug)]
struct Gather {
    ids: Arc<[u32]>,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if inputs[0].rank() != 2 {
            return Err(ShapeError::new("a table is [rows, width]", inputs));
        }
        match self.ids.iter().max() {
            Some(&id) if id as usize >= inputs[0].dim(0) => {
                Err(ShapeError::new(format!("the table has no row {id}"), inputs))
            }
            _ => Ok(Shape::from([self.ids.len(), inputs[0].dim(1)])),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // At most: rows that were looked up once are not added to anything.
        Flops { forward: 0, backward: n.out() }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        gathered(cx.engine, &cx.inputs[0], &self.ids)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give_rows(0, &self.ids, cx.grad);
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "gather",
    cases: &[
        // Row 1 is never asked for, row 2 three times.
        Case::new("repeated rows", &[In::normal(&[4, 3]).blocked(|i| i / 3 == 1)], |x| {
            x[0].gather(Arc::from([2, 0, 2, 3, 2]))
        }),
        Case::new("looked up twice", &[In::normal(&[3, 2]).blocked(|i| i / 2 == 1)], |x| {
            x[0].gather(Arc::from([0, 2])) * x[0].gather(Arc::from([2, 2]))
        }),
        Case::new("one row of one number", &[In::normal(&[1, 1])], |x| x[0].gather(Arc::from([0]))),
        Case::new("beside a dense use", &[In::normal(&[3, 2])], |x| x[0].gather(Arc::from([2, 2, 0])) * x[0]),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grad, Tape};
    use engine::Engine;

    #[test]
    fn gradient_holds_only_the_rows_that_were_looked_up() {
        let tape = Tape::new(&Engine::new(1));
        let table = tape.leaf(Tensor::from_vec([3, 2], vec![0.0f32, 1.0, 10.0, 11.0, 20.0, 21.0]));
        let y = table.gather(Arc::from([2, 0, 2]));
        assert_eq!(y.value().to_f64(), [20.0, 21.0, 0.0, 1.0, 20.0, 21.0]);
        let grads = tape.backward_from(y.sum());
        let Grad::Rows(grad) = grads.of(table) else { panic!("a row gradient") };
        assert_eq!((&grad.rows[..], &grad.values.to_f64()[..]), (&[0, 2][..], &[1.0, 1.0, 2.0, 2.0][..]));
    }

    #[test]
    #[should_panic(expected = "gather: the table has no row 3; got [[3, 2]]")]
    fn a_row_outside_the_table_is_refused() {
        let tape = Tape::inference(&Engine::new(1));
        tape.leaf(Tensor::from_vec([3, 2], vec![0.0f32; 6])).gather(Arc::from([0, 3]));
    }
}
