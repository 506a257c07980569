//! The peaks of a machine, to hold a measurement against: taken in the same run, since machines are shared.
//! Nothing here reads a clock: the caller brings one.

use crate::engine::Engine;
use crate::profile::Clock;
use std::hint::black_box;

/// Independent sums: enough to hide the latency of two fused multiply-adds a cycle.
const SUMS: usize = 12;
/// Numbers in one sum: a 512-bit register of f32.
const LANES: usize = 16;
/// Rounds of one measurement, a few milliseconds long.
const ROUNDS: usize = 400_000;

/// The most f32 operations a second that fused multiply-adds on registers reach with all threads of `engine`, a
/// multiplication and an addition each. The best of many tries, a quarter of a second in all: other programs only make
/// it smaller, and a scheduler may need some of that time to give every thread a processor of its own.
pub fn flops_peak(engine: &Engine, clock: Clock) -> f64 {
    let flops = (2 * ROUNDS * SUMS * LANES * engine.threads()) as f64;
    let once = || {
        let since = clock().wall;
        black_box(engine.map(engine.threads(), |_| {
            engine.vectorised(
                #[inline(always)]
                || sums(black_box(0.999)),
            )
        }));
        flops / (clock().wall - since)
    };
    (0..100).map(|_| once()).fold(0.0, f64::max)
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
pub fn bytes_peak(engine: &Engine, clock: Clock) -> f64 {
    let from = vec![1.0f32; 32 << 20];
    let mut to = vec![0.0f32; from.len()];
    let size = from.len().div_ceil(engine.threads() * 16);
    let mut once = || {
        let since = clock().wall;
        engine.chunks(&mut to, size, |i, to| to.copy_from_slice(&from[i * size..][..to.len()]));
        (8 * from.len()) as f64 / (clock().wall - since)
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}
