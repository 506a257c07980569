//! Against plain gradient descent on W itself, which knows neither factors nor sums: scores, their z and a gradient for
//! every output, written out.

use super::lesson::{Lesson, labels_in};
use super::*;
use autograd::gradcheck::{Case, In};
use autograd::{Backward, Flops, Forward, Keep, Op, SgdRows, Sizes, Var};
use engine::kernels::bce::Ids;
use engine::profile::{Moment, Way};
use engine::{Shape, ShapeError, Stream};

const LOSS: ZLoss = ZLoss { sharpness: 1.5, location: 3.0 };

fn draw(n: usize, tag: u64, step: u64) -> Vec<f64> {
    let stream = Stream::new(9, tag).at_step(step);
    (0..n as u64).map(|i| 2.0 * stream.uniform(i) - 1.0).collect()
}

/// The labels of the rows of a batch, and those that play no part in them.
struct Batch {
    positives: (Vec<usize>, Vec<u32>),
    left_out: (Vec<usize>, Vec<u32>),
}

impl Batch {
    /// Rows of one to three labels, in every second row of four that many rows share; every third row leaves some out.
    fn drawn(n: usize, labels: usize, step: u64) -> Batch {
        let stream = Stream::new(8, 1).at_step(step);
        let (mut positives, mut left_out) = ((vec![0], vec![]), (vec![0], vec![]));
        for i in 0..n as u64 {
            let all = |k: u64| if i % 2 == 0 { 4 } else { labels as u64 - k };
            let mut own: Vec<u32> = (0..=i % 3).map(|k| stream.below(16 * i + k, all(k)) as u32).collect();
            own.sort_unstable();
            own.dedup();
            let mut out: Vec<u32> = (0..4 * u64::from(i % 3 == 1))
                .map(|k| stream.below(16 * i + 8 + k, labels as u64) as u32)
                .collect();
            out.sort_unstable();
            out.dedup();
            out.retain(|label| !own.contains(label));
            positives.1.extend(own);
            positives.0.push(positives.1.len());
            left_out.1.extend(out);
            left_out.0.push(left_out.1.len());
        }
        Batch { positives, left_out }
    }
    fn truth(&self) -> Truth<'_> {
        let positives = Ids { starts: &self.positives.0, items: &self.positives.1 };
        let left_out = Ids { starts: &self.left_out.0, items: &self.left_out.1 };
        Truth { positives, left_out, soft: None }
    }
}

fn row_of(ids: Ids<'_>, i: usize) -> &[u32] {
    &ids.items[ids.starts[i]..ids.starts[i + 1]]
}

/// ∂L/∂O by the equations of the paper for every output that plays a part, and the loss.
fn naive_gradient(o: &[f64], n: usize, truth: Truth<'_>) -> (f64, Vec<f64>) {
    let labels = o.len() / n;
    let (mut loss, mut grad) = (0.0, vec![0.0; o.len()]);
    for i in 0..n {
        let (o, grad) = (&o[i * labels..(i + 1) * labels], &mut grad[i * labels..(i + 1) * labels]);
        let out = row_of(truth.left_out, i);
        let counts: Vec<usize> = (0..labels).filter(|&k| !out.contains(&(k as u32))).collect();
        let d = counts.len() as f64;
        let mean = counts.iter().map(|&k| o[k]).sum::<f64>() / d;
        let sigma = (counts.iter().map(|&k| (o[k] - mean).powi(2)).sum::<f64>() / d + 1e-12).sqrt();
        let targets = row_of(truth.positives, i);
        for &c in targets {
            let share = 1.0 / (n * targets.len()) as f64;
            let z = (o[c as usize] - mean) / sigma;
            let short = LOSS.sharpness * (LOSS.location - z);
            loss += share * (1.0 + short.exp()).ln() / LOSS.sharpness;
            let g = -share / (1.0 + (-short).exp());
            for &k in &counts {
                let z_k = (o[k] - mean) / sigma;
                let is_target = f64::from(u8::from(k == c as usize));
                grad[k] += g / sigma * (is_target - (1.0 + z * z_k) / d);
            }
        }
    }
    (loss, grad)
}

/// a `[n, k]` times b `[k, m]`.
fn product(a: &[f64], b: &[f64], [n, k, m]: [usize; 3]) -> Vec<f64> {
    let mut c = vec![0.0; n * m];
    for i in 0..n {
        (0..k).for_each(|j| add(&mut c[i * m..(i + 1) * m], a[i * k + j], &b[j * m..(j + 1) * m]));
    }
    c
}
fn transposed(a: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|j| a.iter().skip(j).step_by(width)).copied().collect()
}

/// One step of descent on W: the loss, and X̄.
fn naive_step(
    w: &mut [f64],
    x: &[f64],
    [labels, d]: [usize; 2],
    truth: Truth<'_>,
    rate: f64,
) -> (f64, Vec<f64>) {
    let n = x.len() / d;
    let (loss, g) = naive_gradient(&product(x, &transposed(w, d), [n, d, labels]), n, truth);
    let dx = product(&g, w, [n, labels, d]);
    add(w, -rate, &product(&transposed(&g, labels), x, [labels, n, d]));
    (loss, dx)
}

/// V of f64 and its factors.
struct Exact {
    v: Vec<f64>,
    factors: Factors,
}

impl Exact {
    fn new(engine: &Engine, [labels, d]: [usize; 2]) -> Exact {
        let mut table = Table::zeros(labels, d);
        let start = draw(labels * d, 2, 0);
        table.data_mut().iter_mut().zip(start).for_each(|(to, from)| *to = from as f32);
        let v = table.data().iter().map(|&x| f64::from(x)).collect();
        Exact { v, factors: Factors::new(engine, &table) }
    }
    fn lesson(&self, engine: &Engine, x: &[f64], truth: Truth<'_>) -> Lesson {
        let (labels, d) = (labels_in(truth), self.factors.width);
        let rows: Vec<f64> =
            labels.iter().flat_map(|&l| &self.v[l as usize * d..(l as usize + 1) * d]).copied().collect();
        Lesson::of(engine, &self.factors, LOSS, engine.copied(x), (&labels, &rows), truth)
    }
    fn step(&mut self, engine: &Engine, x: &[f64], truth: Truth<'_>, rate: f64) -> (f64, Vec<f64>) {
        let (lesson, d) = (self.lesson(engine, x, truth), self.factors.width);
        assert!(self.factors.update(engine, &lesson, rate), "U keeps its inverse");
        let moves = self.factors.gradient(engine, &lesson);
        for (label, by) in labels_in(truth).into_iter().zip(moves.chunks(d)) {
            add(&mut self.v[label as usize * d..(label as usize + 1) * d], -rate, by);
        }
        (lesson.loss, lesson.dx.to_vec())
    }
    fn weights(&self) -> Vec<f64> {
        let (d, f) = (self.factors.width, &self.factors);
        let mut w = product(&self.v, &f.u, [f.labels, d, d]);
        w.chunks_mut(d).for_each(|row| add(row, 1.0, &f.omega));
        w
    }
}

/// The largest difference.
fn off(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    // A NaN on either side is no small difference.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m, x| if x <= m { m } else { x })
}

#[test]
fn two_hundred_factored_steps_are_two_hundred_steps_of_descent_on_all_weights() {
    let engine = Engine::poisoned(2);
    // As the specification has it; more rows than numbers in one; and a single row.
    for ([labels, d], n, rate) in [([500, 16], 8, 2.0), ([60, 5], 12, 1.0), ([40, 7], 1, 0.3)] {
        let mut exact = Exact::new(&engine, [labels, d]);
        let mut w = exact.weights();
        let start = w.clone();
        for step in 0..200 {
            let (x, batch) = (draw(n * d, 3, step), Batch::drawn(n, labels, step));
            let (loss, dx) = exact.step(&engine, &x, batch.truth(), rate);
            let (want, dx_want) = naive_step(&mut w, &x, [labels, d], batch.truth(), rate);
            assert!((loss - want).abs() < 1e-12 * want, "step {step}: {loss} is not {want}");
            let size = dx_want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(
                off(&dx, &dx_want) < 1e-11 * size,
                "step {step}: X̄ is off by {} of {size}",
                off(&dx, &dx_want)
            );
        }
        let f = &exact.factors;
        let moved = [off(&w, &start), off(&f.u, &identity(d))];
        assert!(moved.iter().all(|&moved| moved > 0.01), "little was learned: {moved:?}");
        let gram = product(&transposed(&w, d), &w, [d, labels, d]);
        let sum = product(&vec![1.0; labels], &w, [1, labels, d]);
        let one = product(&f.u, &transposed(&f.inverse, d), [d, d, d]);
        for (name, got, want, most) in [
            ("W", &exact.weights(), &w, 1e-12),
            ("Q", &f.gram, &gram, 1e-11),
            ("w̄", &f.sum, &sum, 1e-12),
            ("U U⁻¹", &one, &identity(d), 1e-12),
        ] {
            let off = off(got, want);
            println!("{labels} labels of {d}, {n} rows: {name} is off by {off:.1e}");
            assert!(off < most, "{labels} labels, {n} rows: {name} is off by {off}");
        }
    }
}

/// The loss of a batch of three rows of four numbers over thirty labels whose factors have moved.
#[derive(Debug)]
struct OfBatch;

impl OfBatch {
    fn lesson(engine: &Engine, x: &[f64]) -> Lesson {
        let mut exact = Exact::new(engine, [30, 4]);
        for step in 0..9 {
            exact.step(engine, &draw(12, 3, step), Batch::drawn(3, 30, step).truth(), 0.3);
        }
        exact.lesson(engine, x, Batch::drawn(3, 30, 50).truth())
    }
}

impl Op for OfBatch {
    fn name(&self) -> &'static str {
        "z_loss"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, _: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::new(&[]))
    }
    fn flops(&self, _: &Sizes<'_>) -> Flops {
        Flops::NOTHING
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        let lesson = OfBatch::lesson(cx.engine, cx.inputs[0].data());
        Tensor::from_vec(Shape::new(&[]), vec![lesson.loss])
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let (lesson, by) = (OfBatch::lesson(cx.engine, cx.input(0).data()), cx.grad.to_f64()[0]);
        let dx = lesson.dx.iter().map(|dx| by * dx).collect::<Vec<f64>>();
        cx.give(0, Tensor::from_vec([3, 4], dx));
    }
}

#[test]
fn what_goes_back_to_the_encoder_agrees_with_finite_differences() {
    fn of<'t>(x: &[Var<'t>]) -> Var<'t> {
        x[0].tape().apply(OfBatch, x)
    }
    const INPUTS: &[In] = &[In::normal(&[3, 4])];
    let case = Case::new("rows of labels that are shared and left out", INPUTS, of);
    case.check().unwrap_or_else(|wrong| panic!("{wrong}"));
    // The checker sees the operation at all.
    assert_eq!(case.op_names(), ["z_loss"]);
}

/// A table of W and its factors.
fn table(engine: &Engine, [labels, d]: [usize; 2]) -> (Table, Factors) {
    let mut table = Table::zeros(labels, d);
    let start = draw(labels * d, 2, 0);
    table.data_mut().iter_mut().zip(start).for_each(|(to, from)| *to = from as f32);
    let factors = Factors::new(engine, &table);
    (table, factors)
}
fn weights(engine: &Engine, table: &Table, factors: &Factors) -> Vec<f64> {
    let mut rows = table.data().to_vec();
    factors.factor().multiply(engine, &mut rows);
    rows.into_iter().map(f64::from).collect()
}
/// Embeddings of length 1 that have much in common, as those of an encoder do.
fn embeddings(n: usize, d: usize, step: u64) -> Vec<f64> {
    let mut x = draw(n * d, 3, step);
    for row in x.chunks_mut(d) {
        row[0] = 3.0;
        let length = dot(row, row).sqrt();
        row.iter_mut().for_each(|x| *x = f64::from((*x / length) as f32));
    }
    x
}
fn single(x: &[f64], d: usize) -> Tensor {
    Tensor::from_vec([x.len() / d, d], x.iter().map(|&x| x as f32).collect::<Vec<f32>>())
}

/// How far W of f32 is from plain descent in f64 after 1,500 steps, of the largest weight, and how often V took U in.
fn drift(check_every: u32, folds: bool) -> (f64, u32) {
    let (engine, [labels, d], n, rate) = (Engine::new(2), [60, 12], 8, 2.0);
    let (mut table, mut factors) = table(&engine, [labels, d]);
    let (mut w, mut sgd) = (weights(&engine, &table, &factors), SgdRows::new());
    let (mut folded, mut least) = (0, f64::INFINITY);
    for step in 0..1500 {
        let (x, batch) = (embeddings(n, d, step), Batch::drawn(n, labels, step));
        naive_step(&mut w, &x, [labels, d], batch.truth(), rate);
        if folds {
            let head = Factored { loss: LOSS, check_every };
            let of = (&mut table, &mut factors);
            head.step(&engine, of, &mut sgd, &single(&x, d), batch.truth(), rate as f32).expect("finite");
            folded += u32::from(factors.u == identity(d));
        } else {
            let touched = labels_in(batch.truth());
            let rows = widened(&engine, table.gather(&engine, &touched).data());
            let lesson =
                Lesson::of(&engine, &factors, LOSS, engine.copied(&x), (&touched, &rows), batch.truth());
            factors.update(&engine, &lesson, f64::from(rate as f32));
            let moves = factors.gradient(&engine, &lesson);
            for (row, by) in table.rows_mut(&touched).into_iter().zip(moves.chunks(d)) {
                row.iter_mut().zip(by).for_each(|(to, by)| *to = (f64::from(*to) - rate * by) as f32);
            }
        }
        least = dot(&factors.u, &factors.u).min(least);
    }
    let largest = w.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let off = off(&weights(&engine, &table, &factors), &w) / largest;
    println!(
        "check {check_every}, folds {folds}: off by {off:.1e}, folded {folded} times, ‖U‖² down to {least:.1e}"
    );
    (off, folded)
}

#[test]
fn folding_keeps_the_weights_of_f32_near_to_plain_descent() {
    let (checked, folds) = drift(CHECK_EVERY, true);
    let (bounded, few) = drift(u32::MAX, true);
    let (never, _) = drift(u32::MAX, false);
    assert!(checked < 1e-5 && folds > 2, "{checked} after {folds} folds");
    assert!(bounded < 1e-4 && few > 0 && few < folds, "{bounded} after {few} folds by the bound alone");
    assert!(never > 10.0 * checked, "without folds: {never}, with them {checked}");
}

#[test]
fn a_step_that_brings_u_to_a_singular_one_is_exact_all_the_same() {
    // The only row contracts its own direction to nothing: 2ηγ‖x‖² = 1.
    let (engine, [labels, d]) = (Engine::new(1), [20, 4]);
    let (mut table, mut factors) = table(&engine, [labels, d]);
    let (x, batch) = (embeddings(1, d, 0), Batch::drawn(1, labels, 0));
    let rows = widened(&engine, table.gather(&engine, &labels_in(batch.truth())).data());
    let of = (&labels_in(batch.truth())[..], &*rows);
    let lesson = Lesson::of(&engine, &factors, LOSS, engine.copied(&x), of, batch.truth());
    let rate = 1.0 / (2.0 * lesson.gamma_q[0] * dot(&x, &x));
    let mut w = weights(&engine, &table, &factors);
    naive_step(&mut w, &x, [labels, d], batch.truth(), rate);
    let head = Factored { loss: LOSS, check_every: CHECK_EVERY };
    let of = (&mut table, &mut factors);
    head.step(&engine, of, &mut SgdRows::new(), &single(&x, d), batch.truth(), rate as f32).expect("finite");
    assert!(factors.u == identity(d), "V took U in");
    let largest = w.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    assert!(off(&weights(&engine, &table, &factors), &w) < 1e-5 * largest);
}

/// All that a step reads, writes and computes is the same for a thousand labels and for fifty thousand.
#[test]
fn the_work_of_a_step_does_not_depend_on_the_number_of_labels() {
    const NEVER: fn() -> Moment = || Moment { wall: 0.0, cpu: 0.0 };
    let (d, n) = (16, 12);
    let batch = Batch::drawn(n, 1000, 0);
    let touched = labels_in(batch.truth());
    let work = [1000, 50_000].map(|labels| {
        let engine = Engine::profiled(2, NEVER);
        let (mut table, mut factors) = table(&engine, [labels, d]);
        // Who reads another row has NaN from there on.
        let start = table.gather(&engine, &touched);
        table.data_mut().fill(f32::NAN);
        table.scatter(&engine, 0, &touched, &start);
        table.forget_changes();
        engine.trim();
        let before = engine.pool_stats().system_allocations;
        let head = Factored { loss: LOSS, check_every: CHECK_EVERY };
        let x = single(&embeddings(n, d, 0), d);
        let step = || {
            let of = (&mut table, &mut factors);
            head.step(&engine, of, &mut SgdRows::new(), &x, batch.truth(), 0.1)
        };
        engine.span("step", Way::Beside, step).expect("finite");
        assert!(factors.state().iter().all(|x| x.is_finite()), "another row was read");
        let flops = engine.profile().expect("one").rows().iter().map(|row| row.flops).sum::<u64>();
        (flops, table.bytes_changed(), engine.pool_stats().system_allocations - before)
    });
    assert_eq!(work[0], work[1], "flops, bytes written, buffers");
    assert!(work[0].0 > 0 && work[0].1 == 4 * d * touched.len(), "{work:?}");
}

#[test]
fn what_a_step_takes_is_what_a_plan_says() {
    for [labels, d, n] in [[5000, 48, 64], [300, 96, 16], [6000, 16, 200]] {
        let engine = Engine::new(2);
        let (mut table, mut factors) = table(&engine, [labels, d]);
        let (x, batch) = (single(&embeddings(n, d, 0), d), Batch::drawn(n, labels, 0));
        let head = Factored { loss: LOSS, check_every: 1 };
        for _ in 0..3 {
            let of = (&mut table, &mut factors);
            head.step(&engine, of, &mut SgdRows::new(), &x, batch.truth(), 0.5).expect("finite");
        }
        let stats = engine.pool_stats();
        let (held, planned) =
            (stats.bytes_in_use + stats.bytes_idle, Factors::step_bytes(labels, d, n, 3 * n));
        assert!(
            held <= planned && planned < 3 * held,
            "{labels} labels of {d}, {n} rows: {held}, planned {planned}"
        );
    }
}

#[test]
fn threads_and_a_copy_of_its_state_change_no_bit() {
    let ([labels, d], n) = ([700, 24], 40);
    let run = |threads: usize, copies: bool| {
        let engine = Engine::new(threads);
        let (mut table, mut factors) = table(&engine, [labels, d]);
        let (head, mut sgd) = (Factored { loss: LOSS, check_every: 20 }, SgdRows::new());
        let mut seeds = vec![];
        for step in 0..45 {
            let batch = Batch::drawn(n, labels, step);
            let x = single(&embeddings(n, d, step), d);
            let of = (&mut table, &mut factors);
            let (loss, dx) = head.step(&engine, of, &mut sgd, &x, batch.truth(), 2.0).expect("finite");
            seeds.push((loss.to_bits(), dx.to_f64()));
            if copies {
                factors = Factors::restored([labels, d], &factors.state()).expect("it fits");
            }
        }
        assert!(Factors::restored([labels, d + 1], &factors.state()).is_none());
        (seeds, table.data().to_vec(), factors)
    };
    let one = run(1, false);
    for (threads, copies) in [(2, true), (3, false), (7, false)] {
        assert!(run(threads, copies) == one, "{threads} threads");
    }
}

#[test]
fn a_number_that_is_not_finite_moves_nothing() {
    let (engine, [labels, d]) = (Engine::new(1), [50, 4]);
    let (mut table, mut factors) = table(&engine, [labels, d]);
    let batch = Batch::drawn(2, labels, 0);
    let (rows, before) = (table.data().to_vec(), factors.clone());
    let x = Tensor::from_vec([2, d], vec![f32::INFINITY; 2 * d]);
    let head = Factored { loss: LOSS, check_every: 1 };
    let got = head.step(&engine, (&mut table, &mut factors), &mut SgdRows::new(), &x, batch.truth(), 0.1);
    assert!(got.is_none() && table.data() == rows && factors == before);
}
