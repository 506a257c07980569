//! What the benches measure against: the peaks of this machine, taken in the same run, by the clock of this process.
#![forbid(unsafe_code)]

use engine::profile::Moment;
use engine::{Engine, peak};
use std::sync::LazyLock;
use std::time::Instant;

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
