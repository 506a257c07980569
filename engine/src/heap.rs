//! Global allocators. [`Noting`] knows whether the system has refused memory; the program has it, for
//! [`crate::fault::end_on_refused_memory`]. [`Counting`] is for tests which claim that something takes no memory, or
//! only so much:
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
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The allocator of the system, which notes that a block was refused.
#[derive(Debug, Default)]
pub struct Noting {
    refused: AtomicBool,
}

impl Noting {
    /// Nothing was refused yet.
    pub const fn new() -> Noting {
        Noting { refused: AtomicBool::new(false) }
    }
    /// Whether the system has refused a block.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }
    fn noted(&self, block: *mut u8) -> *mut u8 {
        if block.is_null() {
            self.refused.store(true, Relaxed);
        }
        block
    }
}

// SAFETY: every call goes to `System` as it came, and its answer comes back as it is; noting neither allocates nor
// panics.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        self.noted(unsafe { System.alloc(layout) })
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        self.noted(unsafe { System.alloc_zeroed(layout) })
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from `System`, since every block does, and the caller keeps the rest of the contract.
        self.noted(unsafe { System.realloc(block, layout, size) })
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System`, since every block does, with this layout, as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

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
