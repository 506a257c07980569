//! Memory of a device by size classes, as the pool of the CPU has them (`pool.rs` of the engine): a buffer returns when
//! its last tensor drops. There is one stream, so whoever takes it next runs after whoever wrote it last.

use super::attempt::give_up;
use super::driver::Driver;
use crate::error::{Error, Kind};
use crate::pool::{PoolStats, pooled_bytes};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much larger than its request a recycled buffer may be.
const STRETCH: usize = 4;

#[derive(Default)]
struct State {
    idle: BTreeMap<usize, Vec<u64>>,
    stats: PoolStats,
}

#[derive(Default)]
pub(super) struct DevicePool {
    state: Mutex<State>,
}

impl DevicePool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is a map and counters: whoever panicked while holding it left them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Memory for so many bytes, or somewhat more: where it is, and the size to give back.
    ///
    /// Where the device has no more it unwinds to [`super::attempt()`].
    #[track_caller]
    pub(super) fn take(&self, driver: &Driver, bytes: usize) -> (u64, usize) {
        self.take_exactly(driver, pooled_bytes(bytes))
    }
    /// As [`DevicePool::take`], not rounded up to a size class where nothing idle serves: for what stays.
    #[track_caller]
    pub(super) fn take_exactly(&self, driver: &Driver, want: usize) -> (u64, usize) {
        let mut state = self.lock();
        let found = state.idle.range_mut(want..=want * STRETCH).find_map(|(&size, b)| Some((b.pop()?, size)));
        let (at, size) = found.unwrap_or_else(|| {
            let mut fresh = driver.alloc(want);
            if fresh.is_none() {
                // What lies idle in other sizes may be what is missing.
                Self::release(&mut state, driver);
                fresh = driver.alloc(want);
            }
            let Some(at) = fresh else {
                give_up(exhausted(want, state.stats.bytes_in_use, driver.memory_free().unwrap_or(0)));
            };
            state.stats.system_allocations += 1;
            state.stats.bytes_idle += want;
            (at, want)
        });
        let stats = &mut state.stats;
        stats.bytes_idle -= size;
        stats.bytes_in_use += size;
        stats.bytes_in_use_peak = stats.bytes_in_use_peak.max(stats.bytes_in_use);
        (at, size)
    }
    pub(super) fn give(&self, at: u64, size: usize) {
        let mut state = self.lock();
        state.stats.bytes_in_use -= size;
        state.stats.bytes_idle += size;
        state.idle.entry(size).or_default().push(at);
    }
    pub(super) fn stats(&self) -> PoolStats {
        self.lock().stats
    }
    pub(super) fn trim(&self, driver: &Driver) {
        Self::release(&mut self.lock(), driver);
    }
    fn release(state: &mut State, driver: &Driver) {
        state.stats.bytes_idle = 0;
        for at in std::mem::take(&mut state.idle).into_values().flatten() {
            driver.free(at);
        }
    }
}

fn exhausted(want: usize, used: usize, free: usize) -> Error {
    let mb = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let what = format!(
        "the device has no memory left: {:.1} MiB more were wanted, {:.1} MiB are in use by this run, \
         {:.1} MiB are free",
        mb(want),
        mb(used),
        mb(free)
    );
    Error::new(Kind::Refused, what)
        .help(
            "in training --chunk and --recompute need less, and so does --set head.memory=cpu with a classifier; other \
             programs on the device may need much",
        )
}
