//! Buffers by size class. A buffer returns to its pool when its last tensor drops, so that after a warm-up a
//! training step takes nothing from the system.
//!
//! Classes are four to an octave (64, 80, 96, 112, 128, 160 … bytes): at most a quarter of a buffer is idle. When the
//! class of a request has no idle buffer, the smallest idle one that is not much larger serves: ragged batches then
//! live on what the largest batch left behind. Where none serves, the next smaller idle one is given back for the new
//! one, so that a batch larger than all before it replaces their buffers and does not double them.

use crate::real::Element;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cache lines, and the width of an AVX-512 register.
const ALIGN: usize = 64;
/// How much larger than its request a recycled buffer may be.
const STRETCH: usize = 8;
/// The same for a large buffer while a pool still grows: one that is kept must not take the buffer of a temporary four
/// times as wide, whose next request would go to the system. In a settled pool that request has been there. A small
/// buffer takes one of its own class then: it is mostly kept (the moments of a norm), and what it holds shall not
/// depend on the scratch that the kernels of a processor leave idle.
const STRETCH_LARGE: usize = 3;
/// A buffer of more bytes is large.
const SMALL: usize = 32 << 10;

/// What a pool holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Bytes in buffers that are in use.
    pub bytes_in_use: usize,
    /// Bytes in buffers that wait to be used again.
    pub bytes_idle: usize,
    /// The most bytes that were ever in use at once.
    pub bytes_in_use_peak: usize,
    /// How often the system was asked for memory.
    pub system_allocations: u64,
}

#[derive(Default)]
struct State {
    idle: BTreeMap<usize, Vec<Block>>,
    settled: bool,
    stats: PoolStats,
}

struct Block(NonNull<u8>);
// SAFETY: a block is plain memory that exactly one owner holds; it moves between threads as a `Vec` would.
unsafe impl Send for Block {}

/// The pool of one engine.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Fill every buffer with NaN before it is handed out: an op that relies on old contents is found out.
    pub(crate) poison: bool,
}

/// The class of a request: its size rounded up to a quarter of an octave.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGN);
    let quarter = (bytes.next_power_of_two() / 8).max(16);
    bytes.div_ceil(quarter) * quarter
}

/// The bytes that a pool takes from the system for a buffer of so many: the size of its class. Plans of memory add
/// these up.
pub fn pooled_bytes(bytes: usize) -> usize {
    class(bytes)
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN).expect("a buffer is smaller than the address space")
}

impl Pool {
    pub(crate) fn new(poison: bool) -> Pool {
        Pool { state: Mutex::default(), poison }
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is a map and counters: whoever panicked while holding it left them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn take(&self, bytes: usize) -> (Block, usize) {
        let want = class(bytes);
        let mut state = self.lock();
        let stretch = match (state.settled, want <= SMALL) {
            (true, _) => STRETCH,
            (false, false) => STRETCH_LARGE,
            (false, true) => 1,
        };
        let found = state.idle.range_mut(want..=want * stretch).find_map(|(&size, b)| Some((b.pop()?, size)));
        let (block, size) = found.unwrap_or_else(|| {
            let outgrown = state.idle.range_mut(want / 2..want).rev();
            if let Some((size, block)) = outgrown.filter_map(|(&size, b)| Some((size, b.pop()?))).next() {
                state.stats.bytes_idle -= size;
                // SAFETY: as in `trim`.
                unsafe { dealloc(block.0.as_ptr(), layout(size)) }
            }
            state.stats.system_allocations += 1;
            state.stats.bytes_idle += want;
            let layout = layout(want);
            // SAFETY: the layout has a size of at least 64 bytes.
            let fresh = unsafe { alloc_zeroed(layout) };
            (Block(NonNull::new(fresh).unwrap_or_else(|| handle_alloc_error(layout))), want)
        });
        let stats = &mut state.stats;
        stats.bytes_idle -= size;
        stats.bytes_in_use += size;
        stats.bytes_in_use_peak = stats.bytes_in_use_peak.max(stats.bytes_in_use);
        (block, size)
    }
    fn give(&self, block: Block, size: usize) {
        let mut state = self.lock();
        state.stats.bytes_in_use -= size;
        state.stats.bytes_idle += size;
        state.idle.entry(size).or_default().push(block);
    }
    pub(crate) fn stats(&self) -> PoolStats {
        self.lock().stats
    }
    pub(crate) fn settle(&self) {
        self.lock().settled = true;
    }
    pub(crate) fn trim(&self) {
        let mut state = self.lock();
        state.stats.bytes_idle = 0;
        state.settled = false;
        for (size, blocks) in std::mem::take(&mut state.idle) {
            for block in blocks {
                // SAFETY: the block came from `alloc_zeroed` with this layout and nobody holds it.
                unsafe { dealloc(block.0.as_ptr(), layout(size)) }
            }
        }
    }
    pub(crate) fn buffer<T: Element>(self: &Arc<Pool>, len: usize) -> Buf<T> {
        let (block, size) = self.take(len * size_of::<T>());
        let mut buf = Buf(Home::Pooled { start: block.0.cast(), len, size, pool: self.clone() });
        if self.poison {
            crate::tensor::poison(&mut buf);
        }
        buf
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trim();
    }
}

/// A run of numbers on the CPU: from a pool, to which it returns, or a vector that somebody gave us.
pub struct Buf<T: Element>(Home<T>);

enum Home<T: Element> {
    Pooled { start: NonNull<T>, len: usize, size: usize, pool: Arc<Pool> },
    Vec(Vec<T>),
}

// SAFETY: a `Buf` owns its memory alone, as a `Vec` does, and `T` is a plain number.
unsafe impl<T: Element> Send for Buf<T> {}
// SAFETY: shared access only reads plain numbers.
unsafe impl<T: Element> Sync for Buf<T> {}

impl<T: Element> From<Vec<T>> for Buf<T> {
    fn from(values: Vec<T>) -> Buf<T> {
        Buf(Home::Vec(values))
    }
}

impl<T: Element> Deref for Buf<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &self.0 {
            // SAFETY: `take` gave at least `len` elements, 64-byte aligned and zeroed by the system or written
            // since; every bit pattern is a valid number.
            Home::Pooled { start, len, .. } => unsafe { std::slice::from_raw_parts(start.as_ptr(), *len) },
            Home::Vec(values) => values,
        }
    }
}

impl<T: Element> DerefMut for Buf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            // SAFETY: as in `deref`; `&mut self` proves that nobody else looks.
            Home::Pooled { start, len, .. } => unsafe {
                std::slice::from_raw_parts_mut(start.as_ptr(), *len)
            },
            Home::Vec(values) => values,
        }
    }
}

impl<T: Element> Drop for Buf<T> {
    fn drop(&mut self) {
        if let Home::Pooled { start, size, pool, .. } = &self.0 {
            pool.give(Block(start.cast()), *size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter() {
        for bytes in 1..5000 {
            let c = class(bytes);
            assert!(c >= bytes && c <= (bytes + bytes / 4).max(80), "{bytes} → {c}");
        }
    }

    #[test]
    fn a_dropped_buffer_serves_again() {
        let pool = Arc::new(Pool::default());
        drop(pool.buffer::<f32>(1000));
        let again = pool.buffer::<f32>(900);
        let s = pool.stats();
        assert_eq!((s.system_allocations, s.bytes_idle, again.len()), (1, 0, 900));
        drop(again);
        pool.trim();
        assert_eq!((pool.stats().bytes_idle, pool.stats().bytes_in_use), (0, 0));
    }

    #[test]
    fn a_much_larger_buffer_is_not_wasted_on_a_small_request() {
        let pool = Arc::new(Pool::default());
        drop(pool.buffer::<f32>(1_000_000));
        let _small = pool.buffer::<f32>(16);
        assert_eq!(pool.stats().system_allocations, 2);
    }

    #[test]
    fn a_request_that_outgrows_an_idle_buffer_replaces_it() {
        let pool = Arc::new(Pool::default());
        drop(pool.buffer::<f32>(1_000_000));
        drop(pool.buffer::<f32>(1_500_000));
        let stats = pool.stats();
        assert_eq!((stats.bytes_idle, stats.system_allocations), (class(6_000_000), 2));
    }

    #[test]
    fn a_large_request_does_not_take_a_buffer_four_times_as_large() {
        let pool = Arc::new(Pool::default());
        drop(pool.buffer::<f32>(4_000_000));
        let _kept = pool.buffer::<f32>(1_000_000);
        let _temporary = pool.buffer::<f32>(4_000_000);
        assert_eq!(pool.stats().bytes_in_use, class(4_000_000) + class(16_000_000));
    }

    #[test]
    fn a_small_request_takes_its_own_class_until_the_pool_is_settled() {
        let pool = Arc::new(Pool::default());
        drop(pool.buffer::<f32>(4000));
        let kept = pool.buffer::<f32>(1000);
        assert_eq!(pool.stats().bytes_in_use, class(4000));
        drop(kept);
        pool.settle();
        let (_first, _second) = (pool.buffer::<f32>(1000), pool.buffer::<f32>(1000));
        assert_eq!((pool.stats().system_allocations, pool.stats().bytes_idle), (2, 0));
    }

    #[test]
    fn poisoned_buffers_are_nan() {
        let pool = Arc::new(Pool::new(true));
        assert!(pool.buffer::<f32>(5).iter().all(|x| x.is_nan()));
    }
}
