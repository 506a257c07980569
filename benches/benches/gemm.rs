//! The matrix products of training, each beside the peak of fused multiply-adds on registers measured in the same run:
//! `cargo bench -p benches --bench gemm`. Beside other libraries: `benches/peers/gemm.py`.

use benches::products::{Kind, Product, shapes};
use benches::{engines, flops_peak, seconds};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for engine in engines() {
        let peak = flops_peak(&engine);
        println!("\n{engine:?}: fused multiply-adds reach {:.1} GFLOP/s", peak / 1e9);
        let mut shares = Vec::new();
        for shape in shapes() {
            let mut product = Product::new(shape);
            let (kind, [m, k, n]) = shape;
            let rate = product.flops() / seconds(|| product.run(&engine));
            let percent = 100.0 * rate / peak;
            println!("{kind:?} {m}x{k}x{n}: {:.1} GFLOP/s, {percent:.0} % of the peak", rate / 1e9);
            shares.push((kind, rate / peak));
            group.throughput(Throughput::Elements(product.flops() as u64));
            let id =
                BenchmarkId::new(format!("{kind:?}"), format!("{m}x{k}x{n}, {} threads", engine.threads()));
            group.bench_function(id, |bench| bench.iter(|| product.run(&engine)));
        }
        for kind in [Kind::NN, Kind::NT, Kind::TN] {
            let logs: Vec<f64> = shares.iter().filter(|s| s.0 == kind).map(|s| s.1.ln()).collect();
            let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
            println!("{kind:?}: {:.0} % of the peak, geometric mean", 100.0 * mean);
        }
    }
    group.finish();
}

criterion_group!(gemm, products);
criterion_main!(gemm);
