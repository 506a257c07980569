//! The kernels that training spends its time in: `cargo bench -p benches`.
//!
//! Each result is printed beside the peak of the machine, measured in the same run: streams of numbers against a copy.
//! Matrix products are in `gemm.rs`.

use benches::{bytes_peak, engines, numbers, seconds};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::kernels::map::{Map2, map2};
use engine::kernels::softmax::softmax;
use engine::{Real, Tensor};
use std::hint::black_box;
use std::time::Duration;

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

criterion_group!(kernels, streams);
criterion_main!(kernels);
