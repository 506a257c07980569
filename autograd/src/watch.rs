//! Who watches a tape: what each operation costs, and how strong its gradient is.
//!
//! ```text
//! flops    by the formula beside the operation's equation ([`Op::flops`](crate::Op::flops))
//! kept     bytes that backward will read and that nobody but the tape holds, each tensor once
//! norm     ‖ȳ‖ of what came back, summed over all who read y
//! seconds  of forward and of backward, by a clock that the caller brings
//! ```
//! A tape that nobody watches pays one test of a pointer for each operation.

use crate::op::Flops;
use engine::profile::Clock;
use engine::{Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

/// What was seen of one value of a tape.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The operation that made it; none made a leaf.
    pub op: Option<&'static str>,
    /// The parameter, where the leaf is one.
    pub param: Option<String>,
    /// What it was made of: places in the list.
    pub inputs: Vec<u32>,
    /// Its shape.
    pub shape: Shape,
    /// The part of the model in which it was made: a place in [`Watch::parts`].
    pub part: Option<u32>,
    /// What it costs to make it, and to go back through it.
    pub flops: Flops,
    /// Bytes kept for backward on its account. A tensor that several operations keep counts for the first of them;
    /// leaves are there anyway.
    pub kept: u64,
    /// The norm of its gradient, once backward came through.
    pub norm: Option<f64>,
    /// Seconds on the wall, forward and backward.
    pub seconds: [f64; 2],
}

/// Writes down what happens on a tape: [`Tape::watched`](crate::Tape::watched).
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    seen: RefCell<Vec<Seen>>,
    parts: RefCell<Vec<&'static str>>,
    open: Cell<Option<u32>>,
    /// Tensors whose bytes are somebody's already.
    owned: RefCell<HashSet<*const engine::tensor::Storage>>,
}

impl Watch {
    /// One that has seen nothing.
    pub fn new(clock: Clock) -> Rc<Watch> {
        let (seen, parts, owned) = (RefCell::default(), RefCell::default(), RefCell::default());
        Rc::new(Watch { clock, seen, parts, open: Cell::new(None), owned })
    }
    /// The values of the tape, in the order in which they were made.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }
    /// The names of the parts, in the order in which they were entered.
    pub fn parts(&self) -> Vec<&'static str> {
        self.parts.borrow().clone()
    }
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }
    /// The result of `f`, and how long it took where somebody watches.
    pub(crate) fn time<R>(watch: Option<&Watch>, f: impl FnOnce() -> R) -> (R, f64) {
        let Some(watch) = watch else { return (f(), 0.0) };
        let since = (watch.clock)().wall;
        let result = f();
        (result, (watch.clock)().wall - since)
    }
    /// A leaf has come onto the tape.
    pub(crate) fn leaf(&self, value: &Tensor) {
        self.owned.borrow_mut().insert(value.storage());
        self.push(Seen {
            op: None,
            param: None,
            inputs: vec![],
            shape: value.shape(),
            part: self.open.get(),
            flops: Flops::NOTHING,
            kept: 0,
            norm: None,
            seconds: [0.0; 2],
        });
    }
    /// Value `id` is this parameter.
    pub(crate) fn names(&self, id: usize, param: &str) {
        self.seen.borrow_mut()[id].param = Some(param.to_owned());
    }
    /// An operation was applied.
    pub(crate) fn applied<'a>(
        &self,
        op: &'static str,
        inputs: &[u32],
        (shape, flops, wants_grad): (Shape, Flops, bool),
        kept: impl Iterator<Item = &'a Tensor>,
        seconds: f64,
    ) {
        let mut owned = self.owned.borrow_mut();
        let kept = kept.filter(|tensor| owned.insert(tensor.storage())).map(|tensor| tensor.bytes() as u64);
        self.push(Seen {
            op: Some(op),
            param: None,
            inputs: inputs.to_vec(),
            shape,
            part: self.open.get(),
            flops: Flops { backward: if wants_grad { flops.backward } else { 0 }, ..flops },
            kept: kept.sum(),
            norm: None,
            seconds: [seconds, 0.0],
        });
    }
    fn push(&self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
    }
    /// A part begins; gives what was open around it, for [`Watch::leave`].
    pub(crate) fn enter(&self, name: &'static str) -> Option<u32> {
        let mut parts = self.parts.borrow_mut();
        parts.push(name);
        self.open.replace(Some(parts.len() as u32 - 1))
    }
    pub(crate) fn leave(&self, around: Option<u32>) {
        self.open.set(around);
    }
    /// The gradient of value `id` is whole.
    pub(crate) fn gradient(&self, id: usize, norm: f64) {
        self.seen.borrow_mut()[id].norm = Some(norm);
    }
    /// Value `id` was computed before its operation was applied.
    pub(crate) fn went_forward(&self, id: usize, seconds: f64) {
        self.seen.borrow_mut()[id].seconds[0] += seconds;
    }
    /// Backward has gone through value `id`.
    pub(crate) fn went_back(&self, id: usize, seconds: f64) {
        self.seen.borrow_mut()[id].seconds[1] = seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::OPS;
    use crate::{Activation, Tape, Var};
    use engine::Engine;
    use engine::profile::{Moment, Way};

    thread_local! {
        static NOW: Cell<f64> = const { Cell::new(0.0) };
    }

    /// Every look at the clock takes a second.
    fn clock() -> Moment {
        NOW.set(NOW.get() + 1.0);
        Moment { wall: NOW.get(), cpu: 0.0 }
    }

    /// What a profile, in which the kernels count their products, says of one way.
    fn counted(engine: &Engine, way: Way) -> u64 {
        let rows = engine.profile().expect("it keeps one").rows();
        rows.iter().filter(|row| row.way == way).map(|row| row.flops).sum()
    }

    #[test]
    fn what_happened_is_written_down() {
        let watch = Watch::new(clock);
        let tape = Tape::new(&Engine::new(1)).watched(&watch);
        let x = tape.leaf(Tensor::from_vec([2], vec![3.0f32, 4.0]));
        let y = tape.part("square", || x * x);
        let loss = (y.exp() * y).sum();
        tape.backward_from(loss);
        let seen = watch.seen();
        let ops: Vec<_> = seen.iter().map(|s| s.op.unwrap_or("leaf")).collect();
        assert_eq!(ops, ["leaf", "mul", "exp", "mul", "sum"]);
        assert_eq!((watch.parts(), seen[1].part, seen[2].part), (vec!["square"], Some(0), None));
        assert_eq!((&seen[3].inputs[..], seen[3].shape), (&[2, 1][..], [2].into()));
        // x is a leaf; e^y is kept by exp and by mul, y by mul.
        assert_eq!(seen.iter().map(|s| s.kept).collect::<Vec<_>>(), [0, 0, 8, 8, 0]);
        // d/dy (e^y y) = e^y (1 + y), dy/dx = 2x.
        let of_y = [9f64, 16.0].map(|y| y.exp() * (1.0 + y));
        let norm = |v: [f64; 2]| v[0].hypot(v[1]);
        for (id, want) in
            [(4, 1.0), (3, 2f64.sqrt()), (1, norm(of_y)), (0, norm([6.0 * of_y[0], 8.0 * of_y[1]]))]
        {
            let got = seen[id].norm.expect("a gradient came");
            assert!((got / want - 1.0).abs() < 1e-5, "value {id}: {got} instead of {want}");
        }
        assert!(seen[1..].iter().all(|s| s.seconds == [1.0, 1.0]) && seen[0].seconds == [0.0; 2]);
        let flops: Vec<_> = seen.iter().map(|s| (s.flops.forward, s.flops.backward)).collect();
        assert_eq!(flops, [(0, 0), (2, 4), (2, 2), (2, 4), (2, 0)]);
    }

    #[test]
    fn an_op_counts_at_least_what_its_kernels_do_and_only_movers_count_nothing() {
        for op in OPS {
            for case in op.cases {
                let (engine, watch) = (Engine::profiled(1, clock), Watch::new(clock));
                let seen = case.seen(&engine, &watch);
                let total: Flops = seen.iter().map(|s| s.flops).sum();
                let kernels = (counted(&engine, Way::Forward), counted(&engine, Way::Backward));
                assert!(
                    total.forward >= kernels.0 && total.backward >= kernels.1,
                    "{}: {total:?} against {kernels:?}",
                    op.name
                );
                let moves = ["concat", "detach", "gather", "reshape", "slice"].contains(&op.name);
                let own: u64 = seen.iter().filter(|s| s.op == Some(op.name)).map(|s| s.flops.forward).sum();
                let first = op.name == "pool" && own == 0;
                assert!(first || (own == 0) == moves, "{}, {}: {own}", op.name, case.name);
            }
        }
    }

    /// Formulas against the sizes of the products that kernels were given, and at most `more` beside them.
    #[track_caller]
    fn check(dims: &[&[usize]], more: f64, run: impl for<'t> Fn(&[Var<'t>]) -> Var<'t>) {
        let (engine, watch) = (Engine::profiled(1, clock), Watch::new(clock));
        let tape = Tape::new(&engine).watched(&watch);
        let leaf = |d: &&[usize]| {
            let shape = Shape::new(d);
            tape.leaf(Tensor::from_vec(shape, (0..shape.len()).map(|i| (i as f32).sin()).collect()))
        };
        let leaves: Vec<Var<'_>> = dims.iter().map(leaf).collect();
        let y = run(&leaves);
        tape.backward(vec![(y, Tensor::from_vec(y.shape(), vec![1.0f32; y.shape().len()]))]);
        let total: Flops = watch.seen().iter().map(|s| s.flops).sum();
        for (formula, way) in [(total.forward, Way::Forward), (total.backward, Way::Backward)] {
            let ratio = formula as f64 / counted(&engine, way) as f64;
            assert!((1.0..=1.0 + more).contains(&ratio), "{way:?}: {formula} is {ratio} of what was done");
        }
    }

    #[test]
    fn products_count_what_was_multiplied() {
        check(&[&[40, 64], &[64, 48]], 0.0, |x| x[0].matmul(x[1]));
        check(&[&[3, 40, 64], &[3, 48, 64]], 0.0, |x| x[0].matmul_nt(x[1]));
        check(&[&[40, 64], &[48, 64]], 0.0, |x| x[0].linear(x[1], None));
        check(&[&[40, 64], &[48, 64], &[48]], 0.004, |x| x[0].linear(x[1], Some(x[2])));
        let maps: [&[usize]; 5] = [&[40, 64], &[256, 64], &[256], &[48, 256], &[48]];
        check(&maps, 0.05, |x| x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::Gelu));
        let texts: [&[usize]; 3] = [&[40, 128]; 3];
        check(&texts, 0.03, |x| x[0].attention(x[1], x[2], [0, 10, 40].into(), 2, None));
    }

    #[test]
    fn who_wants_no_gradient_costs_none() {
        let watch = Watch::new(clock);
        let tape = Tape::new(&Engine::new(1)).watched(&watch);
        let x = tape.constant(Tensor::from_vec([2, 3], vec![1.0f32; 6]));
        let w = tape.leaf(Tensor::from_vec([5, 3], vec![1.0f32; 15]));
        let _ = (x.linear(w, None), x.exp());
        let flops: Vec<_> = watch.seen()[2..].iter().map(|s| (s.flops.forward, s.flops.backward)).collect();
        assert_eq!(flops, [(60, 60), (6, 0)]);
    }

    #[test]
    fn a_recomputed_segment_costs_its_inside_once_more() {
        let cost = |recompute: bool| {
            let watch = Watch::new(clock);
            let tape = Tape::new(&Engine::new(1)).watched(&watch);
            let [x, w] = [
                tape.leaf(Tensor::from_vec([4, 4], vec![0.5f32; 16])),
                tape.leaf(Tensor::from_vec([4, 4], vec![0.5f32; 16])),
            ];
            let segment: crate::Segment = Rc::new(|x| x[0].matmul(x[1]).exp().matmul(x[1]));
            let y = if recompute { tape.recompute(segment, &[x, w]) } else { segment(&[x, w]) };
            tape.backward(vec![(y, Tensor::from_vec([4, 4], vec![1.0f32; 16]))]);
            let seen = watch.seen();
            (seen.iter().map(|s| s.flops).sum::<Flops>(), seen.iter().map(|s| s.seconds[0]).sum::<f64>())
        };
        let ((plain, of_plain), (again, of_again)) = (cost(false), cost(true));
        // A clock of a second a look: one for each of three operations, and these and the segment's own.
        assert_eq!((of_plain, of_again), (3.0, 8.0));
        assert_eq!(plain, Flops { forward: 128 + 16 + 128, backward: 256 + 16 + 256 });
        assert_eq!(again, Flops { forward: plain.forward, backward: plain.total() });
    }
}
