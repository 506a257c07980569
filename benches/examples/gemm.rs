//! Times the matrix products of training for `benches/peers/gemm.py`: the number of threads as the argument, a line
//! `kind m k n seconds` for each product. One thread is timed by the processor, more by the wall.

use benches::products::{Product, shapes};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let engine = engine::Engine::new(threads);
    let clock = if threads == 1 { ClockId::ProcessCPUTime } else { ClockId::Monotonic };
    let now = || {
        let t = clock_gettime(clock);
        t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
    };
    println!("peak {}", benches::flops_peak(&engine));
    for shape in shapes() {
        let mut product = Product::new(shape);
        let calls = (3e8 / product.flops()).ceil() as usize;
        let mut times: Vec<f64> = (0..6)
            .map(|_| {
                let since = now();
                (0..calls).for_each(|_| product.run(&engine));
                (now() - since) / calls as f64
            })
            .skip(1)
            .collect();
        times.sort_by(f64::total_cmp);
        let (kind, [m, k, n]) = shape;
        println!("{kind:?} {m} {k} {n} {}", times[times.len() / 2]);
    }
}
