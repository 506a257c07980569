//! Products in int8 and bf16 beside f32: `cargo bench -p benches --bench quantised`.
//!
//! The peak of a kind is that of f32, measured in the same run, times the numbers that one lane multiplies at once:
//! four bytes or two bf16. A processor may do less (bf16 runs at half the f32 rate on some) but none does more.

use benches::flops_peak;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::quantised::linear;
use engine::{Engine, Mat, Precision, Tensor, Weight, gemm};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows, outputs and inputs of the layers of a 384-wide encoder over 4096 tokens, and of a search among 8160 items.
const PRODUCTS: [(&str, usize, usize, usize); 4] = [
    ("projection", 4096, 384, 384),
    ("up", 4096, 1536, 384),
    ("down", 4096, 384, 1536),
    ("search", 512, 8160, 384),
];

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 1013) as f32 / 1013.0 - 0.5).collect()
}

/// Seconds of one call: the best of as many as fit in half a second.
fn seconds(mut call: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    while begun.elapsed() < Duration::from_millis(500) || best.is_infinite() {
        let since = Instant::now();
        call();
        best = best.min(since.elapsed().as_secs_f64());
    }
    best
}

fn products(c: &mut Criterion) {
    let engine = Engine::new(1);
    let peak = flops_peak(&engine);
    println!("{engine:?}: fused multiply-adds reach {:.1} GFLOP/s", peak / 1e9);
    let mut group = c.benchmark_group("quantised");
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    for (name, m, n, k) in PRODUCTS {
        let (x, w) = (numbers(m * k), numbers(n * k));
        let flops = (2 * m * n * k) as f64;
        let show = |kind: &str, rate: f64, most: f64| {
            println!(
                "{name} {m}x{n}x{k} {kind}: {:.0} GOP/s, {:.0} % of the peak",
                rate / 1e9,
                100.0 * rate / most
            );
        };
        let mut y = vec![0.0f32; m * n];
        let took = seconds(|| gemm(&engine, 1.0, Mat::new(&x, m, k), Mat::new(&w, n, k).t(), 0.0, &mut y));
        show("f32", flops / took, peak);
        let rows = Tensor::from_vec([m, k], x.clone());
        group.throughput(Throughput::Elements(flops as u64));
        for (precision, lanes) in [(Precision::Int8, 4.0), (Precision::Bf16, 2.0)] {
            let weight = Weight::new(&engine, precision, &w, k);
            let whole = seconds(|| drop(black_box(linear(&engine, &rows, &weight, None))));
            show(precision.name(), flops / whole, lanes * peak);
            let took = seconds(|| drop(black_box(weight.round(&engine, &x))));
            println!(
                "  of which rounding x: {:.0} %, {:.1} GB/s",
                100.0 * took / whole,
                (4 * m * k) as f64 / took / 1e9
            );
            group.bench_function(BenchmarkId::new(name, precision.name()), |bench| {
                bench.iter(|| linear(&engine, black_box(&rows), &weight, None));
            });
        }
    }
    group.finish();
}

criterion_group!(quantised, products);
criterion_main!(quantised);
