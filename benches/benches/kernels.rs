//! The kernels that training spends its time in, besides products (`gemm.rs`).
//!
//! Each is printed beside the peak of the machine, measured in the same run: bytes that it must move against a copy,
//! or, for attention, flops against multiply-adds. Sizes are those of a batch of 256 + 256 titles: 4,864 tokens in
//! texts of 9 or 10, 384 channels, 12 heads. Run by `cargo bench -p benches --bench kernels`.

use benches::{bytes_peak, engines, flops_peak, numbers, seconds};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::kernels::adamw::{AdamStep, adamw};
use engine::kernels::attention::{self, Layout, attention};
use engine::kernels::dropout::Dropout;
use engine::kernels::given::Given;
use engine::kernels::map::{Map2, map2};
use engine::kernels::pool::{Pool, pool};
use engine::kernels::residual_norm::{self, residual_norm};
use engine::kernels::softmax::softmax;
use engine::{Engine, Places, Real, Tensor};
use std::hint::black_box;
use std::time::Duration;

const TEXTS: usize = 512;
const TOKENS: usize = TEXTS * 19 / 2;
const WIDTH: usize = 384;
const HEADS: usize = 12;

struct Plus;
impl Map2 for Plus {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a + b
    }
}

fn matrix(rows: usize, width: usize) -> Tensor {
    Tensor::from_vec([rows, width], numbers(rows * width))
}

/// Where the texts begin.
fn starts() -> Vec<u32> {
    (0..=TEXTS as u32).map(|text| text * 19 / 2).collect()
}

/// Prints and records a kernel that moves so many bytes or does so many flops.
struct Show<'a, 'b> {
    group: &'a mut criterion::BenchmarkGroup<'b, criterion::measurement::WallTime>,
    threads: usize,
    bytes_peak: f64,
    flops_peak: f64,
}

impl Show<'_, '_> {
    fn bytes<R>(&mut self, name: &str, bytes: usize, call: impl FnMut() -> R) {
        self.run(name, "GB/s", (bytes, self.bytes_peak), call);
    }
    fn flops<R>(&mut self, name: &str, flops: usize, call: impl FnMut() -> R) {
        self.run(name, "GFLOP/s", (flops, self.flops_peak), call);
    }
    fn run<R>(&mut self, name: &str, unit: &str, (work, peak): (usize, f64), mut call: impl FnMut() -> R) {
        let rate = work as f64 / seconds(|| drop(black_box(call())));
        println!("{name}: {:.1} {unit}, {:.0} % of the peak", rate / 1e9, 100.0 * rate / peak);
        self.group.throughput(Throughput::Bytes(work as u64));
        let id = BenchmarkId::new(name, self.threads);
        self.group.bench_function(id, |bench| bench.iter(|| drop(black_box(call()))));
    }
}

fn streams(engine: &Engine, show: &mut Show<'_, '_>) {
    let [a, b] = [0, 1].map(|_| matrix(32 << 10, 1 << 10));
    show.bytes("a + b", 12 * a.len(), || map2(engine, &a, &b, Plus));
    show.bytes("softmax of rows", 8 * a.len(), || softmax(engine, &a));
    let mut all = [0, 1, 2].map(|_| matrix(16 << 10, 1 << 10));
    let (grad, step) = (matrix(16 << 10, 1 << 10), AdamStep::new((0.9, 0.999), 1e-8, 0.01, 1e-4, 10));
    show.bytes("AdamW", 28 * grad.len(), || {
        let [value, m, v] = &mut all;
        adamw(engine, value, (m, v), Given::All(&grad), &step);
    });
}

fn rows(engine: &Engine, show: &mut Show<'_, '_>) {
    let [x, r, g] = [0, 1, 2].map(|_| matrix(TOKENS, WIDTH));
    let [w, b] = [0, 1].map(|_| Tensor::from_vec([WIDTH], numbers(WIDTH)));
    let starts = starts();
    let dropout = Dropout { rate: 0.1, key: [1, 2], places: Places::new(&starts, 0).into() };
    let row = 4 * x.len();
    show.bytes("residual_norm, dropout 0.1", 4 * row, || {
        residual_norm(engine, [&x, &r, &w, &b], Some(&dropout), 1e-12)
    });
    let [_, s, moments] = residual_norm(engine, [&x, &r, &w, &b], Some(&dropout), 1e-12);
    show.bytes("residual_norm, backward", 4 * row, || {
        residual_norm::gradients(engine, [&s, &moments, &w, &g], Some(&dropout))
    });
    show.bytes("mean pooling", row, || pool(engine, &x, &starts, Pool::Mean));
}

fn heads(engine: &Engine, show: &mut Show<'_, '_>) {
    let [q, k, v, g] = [0, 1, 2, 3].map(|_| matrix(TOKENS, WIDTH));
    let starts = starts();
    let layout = Layout { starts: &starts, heads: HEADS, dropout: None, bias: None };
    let pairs: usize = starts.windows(2).map(|w| ((w[1] - w[0]) as usize).pow(2)).sum();
    show.flops("attention", 4 * pairs * WIDTH, || attention(engine, [&q, &k, &v], layout));
    show.flops("attention, backward", 10 * pairs * WIDTH, || {
        attention::gradients(engine, [&q, &k, &v], &g, layout, false)
    });
}

fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernels");
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    for engine in engines() {
        let (bytes_peak, flops_peak) = (bytes_peak(&engine), flops_peak(&engine));
        let peaks = format!("a copy moves {:.1} GB/s, {:.0} GFLOP/s", bytes_peak / 1e9, flops_peak / 1e9);
        println!("\n{engine:?}: {peaks}");
        let mut show = Show { group: &mut group, threads: engine.threads(), bytes_peak, flops_peak };
        streams(&engine, &mut show);
        rows(&engine, &mut show);
        heads(&engine, &mut show);
    }
    group.finish();
}

criterion_group!(kernels, all);
criterion_main!(kernels);
