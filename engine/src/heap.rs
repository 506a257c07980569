//! A global allocator that counts, for tests which claim that something takes no memory, or only so much:
//!
//! ```
//! #[global_allocator]
//! static HEAP: engine::heap::Counting = engine::heap::Counting::new();
//!
//! let before = HEAP.allocations();
//! drop(vec![1u8; 100]);
//! assert_eq!(HEAP.allocations() - before, 1);
//! ```
//! The counters belong to the whole process: other threads of the test binary count as well.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The allocator of the system, with counters.
#[derive(Debug, Default)]
pub struct Counting {
    allocations: AtomicU64,
    bytes: AtomicU64,
    in_use: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    /// Counters at zero.
    pub const fn new() -> Counting {
        Counting {
            allocations: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            in_use: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }
    /// How often memory was asked for; a block that grows or shrinks counts again.
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Relaxed)
    }
    /// All bytes that were ever asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
    /// Bytes that are held now.
    pub fn bytes_in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }
    /// The most bytes that were held at once, since the start or [`Counting::forget_peak`].
    pub fn bytes_in_use_peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
    /// Counts the peak anew from what is held now.
    pub fn forget_peak(&self) {
        self.peak.store(self.bytes_in_use(), Relaxed);
    }
    /// A block of `bytes` came. A null pointer is a refusal: nothing came.
    fn came(&self, block: *mut u8, bytes: usize) -> *mut u8 {
        if !block.is_null() {
            self.allocations.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes as u64, Relaxed);
            let held = self.in_use.fetch_add(bytes, Relaxed) + bytes;
            self.peak.fetch_max(held, Relaxed);
        }
        block
    }
    fn went(&self, bytes: usize) {
        self.in_use.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call goes to `System` as it came, and its answer comes back as it is; counting neither allocates nor
// panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        self.came(unsafe { System.alloc(layout) }, layout.size())
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        self.came(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from `System`, since every block does, and the caller keeps the rest of the contract.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            self.went(layout.size());
        }
        self.came(moved, size)
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.went(layout.size());
        // SAFETY: the block came from `System`, since every block does, with this layout, as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}
