//! Memory of a device by size classes, as the pool of the CPU has them (`pool.rs` of the engine): a buffer returns when
//! its last tensor drops. There is one stream, so whoever takes it next runs after whoever wrote it last.

use super::driver::Driver;
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
    /// Memory for so many bytes: where it is, and the size to give back.
    ///
    /// # Panics
    /// If the device has no more.
    #[track_caller]
    pub(super) fn take(&self, driver: &Driver, bytes: usize) -> (u64, usize) {
        let want = pooled_bytes(bytes);
        let mut state = self.lock();
        let found = state.idle.range_mut(want..=want * STRETCH).find_map(|(&size, b)| Some((b.pop()?, size)));
        let (at, size) = found.unwrap_or_else(|| {
            let mut fresh = driver.alloc(want);
            if fresh.is_none() {
                // What lies idle in other sizes may be what is missing.
                Self::release(&mut state, driver);
                fresh = driver.alloc(want);
            }
            let free = driver.memory_free().unwrap_or(0);
            let used = state.stats.bytes_in_use;
            let Some(at) = fresh else {
                panic!("the device has no {want} bytes: {used} are in use by this program, {free} free");
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
