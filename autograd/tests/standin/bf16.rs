//! Layers of a device that multiplies in bf16 (`Cuda::in_bf16`), against the CPU in f32.

use super::{TOLERANCE, TOLERANCE_LARGER, larger, largest, process};
use autograd::Tape;
use engine::cuda::{Function1, Function2};
use engine::kernels::broadcast::sum_to;
use engine::kernels::feed_forward::{back_through, bent_and_straight};
use engine::kernels::given::Given;
use engine::kernels::linear::linear as linear_map;
use engine::kernels::map::{Map1, Map2};
use engine::kernels::sgd::sgd;
use engine::{DType, Engine, Precision, Real, Stream, Tensor};

/// How far from the CPU the outputs and gradients of a layer may be and must be, |difference| / |numbers of the CPU|:
/// rounding to eight bits moves a factor by at most 2⁻⁹ of itself, and who is nearer has not rounded.
const ROUNDED: std::ops::Range<f64> = 5e-4..6e-3;
/// Rows, inputs, outputs: each with a tail in tiles of 64 and in steps of 32; and one of single numbers.
const SIZES: [[usize; 3]; 3] = [[70, 83, 90], [64, 64, 128], [1, 1, 1]];

/// Numbers that bf16 has.
fn draw(shape: [usize; 2], tag: u64) -> Tensor {
    let stream = Stream { seed: 11, step: 0, tag };
    let number = |i| f32::from_bits(((stream.uniform(i) - 0.5) as f32).to_bits() & 0xffff_0000);
    Tensor::from_vec(shape, (0..(shape[0] * shape[1]) as u64).map(number).collect())
}

/// y, and the gradients of x and w.
fn linear(engine: &Engine, [rows, inputs, outputs]: [usize; 3]) -> Vec<Option<Vec<f64>>> {
    let place = |x: Tensor| engine.place(&x);
    let tape = Tape::new(engine);
    let [x, w] = [([rows, inputs], 1), ([outputs, inputs], 2)].map(|(s, tag)| tape.leaf(place(draw(s, tag))));
    let y = x.linear(w, None);
    let output = y.value();
    let grads = tape.backward(vec![(y, place(draw([rows, outputs], 3)))]);
    let of = |leaf| grads.get(leaf).map(|grad| grad.to_f64());
    vec![Some(output.to_f64()), of(x), of(w)]
}

/// Numbers, and what bf16 makes of them: halfway the even one, beyond the largest infinity, of a NaN a NaN.
const ROUNDS: [(u32, u32); 7] = [
    (0x3f80_8000, 0x3f80_0000),
    (0x3f81_8000, 0x3f82_0000),
    (0x3f80_8001, 0x3f81_0000),
    (0xbf80_7fff, 0xbf80_0000),
    (0x7f7f_ffff, 0x7f80_0000),
    (0xff80_0000, 0xff80_0000),
    (0x7f80_0001, 0x7fff_0000),
];

/// What a device makes of the numbers, multiplied by one.
fn check_rounding(device: &Engine) {
    let place = |x: Tensor| x.to_device(device.cuda().expect("it has one"));
    let tape = Tape::inference(device);
    let given = ROUNDS.map(|(bits, _)| f32::from_bits(bits)).to_vec();
    let x = tape.leaf(place(Tensor::from_vec([ROUNDS.len(), 1], given)));
    let one = tape.leaf(place(Tensor::from_vec([1, 1], vec![1.0f32])));
    for (got, (bits, want)) in x.linear(one, None).value().to_f64().into_iter().zip(ROUNDS) {
        let want = f64::from(f32::from_bits(want));
        assert!(got == want || got.is_nan() && want.is_nan(), "{bits:08x} became {got}, not {want}");
    }
}

/// |got - want| / |want|; NaN where numbers are missing.
fn distance((got, want): (&Option<Vec<f64>>, &Option<Vec<f64>>)) -> f64 {
    let (Some(got), Some(want)) = (got, want) else { return f64::NAN };
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

/// max(x, 0); as a function of two numbers its slope at the first times the second.
struct Relu;

impl Map1 for Relu {
    fn at<T: Real>(&self, x: T) -> T {
        if x > T::ZERO { x } else { T::ZERO }
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Relu)
    }
}

impl Map2 for Relu {
    fn at<T: Real>(&self, x: T, grad: T) -> T {
        if x > T::ZERO { grad } else { T::ZERO }
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::ReluBack)
    }
}

/// u and φ(u) of a layer, ū and φ(u) on its way back, and the sum of the rows of ū.
fn between(engine: &Engine, [rows, inputs, outputs]: [usize; 3]) -> [Tensor; 5] {
    let place = |x: Tensor| engine.place(&x);
    let [x, w] = [([rows, inputs], 1), ([outputs, inputs], 2)].map(|(shape, tag)| place(draw(shape, tag)));
    let [grad, back] =
        [([rows, inputs], 5), ([inputs, outputs], 6)].map(|(shape, tag)| place(draw(shape, tag)));
    let b = place(draw([1, outputs], 4).reshape([outputs]));
    let [u, inner] = bent_and_straight(engine, &x, &w, &b, Relu);
    let [du, again] = back_through(engine, &grad, &back, &u, Relu);
    let sum = sum_to(engine, &du, [outputs].into());
    [u, inner, du, again, sum]
}

/// What lies between the products of a layer is in bf16 the nearest to what the CPU has.
fn check_between(cpu: &Engine, device: &Engine, sizes: [usize; 3]) {
    let (got, want) = (between(device, sizes), between(cpu, sizes));
    // Relative to a number of bf16, half of the distance to its neighbour; and what f32 is off before it is rounded.
    let near = |g: f64, w: f64, all: f64| (g - w).abs() <= all / 256.0 + TOLERANCE;
    for (i, (got, want)) in got[..4].iter().zip(&want).enumerate() {
        assert_eq!(got.dtype(), DType::Rounded(Precision::Bf16), "{sizes:?}, {i}");
        let (got, want) = (got.to_f64(), want.to_f64());
        assert!(
            got.iter().zip(&want).all(|(&g, &w)| near(g, w, w.abs())),
            "{sizes:?}, {i}: {got:?} {want:?}"
        );
    }
    let (sums, du, columns) = (got[4].to_f64(), want[2].to_f64(), sizes[2]);
    for (j, (g, w)) in sums.iter().zip(want[4].to_f64()).enumerate() {
        let all = du.iter().skip(j).step_by(columns).map(|x| x.abs()).sum();
        assert!(near(*g, w, all), "{sizes:?}, column {j}: {g} {w}");
    }
}

/// A layer, before and after its weight was written in place.
fn written(engine: &Engine) -> Vec<Option<Vec<f64>>> {
    let [x, mut w, grad] =
        [([40, 48], 1), ([64, 48], 2), ([64, 48], 3)].map(|(shape, tag)| engine.place(&draw(shape, tag)));
    let before = linear_map(engine, &x, &w, None).to_f64();
    sgd(engine, &mut w, Given::All(&grad), 1.0);
    vec![Some(before), Some(linear_map(engine, &x, &w, None).to_f64())]
}

/// What was rounded of a weight is forgotten when it is written.
fn check_written(cpu: &Engine, device: &Engine) {
    for (got, want) in written(device).iter().zip(&written(cpu)) {
        let far = distance((got, want));
        assert!(far < ROUNDED.end, "a weight that was written: {far}");
    }
}

pub(super) fn check() {
    let cpu = Engine::new(1);
    let device = Engine::new(1).with_cuda(process::device().in_bf16());
    check_rounding(&device);
    check_written(&cpu, &device);
    for sizes in SIZES {
        let error = largest(&linear(&device, sizes), &linear(&cpu, sizes));
        // A product of two numbers of bf16 is one of f32. Written so that a NaN is wrong.
        assert!(error.is_some_and(|e| e <= TOLERANCE), "numbers of bf16, {sizes:?}: {error:?}");
        check_between(&cpu, &device, sizes);
    }
    for case in larger::CASES {
        let (got, want) = (case.in_f32(&device, 0), case.in_f32(&cpu, 0));
        if ["linear", "feed_forward"].iter().any(|layer| case.name.starts_with(layer)) {
            let far = got.iter().zip(&want).map(distance).collect::<Vec<f64>>();
            // The gradient of a bias is a sum and no product: the others have been rounded.
            let rounded = far.iter().filter(|far| ROUNDED.contains(far)).count();
            assert!(far.iter().all(|&far| far < ROUNDED.end) && rounded >= 3, "`{}`: {far:?}", case.name);
        } else {
            // Scores and attention are in f32.
            let error = largest(&got, &want);
            assert!(error.is_some_and(|e| e <= TOLERANCE_LARGER), "`{}`: {error:?}", case.name);
        }
    }
}
