//! The way of numbers to a device: a ring of page-locked memory, into which the CPU copies them and from which the
//! stream does when it comes to it.
//!
//! ```text
//! values → a place in the ring → (later, in the order of the stream) → the device
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

/// Bytes of page-locked memory that a device takes of the CPU's.
pub const STAGING_BYTES: usize = HALVES * HALF;

struct Ring {
    memory: Locked,
    /// Of each half: comes when the stream has read it.
    read: [Event; HALVES],
    half: usize,
    /// How much of this half is taken.
    taken: usize,
}

pub(super) struct Staging(Mutex<Ring>);

impl Staging {
    pub(super) fn new(driver: &mut Driver) -> Result<Staging> {
        let (memory, read) = (driver.lock(STAGING_BYTES)?, [driver.event()?, driver.event()?]);
        Ok(Staging(Mutex::new(Ring { memory, read, half: 0, taken: 0 })))
    }
    /// Copies `values` to `at` on the device, before whatever is launched from now on. They may change at once.
    pub(super) fn send<T: Copy>(&self, driver: &Driver, mut at: u64, values: &[T]) {
        // Whoever panicked here asked a device that has failed: nothing is sent there any more.
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in values.chunks(HALF / size_of::<T>()) {
            let bytes = size_of_val(piece);
            let place = ring.place(driver, bytes);
            driver.upload(at, piece, &mut ring.memory, place);
            at += bytes as u64;
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
