//! The gradient checker: what the tape says against what differences measure, in f64, for every operation.
//!
//! ```text
//! ⟨ū, J v⟩  by a five-point difference along v        must equal        ⟨v, Jᵀ ū⟩  by the tape
//! ```
//! for random directions ū, v and eight seeds. An entry that an operation blocks (detached, masked) must have gradient
//! exactly zero; every other entry must show one above 1e-3 for some seed, so that a gradient which is silently zero
//! does not pass. There is no way to opt out: a test walks [`crate::ops::OPS`] and the files of `ops/`.

use crate::tape::{Tape, Var};
use engine::{DType, Engine, Shape, Stream, Tensor};
use std::fmt;

/// Seeds per case.
const SEEDS: u64 = 8;
/// The relative difference that is forgiven.
const TOLERANCE: f64 = 1e-7;
/// The step of the difference. The error of the five-point stencil is O(h⁴).
const STEP: f64 = 1e-3;

/// From where the numbers of an input are drawn.
#[derive(Clone, Copy, Debug)]
pub enum Draw {
    /// Uniform between two bounds.
    Uniform(f64, f64),
    /// Either sign, with a magnitude between two bounds: away from a kink at zero.
    Signed(f64, f64),
    /// A shuffled grid with this distance between any two numbers: away from ties.
    Distinct(f64),
}

/// One input of a case.
#[derive(Clone, Copy, Debug)]
pub struct In {
    dims: &'static [usize],
    draw: Draw,
    blocked: fn(usize) -> bool,
}

impl In {
    /// Uniform in ±2.
    pub const fn normal(dims: &'static [usize]) -> In {
        In::drawn(dims, Draw::Uniform(-2.0, 2.0))
    }
    /// Drawn as told.
    pub const fn drawn(dims: &'static [usize], draw: Draw) -> In {
        In { dims, draw, blocked: |_| false }
    }
    /// The entries (row-major index) whose gradient the operation blocks: it must be exactly zero.
    #[must_use]
    pub const fn blocked(self, blocked: fn(usize) -> bool) -> In {
        In { blocked, ..self }
    }
    fn values(&self, stream: Stream) -> Vec<f64> {
        let n = Shape::new(self.dims).len();
        match self.draw {
            Draw::Uniform(low, high) => {
                (0..n as u64).map(|i| low + (high - low) * stream.uniform(i)).collect()
            }
            Draw::Signed(low, high) => {
                let one = |i| {
                    let (size, sign) = (stream.uniform(2 * i), stream.uniform(2 * i + 1));
                    (low + (high - low) * size) * if sign < 0.5 { -1.0 } else { 1.0 }
                };
                (0..n as u64).map(one).collect()
            }
            Draw::Distinct(gap) => {
                let mut grid: Vec<f64> = (0..n).map(|i| (i as f64 - 0.5 * n as f64) * gap).collect();
                stream.shuffle(&mut grid);
                grid
            }
        }
    }
}

/// A way to call an operation, with the shapes and ranges of its inputs.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    inputs: &'static [In],
    run: for<'t> fn(&[Var<'t>]) -> Var<'t>,
}

/// A constant of a case, in the float type of the value that it is to be used with.
pub(crate) fn constant(of: Var<'_>, dims: &[usize], values: &[f64]) -> Tensor {
    match of.value().dtype() {
        DType::F64 => Tensor::from_vec(Shape::new(dims), values.to_vec()),
        _ => Tensor::from_vec(Shape::new(dims), values.iter().map(|&x| x as f32).collect()),
    }
}

/// The tape and the differences disagree.
#[derive(Debug, PartialEq)]
pub enum Mismatch {
    /// A directional derivative of an input.
    Derivative {
        /// Which input.
        input: usize,
        /// ⟨v, Jᵀū⟩.
        tape: f64,
        /// ⟨ū, Jv⟩.
        differences: f64,
    },
    /// A blocked entry has a gradient, or an open one never has.
    Entry {
        /// Which input.
        input: usize,
        /// Which entry.
        entry: usize,
        /// Whether the operation should block it.
        blocked: bool,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Derivative { input, tape, differences } => {
                write!(f, "input {input}: the tape says {tape:.9}, differences say {differences:.9}")
            }
            Mismatch::Entry { input, entry, blocked: true } => {
                write!(f, "input {input}, entry {entry}: it is blocked and yet has a gradient")
            }
            Mismatch::Entry { input, entry, blocked: false } => {
                write!(f, "input {input}, entry {entry}: its gradient is zero for every seed")
            }
        }
    }
}

impl Case {
    /// A case from a name, its inputs and the call.
    pub const fn new(
        name: &'static str,
        inputs: &'static [In],
        run: for<'t> fn(&[Var<'t>]) -> Var<'t>,
    ) -> Case {
        Case { name, inputs, run }
    }
    /// Tries the case with all seeds.
    ///
    /// # Errors
    /// The first disagreement.
    pub fn check(&self) -> Result<(), Mismatch> {
        let engine = Engine::poisoned(1);
        let mut largest: Vec<Vec<f64>> =
            self.inputs.iter().map(|i| vec![0.0; Shape::new(i.dims).len()]).collect();
        for seed in 0..SEEDS {
            for (seen, grad) in largest.iter_mut().zip(self.check_seed(&engine, seed)?) {
                seen.iter_mut().zip(grad).for_each(|(s, g)| *s = s.max(g.abs()));
            }
        }
        for (input, (seen, drawn)) in largest.iter().zip(self.inputs).enumerate() {
            for (entry, &seen) in seen.iter().enumerate() {
                let blocked = (drawn.blocked)(entry);
                if blocked && seen != 0.0 || !blocked && seen < 1e-3 {
                    return Err(Mismatch::Entry { input, entry, blocked });
                }
            }
        }
        Ok(())
    }
    /// The names of the operations that the case records.
    pub fn op_names(&self) -> Vec<&'static str> {
        let tape = Tape::new(&Engine::new(1));
        (self.run)(&self.leaves(&tape, &self.draw(0)));
        tape.op_names()
    }
    /// The output and the gradient of every input (none where it has none) in f32, for the points of a seed and a
    /// gradient of the output that is drawn from it. On the device of the engine, if it has one.
    pub fn in_f32(&self, engine: &Engine, seed: u64) -> Vec<Option<Vec<f64>>> {
        let place = |x: Tensor| engine.place(&x);
        let single = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let tape = Tape::new(engine);
        let values = self.inputs.iter().zip(self.draw(seed));
        let leaves: Vec<Var<'_>> = values
            .map(|(input, x)| tape.leaf(place(Tensor::from_vec(Shape::new(input.dims), single(&x)))))
            .collect();
        let y = (self.run)(&leaves);
        let output = y.value();
        let stream = Stream { seed, step: 0, tag: 2 };
        let u: Vec<f64> = (0..y.shape().len() as u64).map(|i| 2.0 * stream.uniform(i) - 1.0).collect();
        let grads = tape.backward(vec![(y, place(Tensor::from_vec(y.shape(), single(&u))))]);
        let of = |leaf: &Var<'_>| grads.get(*leaf).map(|grad| grad.to_f64());
        [Some(output.to_f64())].into_iter().chain(leaves.iter().map(of)).collect()
    }
    /// Goes there and back on a tape that is watched.
    #[cfg(test)]
    pub(crate) fn seen(&self, engine: &Engine, watch: &std::rc::Rc<crate::Watch>) -> Vec<crate::Seen> {
        let tape = Tape::new(engine).watched(watch);
        let y = (self.run)(&self.leaves(&tape, &self.draw(0)));
        tape.backward(vec![(y, Tensor::from_vec(y.shape(), vec![1.0; y.shape().len()]))]);
        watch.seen()
    }
    fn draw(&self, seed: u64) -> Vec<Vec<f64>> {
        let stream = |i| Stream { seed, step: i as u64, tag: 1 };
        self.inputs.iter().enumerate().map(|(i, input)| input.values(stream(i))).collect()
    }
    fn leaves<'t>(&self, tape: &'t Tape, x: &[Vec<f64>]) -> Vec<Var<'t>> {
        let leaf =
            |(input, x): (&In, &Vec<f64>)| tape.leaf(Tensor::from_vec(Shape::new(input.dims), x.clone()));
        self.inputs.iter().zip(x).map(leaf).collect()
    }
    /// Compares the directional derivatives of all inputs; gives the gradients of the tape.
    fn check_seed(&self, engine: &Engine, seed: u64) -> Result<Vec<Vec<f64>>, Mismatch> {
        let x = self.draw(seed);
        let tape = Tape::new(engine);
        let leaves = self.leaves(&tape, &x);
        let y = (self.run)(&leaves);
        let direction = |n: usize, step: usize, tag| {
            let stream = Stream { seed, step: step as u64, tag };
            (0..n as u64).map(|i| 2.0 * stream.uniform(i) - 1.0).collect::<Vec<f64>>()
        };
        let u = direction(y.shape().len(), 0, 2);
        let grads = tape.backward(vec![(y, Tensor::from_vec(y.shape(), u.clone()))]);
        let value = |x: &[Vec<f64>]| {
            let tape = Tape::inference(engine);
            (self.run)(&self.leaves(&tape, x)).value().to_f64()
        };
        let mut all = vec![];
        for (input, leaf) in leaves.iter().enumerate() {
            let grad = grads.get(*leaf).map_or_else(|| vec![0.0; x[input].len()], |g| g.to_f64());
            let mut v = direction(x[input].len(), input, 3);
            // A blocked entry may well change the value (detach does): it is not moved.
            v.iter_mut()
                .enumerate()
                .for_each(|(i, v)| *v *= f64::from(u8::from(!(self.inputs[input].blocked)(i))));
            let along = |h: f64| {
                let mut moved = x.clone();
                moved[input].iter_mut().zip(&v).for_each(|(x, v)| *x += h * v);
                value(&moved)
            };
            let (a, b, c, d) = (along(STEP), along(-STEP), along(2.0 * STEP), along(-2.0 * STEP));
            let slope = |i: usize| (8.0 * (a[i] - b[i]) - (c[i] - d[i])) / (12.0 * STEP);
            let differences: f64 = u.iter().enumerate().map(|(i, u)| u * slope(i)).sum();
            let tape: f64 = grad.iter().zip(&v).map(|(g, v)| g * v).sum();
            // Written so that a NaN on either side fails.
            let agree = (tape - differences).abs() <= TOLERANCE * (1.0 + differences.abs());
            if !agree {
                return Err(Mismatch::Derivative { input, tape, differences });
            }
            all.push(grad);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
    use crate::ops::OPS;
    use engine::ShapeError;
    use engine::kernels::map::{Map1, Map2, map1, map2};

    #[test]
    fn every_op_agrees_with_finite_differences() {
        for op in OPS {
            assert!(!op.cases.is_empty(), "`{}` has no gradient case", op.name);
            for case in op.cases {
                assert!(
                    case.op_names().contains(&op.name),
                    "`{}`: the case `{}` does not use it",
                    op.name,
                    case.name
                );
                if let Err(e) = case.check() {
                    panic!("`{}`, case `{}`: {e}", op.name, case.name);
                }
            }
        }
    }

    #[test]
    fn every_file_in_ops_is_registered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops");
        let names = OPS.iter().map(|op| op.name).collect::<Vec<_>>();
        for file in std::fs::read_dir(folder).expect("the folder of this crate") {
            let path = file.expect("readable").path();
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert!(
                stem == "mod" || names.contains(&&*stem),
                "ops/{stem}.rs is not in OPS under its own name"
            );
        }
    }

    /// A square whose backward is wrong on purpose, in the way that its field says.
    #[derive(Debug)]
    struct Wrong {
        factor: f64,
        keep: Keep,
    }
    impl Op for Wrong {
        fn name(&self) -> &'static str {
            "wrong"
        }
        fn keep(&self) -> Keep {
            self.keep
        }
        fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
            Ok(inputs[0])
        }
        fn flops(&self, n: &Sizes<'_>) -> Flops {
            Flops::each(n.out(), 1, 2)
        }
        fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
            struct Square;
            impl Map1 for Square {
                fn at<T: engine::Real>(&self, x: T) -> T {
                    x * x
                }
            }
            map1(cx.engine, &cx.inputs[0], Square)
        }
        fn backward(&self, cx: &mut Backward<'_>) {
            struct Pull(f64);
            impl Map2 for Pull {
                fn at<T: engine::Real>(&self, x: T, g: T) -> T {
                    T::of(self.0) * x * g
                }
            }
            let grad = map2(cx.engine, cx.input(0), cx.grad, Pull(self.factor));
            cx.give(0, grad);
        }
    }

    const RIGHT: Case = Case::new("right", &[In::normal(&[3])], |x| {
        x[0].tape().apply(Wrong { factor: 2.0, keep: Keep::INPUTS }, x)
    });
    const OFF_BY_ROOT_TWO: Case = Case::new("off by √2", &[In::normal(&[3])], |x| {
        x[0].tape().apply(Wrong { factor: std::f64::consts::SQRT_2, keep: Keep::INPUTS }, x)
    });
    const NAN: Case = Case::new("NaN", &[In::normal(&[3])], |x| {
        x[0].tape().apply(Wrong { factor: f64::NAN, keep: Keep::INPUTS }, x)
    });
    const LIES_IN_KEEP: Case = Case::new("lies", &[In::normal(&[3])], |x| {
        x[0].tape().apply(Wrong { factor: 2.0, keep: Keep::NOTHING }, x)
    });

    #[test]
    fn checker_accepts_right_and_rejects_wrong_gradients() {
        assert_eq!(RIGHT.check(), Ok(()));
        assert!(matches!(OFF_BY_ROOT_TWO.check(), Err(Mismatch::Derivative { input: 0, .. })));
        assert!(matches!(NAN.check(), Err(Mismatch::Derivative { .. })));
    }

    #[test]
    #[should_panic(expected = "backward reads input 0, keep() does not")]
    fn a_lie_in_keep_is_found() {
        let _ = LIES_IN_KEEP.check();
    }

    #[test]
    fn checker_sees_silent_zeros_and_leaking_blocks() {
        const TWO: &[In] = &[In::normal(&[2]), In::normal(&[2])];
        let silent = Case::new("silent", TWO, |x| x[0] + x[0]);
        assert_eq!(silent.check(), Err(Mismatch::Entry { input: 1, entry: 0, blocked: false }));
        const LEAK: &[In] = &[In::normal(&[2]).blocked(|i| i == 1)];
        let leaking = Case::new("leaking", LEAK, |x| x[0] + x[0]);
        assert_eq!(leaking.check(), Err(Mismatch::Entry { input: 0, entry: 1, blocked: true }));
    }
}
