//! The kernels that training spends its time in: `cargo bench -p benches`.
//!
//! Each result is printed beside the peak of the machine, measured in the same run: matrix products against fused
//! multiply-adds on registers, streams of numbers against a copy.

use benches::{bytes_peak, flops_peak};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::kernels::map::{Map2, map2};
use engine::kernels::softmax::softmax;
use engine::{Engine, Mat, Real, Tensor, gemm};
use std::hint::black_box;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Seconds of one call: the best of as many as fit in a third of a second.
fn seconds(mut call: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    while begun.elapsed() < Duration::from_millis(330) || best.is_infinite() {
        let since = Instant::now();
        call();
        best = best.min(since.elapsed().as_secs_f64());
    }
    best
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 1013) as f32 / 1013.0 - 0.5).collect()
}

fn engines() -> Vec<Engine> {
    let all = available_parallelism().map_or(1, |n| n.get());
    if all == 1 { vec![Engine::new(1)] } else { vec![Engine::new(1), Engine::new(all)] }
}

/// m, n, k of the products of a 384-wide layer over 4096 tokens, and of the scores of a batch.
const PRODUCTS: [(&str, usize, usize, usize); 6] = [
    ("projection, x·wᵀ", 4096, 384, 384),
    ("up, x·wᵀ", 4096, 1536, 384),
    ("down, x·wᵀ", 4096, 384, 1536),
    ("weight gradient, gᵀ·x", 384, 384, 4096),
    ("weight gradient of up, gᵀ·x", 1536, 384, 4096),
    ("scores, q·lᵀ", 256, 256, 384),
];

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    for engine in engines() {
        let peak = flops_peak(&engine);
        println!("\n{engine:?}: fused multiply-adds reach {:.1} GFLOP/s", peak / 1e9);
        for (name, m, n, k) in PRODUCTS {
            let (a, b, mut out) = (numbers(m * k), numbers(n * k), vec![0.0f32; m * n]);
            let gradient = name.contains("gradient");
            let (a, b) = match gradient {
                true => (Mat::new(&a, k, m).t(), Mat::new(&b, k, n)),
                false => (Mat::new(&a, m, k), Mat::new(&b, n, k).t()),
            };
            let flops = (2 * m * n * k) as f64;
            let rate = flops / seconds(|| gemm(&engine, 1.0, a, b, 0.0, &mut out));
            println!(
                "gemm {name} {m}x{n}x{k}: {:.1} GFLOP/s, {:.0} % of the peak",
                rate / 1e9,
                100.0 * rate / peak
            );
            group.throughput(Throughput::Elements(flops as u64));
            let id = BenchmarkId::new(name, format!("{m}x{n}x{k}, {} threads", engine.threads()));
            group.bench_function(id, |bench| {
                bench.iter(|| gemm(&engine, 1.0, a, b, 0.0, black_box(&mut out)))
            });
        }
    }
    group.finish();
}

struct Plus;
impl Map2 for Plus {
    fn at<T: Real>(&self, a: T, b: T) -> T {
        a + b
    }
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("streams");
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    for engine in engines() {
        let peak = bytes_peak(&engine);
        println!("\n{engine:?}: a copy moves {:.1} GB/s", peak / 1e9);
        let [a, b] = [0, 1].map(|_| Tensor::from_vec([32 << 10, 1 << 10], numbers(32 << 20)));
        let mut show = |name: &str, bytes: usize, call: &mut dyn FnMut()| {
            let rate = bytes as f64 / seconds(&mut *call);
            println!("{name}: {:.1} GB/s, {:.0} % of the peak", rate / 1e9, 100.0 * rate / peak);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new(name, engine.threads()), |bench| bench.iter(&mut *call));
        };
        show("a + b", 12 * a.len(), &mut || drop(black_box(map2(&engine, &a, &b, Plus))));
        show("softmax of rows", 8 * a.len(), &mut || drop(black_box(softmax(&engine, &a))));
    }
    group.finish();
}

criterion_group!(kernels, products, streams);
criterion_main!(kernels);
