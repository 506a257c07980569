//! Optimizers: from gradients to better parameters, in place.
//!
//! An [`Optimizer`] moves [`Params`]. Gradients of rows have **dense semantics**, equal to PyTorch's: a row without
//! gradient has gradient zero, so its moments fade and its decay goes on. A [`TableOptimizer`] moves the rows of an
//! [`engine::Table`] that occur in a batch and no others, and says so in its name or its documentation.
//!
//! All updates are cut by size and write every number once: the bits do not depend on the number of threads.

mod adagrad_rows;
mod adamw;
mod lamb;
mod lazy_adamw;
mod moments;
mod resting_rows;
mod saved;
mod sgd;
mod sgd_rows;

pub use adagrad_rows::AdagradRows;
pub use adamw::{AdamW, AdamWOptions};
pub use lamb::{Lamb, LambOptions};
pub use lazy_adamw::LazyAdamW;
pub use resting_rows::RestingRows;
pub use sgd::Sgd;
pub use sgd_rows::SgdRows;

use crate::grad::{Grad, RowGrad};
use crate::param::{ParamGrads, ParamId, Params};
use engine::kernels::given::Given;
use engine::{Engine, Result, Table, Tensor};

/// Moves parameters against their gradients.
///
/// Always hand the same [`Params`] to one optimizer: its state belongs to their ids.
pub trait Optimizer: Send {
    /// One step with learning rate `rate`. A parameter that is not trainable or has no gradient is skipped whole, decay
    /// and step count included, as PyTorch does with `grad = None`.
    ///
    /// # Panics
    /// If a gradient has another shape or type than its parameter, or a parameter or a tensor of the state is shared:
    /// drop the tape's clones, and what [`Optimizer::state`] gave, first.
    fn step(&mut self, engine: &Engine, params: &mut Params, grads: &ParamGrads, rate: f32);
    /// All that the next steps depend on, by name, in the order of the parameters. The tensors are shared, not copied.
    fn state(&self, params: &Params) -> Vec<(String, Tensor)>;
    /// Takes the state that [`Optimizer::state`] gave back; on an error the optimizer is as it was. Tensors that
    /// somebody else holds too are copied.
    ///
    /// # Errors
    /// If a tensor is missing, unknown, twice there, or of another shape or type than its parameter asks for.
    fn restore(&mut self, params: &Params, state: Vec<(String, Tensor)>) -> Result<()>;
    /// The bytes of state that training these parameters takes, whether they are held already or not.
    fn bytes(&self, params: &Params) -> usize;
}

/// Moves the rows of a table that have a gradient, and no others.
pub trait TableOptimizer: Send {
    /// One step with learning rate `rate`.
    ///
    /// # Panics
    /// If the gradient or the state belongs to a table of another shape.
    fn step(&mut self, engine: &Engine, table: &mut Table, grad: &RowGrad, rate: f32) {
        self.begin();
        self.update(engine, table, grad, rate);
    }
    /// Begins a step whose rows come in parts.
    fn begin(&mut self);
    /// Moves some rows in the step that [`TableOptimizer::begin`] began; no row twice in a step.
    ///
    /// # Panics
    /// As [`TableOptimizer::step`].
    fn update(&mut self, engine: &Engine, table: &mut Table, grad: &RowGrad, rate: f32);
    /// The number of steps so far.
    fn steps(&self) -> u32;
    /// The tables of the state, by name: with [`TableOptimizer::steps`] all that the next steps depend on.
    fn tables(&self) -> Vec<(&'static str, &Table)>;
    /// Goes on after so many steps.
    fn set_steps(&mut self, steps: u32);
    /// The tables of the state, to be filled from a checkpoint or told that they are in one.
    fn tables_mut(&mut self) -> Vec<(&'static str, &mut Table)>;
    /// The bytes of the state, on the heap and on the disk.
    fn bytes(&self) -> usize {
        self.tables().iter().map(|(_, table)| table.bytes()).sum()
    }
}

impl Grad {
    fn given(&self) -> Given<'_> {
        match self {
            Grad::Dense(grad) => Given::All(grad),
            Grad::Rows(r) => Given::Rows(&r.rows, &r.values),
        }
    }
}

/// Calls `update` for every trainable parameter that has a gradient.
fn for_each_given(
    params: &mut Params,
    grads: &ParamGrads,
    mut update: impl FnMut(&mut Params, ParamId, Given<'_>),
) {
    for (id, grad) in grads.iter() {
        if params.is_trainable(id) {
            update(params, id, grad.given());
        }
    }
}

/// # Panics
/// If `grad` belongs to a table of another shape.
#[track_caller]
fn check_table(table: &Table, grad: &RowGrad) {
    let shape = [table.rows(), table.width()];
    assert_eq!(grad.table.dims(), shape, "the gradient belongs to a table of another shape");
}

/// The bytes of one number of each trainable parameter.
fn trainable_bytes(params: &Params) -> usize {
    let size = |id| params.value(id).len() * saved::size(params.value(id).dtype());
    params.ids().filter(|&id| params.is_trainable(id)).map(size).sum()
}
