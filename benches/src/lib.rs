//! What the benches measure against: the peaks of this machine, taken in the same run, by the clock of this process.
#![forbid(unsafe_code)]

pub mod products;

use engine::profile::Moment;
use engine::{Engine, peak};
use std::sync::LazyLock;
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

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn clock() -> Moment {
    Moment { wall: START.elapsed().as_secs_f64(), cpu: 0.0 }
}

/// The most f32 operations a second with all threads of `engine`.
pub fn flops_peak(engine: &Engine) -> f64 {
    peak::flops_peak(engine, clock)
}

/// The most bytes a second with all threads of `engine`.
pub fn bytes_peak(engine: &Engine) -> f64 {
    peak::bytes_peak(engine, clock)
}
