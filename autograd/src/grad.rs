//! Gradients: dense, or only of the rows of a table that were looked up.

use crate::param::ParamGrads;
use crate::tape::Var;
use engine::kernels::map::add_to;
use engine::kernels::rows;
use engine::profile::Way;
use engine::{Engine, Shape, Tensor};

/// The gradient of one value.
#[derive(Clone, Debug)]
pub enum Grad {
    /// Of every number.
    Dense(Tensor),
    /// Of some rows of a table; all other rows have gradient zero.
    Rows(RowGrad),
}

/// The gradient of some rows of a table.
#[derive(Clone, Debug)]
pub struct RowGrad {
    /// Which rows, ascending, each once: `[n]`.
    pub rows: Vec<u32>,
    /// Their gradients: `[n, width]`.
    pub values: Tensor,
    /// The shape of the whole table.
    pub table: Shape,
}

impl Grad {
    /// The gradient of a table from `values[n]` for row `rows[n]`; what falls on one row is added in the order given.
    #[track_caller]
    pub fn rows(engine: &Engine, table: Shape, rows: &[u32], values: &Tensor) -> Grad {
        let (rows, values) = rows::add_by_row(engine, rows, values);
        Grad::Rows(RowGrad { rows, values, table })
    }
    /// All of it, zeros included.
    #[must_use]
    pub fn into_dense(self, engine: &Engine) -> Tensor {
        match self {
            Grad::Dense(grad) => grad,
            Grad::Rows(r) => rows::scattered(engine, r.table, &r.rows, &r.values),
        }
    }
    /// A copy of all of it in f64, for tests and inspection.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Grad::Dense(grad) => grad.to_f64(),
            Grad::Rows(r) => {
                let (width, values) = (r.table.last(), r.values.to_f64());
                let mut all = vec![0.0; r.table.len()];
                for (row, value) in r.rows.iter().zip(values.chunks(width.max(1))) {
                    all[*row as usize * width..][..width].copy_from_slice(value);
                }
                all
            }
        }
    }
    /// The numbers that are there: all, or those of the rows.
    pub fn values(&self) -> &Tensor {
        match self {
            Grad::Dense(grad) => grad,
            Grad::Rows(r) => &r.values,
        }
    }
    /// The numbers that are there, to be scaled in place; they are copied first if somebody shares them.
    pub fn values_mut(&mut self) -> &mut Tensor {
        match self {
            Grad::Dense(grad) => grad,
            Grad::Rows(r) => &mut r.values,
        }
    }
    pub(crate) fn add_to_slot(engine: &Engine, slot: &mut Option<Grad>, grad: Grad) {
        let Some(before) = slot.take() else {
            *slot = Some(grad);
            return;
        };
        *slot = Some(engine.span("sum of gradients", Way::Backward, || before.plus(engine, grad)));
    }
    fn plus(self, engine: &Engine, grad: Grad) -> Grad {
        match (self, grad) {
            (Grad::Dense(mut a), Grad::Dense(b)) => {
                add_to(engine, &mut a, &b);
                Grad::Dense(a)
            }
            (Grad::Rows(a), Grad::Rows(b)) => {
                let both = rows::joined(engine, &a.values, &b.values);
                Grad::rows(engine, a.table, &[a.rows, b.rows].concat(), &both)
            }
            (a, b) => {
                let mut a = a.into_dense(engine);
                add_to(engine, &mut a, &b.into_dense(engine));
                Grad::Dense(a)
            }
        }
    }
}

/// The gradients of the leaves of a tape.
#[derive(Debug)]
pub struct Grads {
    by_node: Vec<Option<Grad>>,
    params: Vec<Option<u32>>,
}

impl Grads {
    pub(crate) fn new(by_node: Vec<Option<Grad>>, params: &[Option<u32>]) -> Grads {
        Grads { by_node, params: params.to_vec() }
    }
    /// The gradient of a leaf; none if the result does not depend on it, or it is a constant.
    pub fn get(&self, leaf: Var<'_>) -> Option<&Grad> {
        self.by_node[leaf.id()].as_ref()
    }
    /// The gradient of a leaf.
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    pub fn of(&self, leaf: Var<'_>) -> &Grad {
        self.get(leaf).expect("the leaf has a gradient")
    }
    /// Takes the gradient of a leaf out.
    pub fn take(&mut self, leaf: Var<'_>) -> Option<Grad> {
        self.by_node[leaf.id()].take()
    }
    /// The gradients of the parameters, by their ids. Holds no tensor of the tape.
    #[must_use]
    pub fn into_params(mut self) -> ParamGrads {
        let take = |node: &Option<u32>| node.and_then(|n| self.by_node[n as usize].take());
        ParamGrads::new(self.params.iter().map(take).collect())
    }
}
