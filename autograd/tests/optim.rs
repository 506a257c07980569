//! Optimizers against ten steps of PyTorch's (`tests/golden/make_optim.py`), and their promises about rows, threads,
//! checkpoints and parameters that are left alone.

use autograd::{
    AdagradRows, AdamW, AdamWOptions, Grad, Lamb, LambOptions, LazyAdamW, Optimizer, ParamGrads, Params,
    RowGrad, Schedule, ScheduleKind, Sgd, SgdRows, TableOptimizer, clip,
};
use engine::{Engine, Home, Kind, Real, Stream, Table, TablePrecision, Tensor};
use safetensors::SafeTensors;

const STEPS: usize = 10;
const RATE: f64 = 1.0 / 64.0;
const EPS: f64 = 1.0 / 128.0;
const NAMES: [&str; 4] = ["first", "second", "bias", "table"];
/// Steps in which the bias has no gradient.
const ABSENT: [usize; 2] = [3, 4];

type State = Vec<(String, Tensor)>;

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Golden {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/optim.safetensors");
        Golden(std::fs::read(path).expect("the golden file is there"))
    }
    fn get<T: Real>(&self, name: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.0).expect("safetensors");
        let view = file.tensor(name).expect("the golden file has it");
        let (bytes, _) = view.data().as_chunks::<4>();
        let values = bytes.iter().map(|&b| T::of(f64::from(f32::from_le_bytes(b)))).collect();
        Tensor::from_vec(view.shape(), values)
    }
    /// Row `step` of the tensor.
    fn at<T: Real>(&self, name: &str, step: usize) -> Tensor {
        let all = self.get::<T>(name).rows(step..step + 1);
        let dims = all.shape().dims()[1..].to_vec();
        Tensor::from_vec(&dims[..], all.data::<T>().to_vec())
    }
    fn params<T: Real>(&self) -> Params {
        let mut params = Params::default();
        for name in NAMES {
            params.add(name, self.get::<T>(&format!("start.{name}")), name != "bias");
        }
        params
    }
    fn grads<T: Real>(&self, params: &Params, step: usize, rows: bool) -> ParamGrads {
        let present = params.ids().filter(|&id| params.name(id) != "bias" || !ABSENT.contains(&step));
        let grad = |id| {
            let grad = self.at::<T>(&format!("grad.{}", params.name(id)), step);
            let is_table = rows && params.name(id) == "table";
            if is_table { Grad::Rows(only_rows::<T>(&grad)) } else { Grad::Dense(grad) }
        };
        present.map(|id| (id, grad(id))).collect()
    }
}

/// The rows that are not zero.
fn only_rows<T: Real>(grad: &Tensor) -> RowGrad {
    let (width, data) = (grad.shape().last(), grad.data::<T>());
    let there = |row: &&[T]| row.iter().any(|&x| x != T::ZERO);
    let all: Vec<(usize, &[T])> = data.chunks(width).enumerate().filter(|(_, row)| there(row)).collect();
    let values = all.iter().flat_map(|(_, row)| row.iter().copied()).collect();
    RowGrad {
        rows: all.iter().map(|&(i, _)| i as u32).collect(),
        values: Tensor::from_vec([all.len(), width], values),
        table: grad.shape(),
    }
}

/// f32 is compared with the largest number of its tensor. f64 is exact, so that only the rounding of the file to f32
/// and of the rate to f32 remain.
#[track_caller]
fn near<T: Real>(what: &str, got: &[f64], want: &Tensor) {
    let want = want.to_f64();
    let scale = want.iter().fold(0.0f64, |s, w| s.max(w.abs()));
    let exact = size_of::<T>() == 8;
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let allowed = if exact { 1e-7 * (want.abs() + STEPS as f64 * RATE) } else { 1e-6 * scale };
        assert!((got - want).abs() <= allowed, "{what}[{i}]: {got} instead of {want}, allowed {allowed:.1e}");
    }
}

#[track_caller]
fn check<T: Real>(case: &str, mut optimizer: impl Optimizer, rows: bool, schedule: Option<Schedule>) {
    let (golden, engine) = (Golden::open(), Engine::new(2));
    let mut params = golden.params::<T>();
    for step in 0..STEPS {
        let mut grads = golden.grads::<T>(&params, step, rows);
        let mut rate = RATE;
        if let Some(schedule) = schedule {
            let norm = clip(&engine, &mut grads, 2.0);
            let want = golden.get::<f64>("schedule.norm").to_f64()[step];
            assert!((norm - want).abs() < 1e-6 * want, "norm {norm} instead of {want}");
            rate *= schedule.rate(step as u64);
        }
        optimizer.step(&engine, &mut params, &grads, rate as f32);
        for id in params.ids() {
            let name = params.name(id);
            let what = format!("{case}.{name} after step {step}");
            near::<T>(&what, &params.value(id).to_f64(), &golden.at::<T>(&format!("{case}.{name}"), step));
        }
    }
}

/// In both precisions, with dense and with row gradients.
#[track_caller]
fn check_all<O: Optimizer>(case: &str, make: impl Fn() -> O, schedule: Option<Schedule>) {
    for rows in [false, true] {
        check::<f32>(case, make(), rows, schedule);
        check::<f64>(case, make(), rows, schedule);
    }
}

fn adamw(betas: (f64, f64), eps: f64, decay_all: bool) -> AdamW {
    AdamW::new(AdamWOptions { betas, eps, weight_decay: 0.125, decay_all })
}

#[test]
fn adamw_follows_pytorch_with_decay_on_all() {
    check_all("decay_all", || adamw((0.9, 0.999), 1e-8, true), None);
}

#[test]
fn adamw_follows_pytorch_with_the_no_decay_list() {
    check_all("no_decay_list", || adamw((0.75, 0.875), EPS, false), None);
}

#[test]
fn lamb_follows_the_published_algorithm() {
    let lamb = |betas, eps, decay_all| Lamb::new(LambOptions { betas, eps, weight_decay: 0.125, decay_all });
    check_all("lamb", || lamb((0.75, 0.875), EPS, false), None);
    check_all("lamb_decay_all", || lamb((0.9, 0.999), 1e-6, true), None);
}

#[test]
fn sgd_with_momentum_follows_pytorch() {
    check_all("sgd", || Sgd::new(0.75), None);
}

#[test]
fn clipped_and_scheduled_adamw_follows_pytorch() {
    let schedule = Schedule { kind: ScheduleKind::Linear, warmup_steps: 3, total_steps: 10 };
    check_all("schedule", || adamw((0.9, 0.999), 1e-8, false), Some(schedule));
}

#[test]
fn schedules_follow_transformers() {
    let golden = Golden::open();
    for (name, kind) in [
        ("linear", ScheduleKind::Linear),
        ("cosine", ScheduleKind::Cosine),
        ("constant", ScheduleKind::Constant),
    ] {
        let schedule = Schedule { kind, warmup_steps: 3, total_steps: 10 };
        for (step, want) in golden.get::<f64>(&format!("rate.{name}")).to_f64().into_iter().enumerate() {
            let got = schedule.rate(step as u64);
            assert!((got - want).abs() <= 1e-7 * want, "{name} at {step}: {got} instead of {want}");
        }
    }
}

/// A parameter of several chunks, whose rows straddle them, and a short one.
fn large() -> Params {
    let stream = Stream::new(7, 0);
    let mut params = Params::default();
    for (name, dims) in [("table", [1200, 37]), ("short", [3, 5])] {
        let values = (0..dims[0] * dims[1]).map(|i| stream.uniform(i as u64) as f32 - 0.5).collect();
        params.add(name, Tensor::from_vec(dims, values), true);
    }
    params
}

/// Gradients for some rows of each parameter of [`large`]; none at all in step 2.
fn large_grads(params: &Params, step: u64, rows: bool) -> ParamGrads {
    let stream = Stream::new(8, 0).at_step(step);
    let grad = |id| {
        let shape = params.value(id).shape();
        let number = |i: usize| {
            let there = stream.with_tag(1).uniform((i / shape.last()) as u64) < 0.3 && step != 2;
            if there { stream.uniform(i as u64) as f32 - 0.5 } else { 0.0 }
        };
        let dense = Tensor::from_vec(shape, (0..shape.len()).map(number).collect::<Vec<f32>>());
        (id, if rows { Grad::Rows(only_rows::<f32>(&dense)) } else { Grad::Dense(dense) })
    };
    params.ids().map(grad).collect()
}

fn bits(params: &Params) -> Vec<u32> {
    params.ids().flat_map(|id| params.value(id).data::<f32>().iter().map(|x| x.to_bits())).collect()
}

fn optimizers() -> Vec<Box<dyn Optimizer>> {
    let adam = AdamW::new(AdamWOptions { weight_decay: 0.1, ..AdamWOptions::default() });
    vec![Box::new(adam), Box::new(Lamb::default()), Box::new(Sgd::new(0.9)), Box::new(Sgd::new(0.0))]
}

fn trained(optimizer: &mut dyn Optimizer, threads: usize, rows: bool) -> Vec<u32> {
    let (engine, mut params) = (Engine::new(threads), large());
    for step in 0..5 {
        let mut grads = large_grads(&params, step, rows);
        clip(&engine, &mut grads, 1.0);
        optimizer.step(&engine, &mut params, &grads, 0.01);
    }
    bits(&params)
}

#[test]
fn bits_depend_neither_on_threads_nor_on_the_form_of_the_gradient() {
    for i in 0..optimizers().len() {
        let want = trained(&mut *optimizers()[i], 1, false);
        assert_ne!(want, bits(&large()));
        for threads in [2, 3, 7] {
            assert_eq!(trained(&mut *optimizers()[i], threads, false), want, "optimizer {i}");
        }
        // Block sums of the norm are cut differently in rows, so the clipped bits may differ: compare unclipped.
        let unclipped = |rows| {
            let (engine, mut params, mut all) = (Engine::new(3), large(), optimizers());
            (0..5).for_each(|step| {
                let grads = large_grads(&params, step, rows);
                all[i].step(&engine, &mut params, &grads, 0.01);
            });
            bits(&params)
        };
        assert_eq!(unclipped(true), unclipped(false), "optimizer {i}");
        let rows = trained(&mut *optimizers()[i], 1, true);
        assert_eq!(trained(&mut *optimizers()[i], 7, true), rows, "optimizer {i}");
    }
}

#[test]
fn a_restored_optimizer_goes_on_with_the_same_bits() {
    let engine = Engine::new(2);
    let step = |optimizer: &mut dyn Optimizer, params: &mut Params, steps: std::ops::Range<u64>| {
        for step in steps {
            let grads: Vec<_> = large_grads(params, step, true).iter().map(|(i, g)| (i, g.clone())).collect();
            // The short parameter has its first gradient in step 2, so its count of steps lags behind.
            let present = grads.into_iter().filter(|(id, _)| step >= 2 || params.name(*id) == "table");
            let grads = present.collect();
            optimizer.step(&engine, params, &grads, 0.01);
        }
    };
    for (mut whole, (mut before, mut after)) in
        optimizers().into_iter().zip(optimizers().into_iter().zip(optimizers()))
    {
        for cut in [0, 1, 3] {
            let (mut params, mut resumed) = (large(), large());
            whole.restore(&params, fresh_state(&*whole, &params)).unwrap();
            step(&mut *whole, &mut params, 0..5);
            before.restore(&resumed, fresh_state(&*before, &resumed)).unwrap();
            step(&mut *before, &mut resumed, 0..cut);
            let state = before.state(&resumed);
            // `before` still holds these tensors: `after` must copy them and leave them as they are.
            after.restore(&resumed, state.clone()).unwrap();
            let kept: Vec<_> = state.iter().map(|(_, t)| t.to_f64()).collect();
            step(&mut *after, &mut resumed, cut..5);
            assert_eq!(bits(&resumed), bits(&params), "cut after {cut} steps");
            assert_eq!(state.iter().map(|(_, t)| t.to_f64()).collect::<Vec<_>>(), kept);
        }
    }
}

/// The state of an optimizer of this kind that has made no step.
fn fresh_state(like: &dyn Optimizer, params: &Params) -> State {
    let (name, _) = like.state(params).swap_remove(0);
    vec![(name, Tensor::from_vec([params.len()], vec![0u32; params.len()]))]
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let (engine, mut params) = (Engine::new(1), large());
    let mut optimizer = AdamW::default();
    let grads = large_grads(&params, 0, false);
    optimizer.step(&engine, &mut params, &grads, 0.01);
    let good = || optimizer.state(&params);
    let names: Vec<String> = good().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["adamw.steps", "adamw.m.table", "adamw.v.table", "adamw.m.short", "adamw.v.short"]);
    let with = |change: fn(&mut State)| {
        let mut state = good();
        change(&mut state);
        state
    };
    let cases = [
        (with(|s| drop(s.remove(2))), Kind::Damaged, "has no `adamw.v.table`"),
        (with(|s| drop(s.remove(0))), Kind::Damaged, "has no `adamw.steps`"),
        (with(|s| s.push(s[1].clone())), Kind::Damaged, "`adamw.m.table` twice"),
        (with(|s| s.push(("adamw.m.other".into(), s[1].1.clone()))), Kind::Input, "holds `adamw.m.other`"),
        (with(|s| s[3].1 = s[3].1.reshape([5, 3])), Kind::Input, "`adamw.m.short` of the optimizer state is"),
        (with(|s| s[3].1 = Tensor::from_vec([3, 5], vec![0u32; 15])), Kind::Input, "expected F32"),
        (with(|s| s[0].1 = Tensor::from_vec([3], vec![1u32; 3])), Kind::Input, "`adamw.steps`"),
    ];
    let error = Lamb::default().restore(&params, good()).unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "{error}");
    assert!(error.to_string().contains("it holds `adamw.steps`, not `lamb.steps`"), "{error}");
    let mut fresh = AdamW::default();
    for (state, kind, message) in cases {
        let error = fresh.restore(&params, state).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(fresh.state(&params).len(), 1, "a refused state leaves the optimizer as it was");
    }
    fresh.restore(&params, good()).unwrap();
    assert_eq!(fresh.bytes(&params), 2 * 4 * params.count());
}

#[test]
fn frozen_parameters_and_those_without_gradient_stay() {
    let engine = Engine::new(1);
    for mut optimizer in optimizers() {
        let mut params = large();
        let [table, short] = [params.find("table").unwrap(), params.find("short").unwrap()];
        let grads = large_grads(&params, 0, false);
        let before = bits(&params);
        params.set_trainable(table, false);
        let only_table = grads.iter().filter(|(id, _)| *id == table).map(|(i, g)| (i, g.clone())).collect();
        optimizer.step(&engine, &mut params, &only_table, 0.5);
        assert_eq!(bits(&params), before);
        optimizer.step(&engine, &mut params, &grads, 0.5);
        assert_eq!(bits(&params)[..1200 * 37], before[..1200 * 37]);
        assert_ne!(bits(&params)[1200 * 37..], before[1200 * 37..]);
        assert!(optimizer.bytes(&params) <= 2 * 4 * params.value(short).len());
    }
}

fn table_of(values: &Tensor) -> Table {
    let mut table = Table::zeros(values.shape().dim(0), values.shape().last());
    table.data_mut().copy_from_slice(values.data());
    table
}

#[test]
fn lazy_adamw_without_decay_follows_pytorchs_sparse_adam() {
    let (golden, engine) = (Golden::open(), Engine::new(2));
    let mut table = table_of(&golden.get::<f32>("start.table"));
    let mut optimizer = LazyAdamW::new(&table, &Home::Heap).unwrap().with((0.9, 0.999), EPS, 0.0);
    for step in 0..STEPS {
        let grad = only_rows::<f32>(&golden.at::<f32>("grad.table", step));
        optimizer.step(&engine, &mut table, &grad, RATE as f32);
        let now: Vec<f64> = table.data().iter().map(|&x| f64::from(x)).collect();
        near::<f32>(&format!("step {step}"), &now, &golden.at::<f32>("sparse_adam.table", step));
    }
}

#[test]
fn row_wise_adagrad_on_rows_of_one_number_follows_pytorchs_adagrad() {
    let (golden, engine) = (Golden::open(), Engine::new(2));
    let column = |x: &Tensor| {
        let (width, data) = (x.shape().last(), x.data::<f32>());
        Tensor::from_vec([x.shape().dim(0), 1], data.iter().step_by(width).copied().collect())
    };
    let mut table = table_of(&column(&golden.get::<f32>("start.table")));
    let mut optimizer = AdagradRows::new(&table, EPS as f32, &Home::Heap).unwrap();
    for step in 0..STEPS {
        let grad = only_rows::<f32>(&column(&golden.at::<f32>("grad.table", step)));
        optimizer.step(&engine, &mut table, &grad, RATE as f32);
        let now: Vec<f64> = table.data().iter().map(|&x| f64::from(x)).collect();
        near::<f32>(&format!("step {step}"), &now, &golden.at::<f32>("adagrad.table", step));
    }
}

fn table_optimizer(i: usize, table: &Table, home: &Home) -> Box<dyn TableOptimizer> {
    match i {
        0 => Box::new(LazyAdamW::new(table, home).expect("a table is made").with((0.9, 0.99), 1e-8, 0.5)),
        1 => Box::new(AdagradRows::new(table, 1e-10, home).expect("a table is made")),
        _ => Box::new(SgdRows::new()),
    }
}

/// Gradient of some rows of the table of [`large`].
fn table_grad(step: u64) -> RowGrad {
    let params = large();
    match large_grads(&params, step, true).get(params.find("table").expect("it is there")) {
        Some(Grad::Rows(rows)) => rows.clone(),
        _ => panic!("the gradient has rows"),
    }
}

fn state_of(optimizer: &dyn TableOptimizer) -> Vec<Vec<f32>> {
    optimizer.tables().iter().map(|(_, t)| t.data().to_vec()).collect()
}

#[test]
fn rows_that_do_not_occur_stay_with_their_state() {
    let (engine, params) = (Engine::new(2), large());
    for i in 0..3 {
        let mut table = table_of(params.value(params.find("table").unwrap()));
        let mut optimizer = table_optimizer(i, &table, &Home::Heap);
        optimizer.step(&engine, &mut table, &table_grad(0), 0.1);
        let (grad, before, state) = (table_grad(1), table.data().to_vec(), state_of(&*optimizer));
        optimizer.step(&engine, &mut table, &grad, 0.1);
        let absent = (0..1200u32).filter(|row| !grad.rows.contains(row)).map(|row| row as usize);
        for row in absent {
            assert_eq!(table.row(row), &before[row * 37..][..37]);
            for (now, before) in optimizer.tables().iter().zip(&state) {
                let width = now.1.width();
                assert_eq!(now.1.row(row), &before[row * width..][..width]);
            }
        }
        assert!(grad.rows.iter().all(|&row| table.row(row as usize) != &before[row as usize * 37..][..37]));
    }
}

#[test]
fn lazy_adamw_decays_the_rows_that_occur() {
    // g = 0 moves nothing by itself, so what remains is p ← p (1 − 0.25 · 0.5).
    let mut table = table_of(&Tensor::from_vec([3, 1], vec![8.0f32, 8.0, 8.0]));
    let mut optimizer = LazyAdamW::new(&table, &Home::Heap).unwrap().with((0.9, 0.999), 1e-8, 0.5);
    let values = Tensor::from_vec([1, 1], vec![0.0f32]);
    let grad = RowGrad { rows: vec![1], values, table: [3, 1].into() };
    optimizer.step(&Engine::new(1), &mut table, &grad, 0.25);
    assert_eq!(table.data(), [8.0, 7.0, 8.0]);
}

#[test]
fn mapped_tables_threads_and_a_restored_state_give_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    let mapped = Home::Files(directory.path().to_owned());
    let start = large();
    let start = start.value(start.find("table").unwrap());
    for i in 0..3 {
        let mut results = Vec::new();
        for (home, threads, cut) in [(Home::Heap, 1, 5), (mapped.clone(), 7, 5), (Home::Heap, 2, 3)] {
            let engine = Engine::new(threads);
            let mut table = Table::zeros_in(&home, TablePrecision::F32, 1200, 37).unwrap();
            table.data_mut().copy_from_slice(start.data());
            let mut optimizer = table_optimizer(i, &table, &home);
            (0..cut).for_each(|s| optimizer.step(&engine, &mut table, &table_grad(s), 0.1));
            let mut resumed = table_optimizer(i, &table, &home);
            resumed.set_steps(optimizer.steps());
            for ((to, target), (from, source)) in resumed.tables_mut().into_iter().zip(optimizer.tables()) {
                assert_eq!(to, from);
                target.data_mut().copy_from_slice(source.data());
            }
            (cut..5).for_each(|s| resumed.step(&engine, &mut table, &table_grad(s), 0.1));
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            results.push((bits(table.data()), state_of(&*resumed), resumed.bytes()));
        }
        assert!(results.iter().all(|r| *r == results[0]));
    }
}

#[test]
fn plain_descent_moves_by_the_rate_times_the_gradient() {
    let mut table = table_of(&Tensor::from_vec([3, 2], vec![1.0f32; 6]));
    let values = Tensor::from_vec([2, 2], vec![1.0f32, 2.0, -4.0, 8.0]);
    let grad = RowGrad { rows: vec![0, 2], values, table: [3, 2].into() };
    SgdRows::new().step(&Engine::new(1), &mut table, &grad, 0.25);
    assert_eq!(table.data(), [0.75, 0.5, 1.0, 1.0, 2.0, -1.0]);
}

/// A bf16 table follows the table of f32 as far as its grid allows, and every optimizer moves it.
#[test]
fn a_table_of_bf16_follows_the_one_of_f32() {
    let (engine, params) = (Engine::new(2), large());
    let start = params.value(params.find("table").unwrap());
    let all: Vec<u32> = (0..1200).collect();
    for i in 0..3 {
        let mut exact = table_of(start);
        let precision = TablePrecision::Bf16(Stream::new(3, 3));
        let mut rounded = Table::zeros_in(&Home::Heap, precision, 1200, 37).unwrap();
        rounded.scatter(&engine, 0, &all, start);
        let mut optimizers =
            [table_optimizer(i, &exact, &Home::Heap), table_optimizer(i, &rounded, &Home::Heap)];
        for step in 0..5 {
            optimizers[0].step(&engine, &mut exact, &table_grad(step), 0.1);
            optimizers[1].step(&engine, &mut rounded, &table_grad(step), 0.1);
        }
        let (exact, rounded) = (exact.data(), rounded.slice(&engine, 0..1200).to_f64());
        let off: Vec<f64> = exact.iter().zip(&rounded).map(|(e, r)| r - f64::from(*e)).collect();
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        // Numbers of up to 4 lie 1/64 apart; six roundings, each off by less than that.
        assert!(off.iter().all(|o| o.abs() < 6.0 / 64.0), "optimizer {i}");
        assert!(mean.abs() < 1e-4 && off.iter().any(|o| *o != 0.0), "optimizer {i}: {mean}");
    }
}
