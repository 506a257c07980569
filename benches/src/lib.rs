//! What the benches measure against: the peaks of this machine, taken in the same run.
#![forbid(unsafe_code)]

pub mod products;

use engine::Engine;
use std::hint::black_box;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Seconds of one call: the best of as many as fit in a third of a second.
pub fn seconds(mut call: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    while begun.elapsed() < Duration::from_millis(330) || best.is_infinite() {
        let since = Instant::now();
        call();
        best = best.min(since.elapsed().as_secs_f64());
    }
    best
}

/// Numbers between -0.5 and 0.5.
pub fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 1013) as f32 / 1013.0 - 0.5).collect()
}

/// An engine of one thread, and one of all.
pub fn engines() -> Vec<Engine> {
    let all = available_parallelism().map_or(1, |n| n.get());
    if all == 1 { vec![Engine::new(1)] } else { vec![Engine::new(1), Engine::new(all)] }
}

/// Independent sums: enough to hide the latency of two fused multiply-adds a cycle.
const SUMS: usize = 12;
/// Numbers in one sum: a 512-bit register of f32.
const LANES: usize = 16;
/// Rounds of one measurement, a few milliseconds long.
const ROUNDS: usize = 400_000;

/// The most f32 operations a second that fused multiply-adds on registers reach with all threads of `engine`, a
/// multiplication and an addition each. The best of several tries: other programs only make it smaller.
pub fn flops_peak(engine: &Engine) -> f64 {
    let flops = (2 * ROUNDS * SUMS * LANES * engine.threads()) as f64;
    let once = || {
        let since = Instant::now();
        black_box(engine.map(engine.threads(), |_| {
            engine.vectorised(
                #[inline(always)]
                || sums(black_box(0.999)),
            )
        }));
        flops / since.elapsed().as_secs_f64()
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}

/// Inlined into the caller, whose vector instructions it then has.
#[inline(always)]
fn sums(factor: f32) -> f32 {
    // One flat array: nested ones stay in memory.
    let mut sums = [factor; SUMS * LANES];
    for _ in 0..ROUNDS {
        for s in &mut sums {
            *s = s.mul_add(factor, factor);
        }
    }
    sums.iter().sum()
}

/// The most bytes a second that a copy moves with all threads of `engine`, read and written bytes counted.
pub fn bytes_peak(engine: &Engine) -> f64 {
    let from = vec![1.0f32; 32 << 20];
    let mut to = vec![0.0f32; from.len()];
    let size = from.len().div_ceil(engine.threads() * 16);
    let mut once = || {
        let since = Instant::now();
        engine.chunks(&mut to, size, |i, to| to.copy_from_slice(&from[i * size..][..to.len()]));
        (8 * from.len()) as f64 / since.elapsed().as_secs_f64()
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}
