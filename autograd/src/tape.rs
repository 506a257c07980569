//! The tape: what was computed, in order, and what backward will need of it.
//!
//! ```text
//! forward   v_n = op_n(v_i, v_j, …)          recorded as it runs, i, j < n
//! backward  v̄_i += (∂op_n/∂v_i)ᵀ v̄_n         for n from the last node to the first, from given seeds
//! ```
//! A node keeps only what its operation asked for ([`Op::keep`]); backward lets go of it as soon as it is used. The
//! value of a node itself lives until its [`Tape::scope`] closes or the tape is reset, because a later operation may
//! still read it through a [`Var`].

use crate::grad::{Grad, Grads};
use crate::op::{Backward, Forward, Op, Sizes};
use crate::param::{ParamId, Params};
use crate::watch::Watch;
use engine::profile::Way;
use engine::{Engine, Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

struct Node {
    op: Option<Box<dyn Op>>,
    inputs: Vec<u32>,
    shape: Shape,
    /// Read by later operations; gone when the scope of the node has closed.
    value: Option<Tensor>,
    /// What backward reads.
    kept: Vec<Option<Tensor>>,
    kept_output: Option<Tensor>,
    saved: Vec<Tensor>,
    wants_grad: bool,
    made_at: &'static Location<'static>,
}

/// The first operation that made a number which is not finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The operation.
    pub op: &'static str,
    /// Whether its backward made it.
    pub backward: bool,
    /// The line of the program that applied the operation.
    pub made_at: &'static Location<'static>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.backward { "backward" } else { "forward" };
        write!(f, "`{}` made a NaN or an infinity in {side} (applied at {})", self.op, self.made_at)
    }
}

/// A record of operations. One per step; [`Tape::reset`] makes it ready for the next.
pub struct Tape {
    engine: Engine,
    nodes: RefCell<Vec<Node>>,
    /// The node that stands for each parameter: both towers of an encoder share one leaf.
    params: RefCell<Vec<Option<u32>>>,
    records: bool,
    checked: bool,
    anomaly: RefCell<Option<Anomaly>>,
    watch: Option<Rc<Watch>>,
    spent: Cell<bool>,
}

/// A value on a tape. Copy, so that a layer reads as mathematics; it dies with the step, because [`Tape::reset`]
/// needs `&mut`.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    tape: &'t Tape,
    id: u32,
}

impl Tape {
    /// A tape that records for backward.
    pub fn new(engine: &Engine) -> Tape {
        Tape {
            engine: engine.clone(),
            nodes: RefCell::default(),
            params: RefCell::default(),
            records: true,
            checked: false,
            anomaly: RefCell::default(),
            watch: None,
            spent: Cell::new(false),
        }
    }
    /// A tape that keeps nothing for backward: encoding and evaluation.
    pub fn inference(engine: &Engine) -> Tape {
        Tape { records: false, ..Tape::new(engine) }
    }
    /// A tape that looks at every result and remembers the operation that made the first NaN or infinity. With
    /// [`Engine::poisoned`] it also finds operations that leave part of their output unwritten.
    pub fn checked(engine: &Engine) -> Tape {
        Tape { checked: true, ..Tape::new(engine) }
    }
    /// A tape of which `watch` writes down what each operation costs. Numbers and bits are those of any other.
    #[must_use]
    pub fn watched(self, watch: &Rc<Watch>) -> Tape {
        Tape { watch: Some(watch.clone()), ..self }
    }
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_deref()
    }
    /// The engine that computes.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
    /// The first NaN or infinity of a [`Tape::checked`] tape.
    pub fn anomaly(&self) -> Option<Anomaly> {
        self.anomaly.borrow().clone()
    }
    /// A value whose gradient is wanted.
    #[track_caller]
    pub fn leaf(&self, value: Tensor) -> Var<'_> {
        self.push_leaf(value, self.records)
    }
    /// A value without a gradient.
    #[track_caller]
    pub fn constant(&self, value: Tensor) -> Var<'_> {
        self.push_leaf(value, false)
    }
    /// The leaf of a parameter; the same one at every call until the tape is reset.
    #[track_caller]
    pub fn param(&self, params: &Params, id: ParamId) -> Var<'_> {
        let known = self.params.borrow().get(id.index()).copied().flatten();
        if let Some(node) = known {
            return Var { tape: self, id: node };
        }
        let var = self.push_leaf(params.value(id).clone(), self.records && params.is_trainable(id));
        if let Some(watch) = self.watch() {
            watch.names(var.id(), params.name(id));
        }
        let mut leaves = self.params.borrow_mut();
        if leaves.len() <= id.index() {
            leaves.resize(id.index() + 1, None);
        }
        leaves[id.index()] = Some(var.id);
        var
    }
    #[track_caller]
    fn push_leaf(&self, value: Tensor, wants_grad: bool) -> Var<'_> {
        let made_at = Location::caller();
        if let Some(watch) = self.watch() {
            watch.leaf(&value);
        }
        let (shape, value) = (value.shape(), Some(value));
        let (inputs, kept, saved) = (vec![], vec![], vec![]);
        self.push(Node {
            op: None,
            inputs,
            shape,
            value,
            kept,
            kept_output: None,
            saved,
            wants_grad,
            made_at,
        })
    }
    fn push(&self, node: Node) -> Var<'_> {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        Var { tape: self, id: (nodes.len() - 1) as u32 }
    }
    /// Computes and records an operation.
    ///
    /// # Panics
    /// If the shapes do not fit: with the operation, the rule, the shapes and the line of the caller.
    #[track_caller]
    pub fn apply<'t>(&'t self, op: impl Op + 'static, inputs: &[Var<'t>]) -> Var<'t> {
        let made_at = Location::caller();
        let values: Vec<Tensor> = inputs.iter().map(|v| v.value()).collect();
        let shapes: Vec<Shape> = values.iter().map(Tensor::shape).collect();
        let shape = match op.shape(&shapes) {
            Ok(shape) => shape,
            Err(broken) => panic!("{}: {broken}", op.name()),
        };
        let reaches_leaf = {
            let nodes = self.nodes.borrow();
            inputs.iter().any(|v| nodes[v.id as usize].wants_grad)
        };
        let wants_grad = reaches_leaf && op.passes_gradient();
        let mut cx = Forward { engine: &self.engine, inputs: &values, wants_grad, saved: vec![] };
        let (value, seconds) = Watch::time(self.watch(), || {
            self.engine.span(op.name(), Way::Forward, || {
                let value = op.forward(&mut cx);
                self.engine.work(0, moved(values.iter().chain([&value])));
                value
            })
        });
        assert_eq!(value.shape(), shape, "{}: forward broke its own shape rule", op.name());
        let saved = cx.saved;
        if self.checked {
            self.look(&value, op.name(), false, made_at);
        }
        let ids: Vec<u32> = inputs.iter().map(|v| v.id).collect();
        let mut node = Node {
            op: None,
            inputs: ids,
            shape,
            value: Some(value),
            kept: vec![],
            kept_output: None,
            saved: vec![],
            wants_grad,
            made_at,
        };
        if wants_grad {
            let keep = op.keep();
            node.kept = values.into_iter().enumerate().map(|(i, v)| keep.has_input(i).then_some(v)).collect();
            node.kept_output = node.value.clone().filter(|_| keep.output);
            node.saved = saved;
        }
        if let Some(watch) = self.watch() {
            let nodes = self.nodes.borrow();
            let wanted: Vec<bool> = node.inputs.iter().map(|&i| nodes[i as usize].wants_grad).collect();
            let flops = op.flops(&Sizes { inputs: &shapes, output: shape, wanted: &wanted });
            let kept = node.kept.iter().flatten().chain(&node.kept_output).chain(&node.saved);
            watch.applied(op.name(), &node.inputs, (shape, flops, wants_grad), kept, seconds);
        }
        if reaches_leaf {
            node.op = Some(Box::new(op));
        }
        self.push(node)
    }
    fn look(&self, value: &Tensor, op: &'static str, backward: bool, made_at: &'static Location<'static>) {
        let mut anomaly = self.anomaly.borrow_mut();
        if anomaly.is_none() && value.to_f64().iter().any(|x| !x.is_finite()) {
            *anomaly = Some(Anomaly { op, backward, made_at });
        }
    }
    /// Runs `f` and releases all values that it made, except its result and what backward keeps. Put it around a
    /// layer: temporaries then go back to the pool when the layer is done.
    pub fn scope<'t>(&'t self, f: impl FnOnce() -> Var<'t>) -> Var<'t> {
        let first = self.nodes.borrow().len();
        let result = f();
        let mut nodes = self.nodes.borrow_mut();
        for (id, node) in nodes.iter_mut().enumerate().skip(first) {
            let leaf = node.inputs.is_empty();
            if id != result.id as usize && !leaf {
                node.value = None;
            }
        }
        result
    }
    /// A [`Tape::scope`] that bears a name for who watches the tape: a layer.
    pub fn part<'t>(&'t self, name: &'static str, f: impl FnOnce() -> Var<'t>) -> Var<'t> {
        let around = self.watch().map(|watch| watch.enter(name));
        let result = self.scope(f);
        if let (Some(watch), Some(around)) = (self.watch(), around) {
            watch.leave(around);
        }
        result
    }
    /// The chain rule from a scalar loss, with seed 1.
    ///
    /// # Panics
    /// If `loss` is not one number, or backward has run already.
    #[track_caller]
    pub fn backward_from(&self, loss: Var<'_>) -> Grads {
        let value = loss.value();
        assert_eq!(value.len(), 1, "backward_from: a loss is one number, this is {:?}", value.shape());
        let one = match value.dtype() {
            engine::DType::F64 => Tensor::from_vec(value.shape(), vec![1.0f64]),
            _ => Tensor::from_vec(value.shape(), vec![1.0f32]),
        };
        self.backward(vec![(loss, one.beside(&value))])
    }
    /// The chain rule from given gradients: one seed for a loss, many for a cached-gradient step or for heads that
    /// update themselves. What the tape kept is released on the way, so backward runs once.
    ///
    /// # Panics
    /// If backward has run already, or a seed has not the shape of its variable.
    #[track_caller]
    pub fn backward(&self, seeds: Vec<(Var<'_>, Tensor)>) -> Grads {
        assert!(!self.spent.replace(true), "backward runs once per tape: it releases what forward kept");
        let mut nodes = self.nodes.borrow_mut();
        let mut grads: Vec<Option<Grad>> = Vec::new();
        grads.resize_with(nodes.len(), || None);
        for (var, seed) in seeds {
            assert_eq!(seed.shape(), nodes[var.id as usize].shape, "backward: a seed has a wrong shape");
            Grad::add_to_slot(&self.engine, &mut grads[var.id as usize], Grad::Dense(seed));
        }
        for id in (0..nodes.len()).rev() {
            let node = &mut nodes[id];
            let Some(op) = node.op.take() else { continue };
            let (kept, output) = (std::mem::take(&mut node.kept), node.kept_output.take());
            let saved = std::mem::take(&mut node.saved);
            let Some(grad) = grads[id].take() else { continue };
            let inputs = std::mem::take(&mut node.inputs);
            let shapes: Vec<Shape> = inputs.iter().map(|&i| nodes[i as usize].shape).collect();
            let wanted: Vec<bool> = inputs.iter().map(|&i| nodes[i as usize].wants_grad).collect();
            let grad = grad.into_dense(&self.engine);
            if let Some(watch) = self.watch() {
                watch.gradient(id, Grad::Dense(grad.clone()).norm(&self.engine));
            }
            let mut cx = Backward {
                engine: &self.engine,
                grad: &grad,
                name: op.name(),
                inputs: &kept,
                shapes: &shapes,
                wanted: &wanted,
                output: output.as_ref(),
                saved: &saved,
                given: wanted.iter().map(|_| None).collect(),
            };
            let ((), seconds) = Watch::time(self.watch(), || {
                self.engine.span(op.name(), Way::Backward, || {
                    op.backward(&mut cx);
                    let read = kept.iter().flatten().chain(&output).chain(&saved).chain([&grad]);
                    self.engine.work(0, moved(read.chain(cx.given.iter().flatten().map(Grad::values))));
                });
            });
            if let Some(watch) = self.watch() {
                watch.went_back(id, seconds);
            }
            for (&i, given) in inputs.iter().zip(cx.given) {
                let Some(given) = given else { continue };
                if self.checked {
                    self.look(given.values(), op.name(), true, nodes[id].made_at);
                }
                Grad::add_to_slot(&self.engine, &mut grads[i as usize], given);
            }
        }
        if let Some(watch) = self.watch() {
            for (id, grad) in grads.iter().enumerate() {
                grad.iter().for_each(|grad| watch.gradient(id, grad.norm(&self.engine)));
            }
        }
        Grads::new(grads, &self.params.borrow())
    }
    /// The names of the recorded operations, in order.
    pub fn op_names(&self) -> Vec<&'static str> {
        self.nodes.borrow().iter().filter_map(|n| n.op.as_ref().map(|op| op.name())).collect()
    }
    /// Ends the step: forgets everything and keeps the memory of the record. `&mut` proves that no [`Var`] is left:
    /// a stale one does not compile.
    ///
    /// ```compile_fail,E0502
    /// # use autograd::Tape;
    /// # use engine::{Engine, Tensor};
    /// let mut tape = Tape::new(&Engine::new(1));
    /// let x = tape.leaf(Tensor::scalar(1.0f32));
    /// tape.reset();
    /// let stale = x + x;
    /// ```
    pub fn reset(&mut self) {
        self.nodes.get_mut().clear();
        self.params.get_mut().clear();
        self.anomaly.get_mut().take();
        self.spent.set(false);
    }
}

/// The bytes of some tensors: what an operation reads and writes.
fn moved<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> u64 {
    tensors.map(|t| t.bytes() as u64).sum()
}

impl<'t> Var<'t> {
    /// The tape on which it stands.
    pub fn tape(self) -> &'t Tape {
        self.tape
    }
    /// Its value.
    ///
    /// # Panics
    /// If the scope that made it has closed and it was not the result.
    #[track_caller]
    pub fn value(self) -> Tensor {
        let nodes = self.tape.nodes.borrow();
        let value = nodes[self.id as usize].value.clone();
        value.unwrap_or_else(|| {
            panic!("this value was released when its scope closed: only the result of a scope lives on")
        })
    }
    /// Its shape.
    pub fn shape(self) -> Shape {
        self.tape.nodes.borrow()[self.id as usize].shape
    }
    /// Releases the value, but for what backward keeps: nobody will read it again. [`Tape::scope`] does so for all that
    /// a layer made; this is for what one layer gave to the next.
    pub fn forget(self) {
        self.tape.nodes.borrow_mut()[self.id as usize].value = None;
    }
    pub(crate) fn id(self) -> usize {
        self.id as usize
    }
    pub(crate) fn wants_grad(self) -> bool {
        self.tape.nodes.borrow()[self.id as usize].wants_grad
    }
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({} {:?})", self.id, self.shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x(tape: &Tape) -> Var<'_> {
        tape.leaf(Tensor::from_vec([2], vec![3.0f64, 4.0]))
    }

    #[test]
    fn gradients_of_shared_values_add_up() {
        let tape = Tape::new(&Engine::new(1));
        let x = x(&tape);
        let y = x * x + x;
        let grads = tape.backward(vec![(y, Tensor::from_vec([2], vec![1.0, 10.0]))]);
        assert_eq!(grads.of(x).to_f64(), [7.0, 90.0]);
    }

    #[test]
    fn constants_and_their_children_get_no_gradient_and_keep_nothing() {
        let tape = Tape::new(&Engine::new(1));
        let c = tape.constant(Tensor::scalar(2.0f64));
        let _ = c * c;
        assert!(tape.op_names().is_empty());
        let y = x(&tape) * c;
        assert!(tape.backward(vec![(y, Tensor::from_vec([2], vec![1.0; 2]))]).get(c).is_none());
    }

    #[test]
    fn a_scope_releases_all_but_its_result() {
        let engine = Engine::new(1);
        let tape = Tape::new(&engine);
        let x = tape.leaf(Tensor::from_vec([1000], vec![1.0f32; 1000]));
        let before = engine.pool_stats().bytes_in_use;
        let y = tape.scope(|| ((x + x) + x) + x);
        let one = engine.pool_stats().bytes_in_use - before;
        assert!(one < 2 * 4000 + 1000, "{one} bytes in use: addition keeps nothing");
        assert_eq!(y.value().to_f64()[0], 4.0);
    }

    #[test]
    #[should_panic(expected = "released when its scope closed")]
    fn a_value_that_left_its_scope_is_not_read() {
        let tape = Tape::new(&Engine::new(1));
        let (x, mut inner) = (x(&tape), None);
        tape.scope(|| {
            inner = Some(x + x);
            x * x
        });
        inner.expect("was set").value();
    }

    #[test]
    #[should_panic(expected = "mul: aligned dimensions are equal or 1; got [[2], [3]]")]
    fn a_wrong_shape_names_the_operation_and_the_rule() {
        let tape = Tape::new(&Engine::new(1));
        let _ = x(&tape) * tape.leaf(Tensor::from_vec([3], vec![0.0f64; 3]));
    }

    #[test]
    fn a_checked_tape_names_the_operation_that_made_the_first_nan() {
        let tape = Tape::checked(&Engine::new(1));
        let inf = tape.leaf(Tensor::scalar(f64::MAX));
        let y = inf * inf;
        let _ = y + y;
        let found = tape.anomaly().expect("an infinity was made");
        assert_eq!((found.op, found.backward), ("mul", false));
        assert!(found.made_at.file().ends_with("tape.rs"));
    }

    #[test]
    #[should_panic(expected = "backward runs once")]
    fn backward_runs_once() {
        let tape = Tape::new(&Engine::new(1));
        let y = x(&tape).sum();
        tape.backward_from(y);
        tape.backward_from(y);
    }
}
