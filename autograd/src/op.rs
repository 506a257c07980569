//! An operation, and what it sees: [`Forward`] on the way there, [`Backward`] on the way back.
//!
//! ```text
//! forward   y = f(x₀, x₁, …)            all inputs are at hand; keep() says which numbers shall still be there later
//! backward  x̄_i = (∂f/∂x_i)ᵀ ȳ          for every input i that wants it, from ȳ and from what was kept
//! ```
//! The list of operations is open: whoever writes an `impl` of [`Op`] can apply it with
//! [`Tape::apply`](crate::Tape::apply).

use crate::grad::Grad;
use engine::{Engine, Shape, ShapeError, Tensor};
use std::fmt;

/// What the backward of an operation will read. The rest is released at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    inputs: u32,
    pub(crate) output: bool,
}

impl Keep {
    /// Nothing but what [`Forward::save`] puts aside.
    pub const NOTHING: Keep = Keep { inputs: 0, output: false };
    /// All inputs.
    pub const INPUTS: Keep = Keep { inputs: u32::MAX, output: false };
    /// The output alone.
    pub const OUTPUT: Keep = Keep { inputs: 0, output: true };
    /// Input `i`, besides what `self` keeps.
    #[must_use]
    pub const fn input(self, i: u32) -> Keep {
        Keep { inputs: self.inputs | 1 << i, ..self }
    }
    /// The output, besides what `self` keeps.
    #[must_use]
    pub const fn and_output(self) -> Keep {
        Keep { output: true, ..self }
    }
    pub(crate) fn has_input(self, i: usize) -> bool {
        self.inputs >> i.min(31) & 1 == 1
    }
}

/// An operation: its shape rule, its forward and its backward, in one `impl`, in one file of `ops/`.
pub trait Op: fmt::Debug {
    /// The name, as the user reads it in an error.
    fn name(&self) -> &'static str;
    /// What backward will read.
    fn keep(&self) -> Keep;
    /// The shape of the output.
    ///
    /// # Errors
    /// If the inputs do not fit: the rule that they break.
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError>;
    /// Whether a gradient of the output becomes one of the inputs. Where it does not, nothing that lies behind is kept
    /// for backward.
    fn passes_gradient(&self) -> bool {
        true
    }
    /// Computes the output.
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor;
    /// Gives each wanted input its gradient: the transposed derivative times [`Backward::grad`].
    fn backward(&self, cx: &mut Backward<'_>);
}

/// What an operation sees in forward.
pub struct Forward<'a> {
    /// Threads and buffers.
    pub engine: &'a Engine,
    /// The values of the inputs.
    pub inputs: &'a [Tensor],
    /// Whether backward may come. What it alone would read need not be made otherwise.
    pub wants_grad: bool,
    pub(crate) saved: Vec<Tensor>,
}

impl Forward<'_> {
    /// Puts a tensor aside for backward (it is [`Backward::saved`] there).
    pub fn save(&mut self, tensor: Tensor) {
        self.saved.push(tensor);
    }
}

/// What an operation sees in backward.
pub struct Backward<'a> {
    /// Threads and buffers.
    pub engine: &'a Engine,
    /// ȳ: the gradient of the output, always dense, in the shape of the output.
    pub grad: &'a Tensor,
    pub(crate) name: &'static str,
    pub(crate) inputs: &'a [Option<Tensor>],
    pub(crate) shapes: &'a [Shape],
    pub(crate) wanted: &'a [bool],
    pub(crate) output: Option<&'a Tensor>,
    pub(crate) saved: &'a [Tensor],
    pub(crate) given: Vec<Option<Grad>>,
}

impl Backward<'_> {
    /// The value of input `i`.
    ///
    /// # Panics
    /// If the operation did not ask to keep it.
    #[track_caller]
    pub fn input(&self, i: usize) -> &Tensor {
        self.inputs[i]
            .as_ref()
            .unwrap_or_else(|| panic!("{}: backward reads input {i}, keep() does not", self.name))
    }
    /// The value of the output.
    ///
    /// # Panics
    /// If the operation did not ask to keep it.
    #[track_caller]
    pub fn output(&self) -> &Tensor {
        self.output.unwrap_or_else(|| panic!("{}: backward reads the output, keep() does not", self.name))
    }
    /// The `i`-th tensor that forward saved.
    #[track_caller]
    pub fn saved(&self, i: usize) -> &Tensor {
        &self.saved[i]
    }
    /// The shape of input `i`.
    pub fn shape(&self, i: usize) -> Shape {
        self.shapes[i]
    }
    /// How many inputs there are.
    pub fn count(&self) -> usize {
        self.shapes.len()
    }
    /// Whether anybody wants the gradient of input `i`. Skip the work otherwise.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted[i]
    }
    /// Gives input `i` its gradient.
    ///
    /// # Panics
    /// If the shape is not that of the input.
    #[track_caller]
    pub fn give(&mut self, i: usize, grad: Tensor) {
        assert_eq!(
            grad.shape(),
            self.shapes[i],
            "{}: the gradient of input {i} has a wrong shape",
            self.name
        );
        self.give_any(i, Grad::Dense(grad));
    }
    /// Gives input `i`, a table of rows, the gradient `values[n]` of row `rows[n]`, for all n; a row may come often.
    #[track_caller]
    pub fn give_rows(&mut self, i: usize, rows: &[u32], values: &Tensor) {
        let grad = Grad::rows(self.engine, self.shapes[i], rows, values);
        self.give_any(i, grad);
    }
    pub(crate) fn give_any(&mut self, i: usize, grad: Grad) {
        if self.wanted[i] {
            Grad::add_to_slot(self.engine, &mut self.given[i], grad);
        }
    }
}
