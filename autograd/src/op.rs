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

/// The floating-point operations of an operation, forward and backward. An addition, a multiplication, a division, a
/// comparison and one value of a function (√, e, erf) count one each, so that a product of `[m, k]` and `[k, n]` counts
/// 2·m·k·n. Moving numbers and drawing masks count nothing, nor does what happens once a row beside what happens once
/// a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// Of forward.
    pub forward: u64,
    /// Of backward.
    pub backward: u64,
}

impl Flops {
    /// Of an operation that only moves numbers.
    pub const NOTHING: Flops = Flops { forward: 0, backward: 0 };
    /// So many for each of some numbers.
    pub const fn each(numbers: u64, forward: u64, backward: u64) -> Flops {
        Flops { forward: numbers * forward, backward: numbers * backward }
    }
    /// Both ways.
    pub const fn total(self) -> u64 {
        self.forward + self.backward
    }
}

impl std::iter::Sum for Flops {
    fn sum<I: Iterator<Item = Flops>>(all: I) -> Flops {
        all.fold(Flops::NOTHING, |a, b| Flops {
            forward: a.forward + b.forward,
            backward: a.backward + b.backward,
        })
    }
}

/// What [`Op::flops`] counts with: the sizes of inputs and output, and who wants a gradient.
pub struct Sizes<'a> {
    pub(crate) inputs: &'a [Shape],
    pub(crate) output: Shape,
    pub(crate) wanted: &'a [bool],
}

impl Sizes<'_> {
    /// Numbers in the output.
    pub fn out(&self) -> u64 {
        self.output.len() as u64
    }
    /// Numbers in input `i`.
    pub fn of(&self, i: usize) -> u64 {
        self.inputs[i].len() as u64
    }
    /// Numbers in a row of input `i`.
    pub fn width(&self, i: usize) -> u64 {
        self.inputs[i].last() as u64
    }
    /// How many inputs there are.
    pub fn count(&self) -> usize {
        self.inputs.len()
    }
    /// 1 if anybody wants the gradient of input `i`, else 0.
    pub fn wants(&self, i: usize) -> u64 {
        u64::from(self.wanted[i])
    }
    /// Additions that sum a gradient in the shape of the output over the dimensions in which input `i` was repeated.
    pub fn repeats(&self, i: usize) -> u64 {
        self.out().saturating_sub(self.of(i))
    }
}

/// An operation: its shape rule, its cost, its forward and its backward, in one `impl`, in one file of `ops/`.
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
    /// What both ways cost, by the equations; of backward as far as a gradient is wanted.
    fn flops(&self, n: &Sizes<'_>) -> Flops;
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
