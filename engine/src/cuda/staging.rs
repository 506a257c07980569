//! The ways of numbers to a device and back: page-locked memory, into which one side copies them and from which the
//! other does when it comes to it.
//!
//! ```text
//! values → a place in the ring → (later, in the order of the stream) → the device
//! the device → (later) → one of two pieces → values
//! ```
//! From memory that is not page-locked the driver may first wait for all that was launched: the CPU could not run ahead
//! of the device, and a step sends something before nearly every kernel. A place in the ring is used again only when an
//! event has come that was recorded behind the copies from it.

use super::driver::{Driver, Event, Locked};
use crate::error::Result;
use std::sync::{Mutex, PoisonError};

/// The ring is used by halves: one is filled while the stream reads the other.
const HALVES: usize = 2;
/// Bytes of a half. The lists of a step (ids, masks, places) are well below a megabyte, so that a half lasts for
/// several steps; what is larger comes in pieces of this size.
const HALF: usize = 4 << 20;
/// Bytes of a piece on the way back: one is filled while the CPU empties the other.
const PIECE: usize = 1 << 20;

/// Bytes of page-locked memory that a device takes of the CPU's.
pub const STAGING_BYTES: usize = HALVES * (HALF + PIECE);

struct Ring {
    memory: Locked,
    /// Of each half: comes when the stream has read it.
    read: [Event; HALVES],
    half: usize,
    /// How much of this half is taken.
    taken: usize,
}

struct Back {
    memory: Locked,
    /// Of each piece: comes when the stream has written it.
    written: [Event; HALVES],
}

pub(super) struct Staging {
    ring: Mutex<Ring>,
    back: Mutex<Back>,
}

impl Staging {
    pub(super) fn new(driver: &mut Driver) -> Result<Staging> {
        let (memory, read) = (driver.lock(HALVES * HALF)?, [driver.event()?, driver.event()?]);
        let ring = Ring { memory, read, half: 0, taken: 0 };
        let (memory, written) = (driver.lock(HALVES * PIECE)?, [driver.event()?, driver.event()?]);
        Ok(Staging { ring: Mutex::new(ring), back: Mutex::new(Back { memory, written }) })
    }
    /// Copies `values` to `at` on the device, before whatever is launched from now on. They may change at once.
    pub(super) fn send<T: Copy>(&self, driver: &Driver, mut at: u64, values: &[T]) {
        // Whoever panicked here asked a device that has failed: nothing is sent there any more.
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in values.chunks(HALF / size_of::<T>()) {
            let bytes = size_of_val(piece);
            let place = ring.place(driver, bytes);
            driver.upload(at, piece, &mut ring.memory, place);
            at += bytes as u64;
        }
    }
    /// Copies what lies at `at` on the device into `values`, behind all that was launched, for which it waits.
    pub(super) fn fetch<T: Copy>(&self, driver: &Driver, mut at: u64, values: &mut [T]) {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        let Back { memory, written } = &mut *back;
        // The piece before, which is still to be taken from there.
        let mut before: Option<(usize, &mut [T])> = None;
        let take = |memory: &Locked, (half, piece): (usize, &mut [T])| {
            driver.wait_for(written[half]);
            memory.take(half * PIECE, piece);
        };
        for (i, piece) in values.chunks_mut(PIECE / size_of::<T>()).enumerate() {
            let (half, bytes) = (i % HALVES, size_of_val(piece));
            driver.download(at, bytes, memory, half * PIECE);
            driver.record(written[half]);
            if let Some(before) = before.replace((half, piece)) {
                take(memory, before);
            }
            at += bytes as u64;
        }
        if let Some(last) = before {
            take(memory, last);
        }
    }
}

impl Ring {
    /// Where so many bytes may be written, a half at most.
    fn place(&mut self, driver: &Driver, bytes: usize) -> usize {
        if self.taken + bytes > HALF {
            driver.record(self.read[self.half]);
            self.half = (self.half + 1) % HALVES;
            self.taken = 0;
            // In the first round it was never recorded, and has come.
            driver.wait_for(self.read[self.half]);
        }
        self.taken += bytes;
        self.half * HALF + self.taken - bytes
    }
}
