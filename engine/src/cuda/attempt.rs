//! What a device cannot do: it has no memory left, or it failed. Operations give tensors and no results, so that a
//! layer reads as mathematics; what the world can do to them goes past all of them, to [`attempt`].

use crate::error::{Error, Kind};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    /// How many attempts this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// What unwinds, and why.
struct GivenUp(Error);

/// Gives the work up: past all of it, to [`attempt`].
///
/// # Panics
/// With the error's words, where nobody attempts anything.
#[track_caller]
pub(super) fn give_up(error: Error) -> ! {
    assert!(DEPTH.get() > 0, "{error}");
    resume_unwind(Box::new(GivenUp(error)))
}

/// Does what may ask a device: where that has no memory left, or fails, the work is given up, and that is an error.
///
/// # Errors
/// Those of the work; [`Kind::Refused`] if a device has no more memory, [`Kind::Other`] if it failed.
pub fn attempt<T, E: From<Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    DEPTH.set(DEPTH.get() + 1);
    // What the work leaves behind half done is its caller's, who gives it up on any error.
    let done = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    done.unwrap_or_else(|why| match why.downcast::<GivenUp>() {
        Ok(given_up) => Err(given_up.0.into()),
        Err(other) => resume_unwind(other),
    })
}

/// Does what a device may have no memory for; none where that is so. A device that fails goes on to [`attempt`].
pub fn within_memory<T>(work: impl FnOnce() -> T) -> Option<T> {
    match attempt(|| Ok::<T, Error>(work())) {
        Ok(done) => Some(done),
        Err(full) if full.kind() == Kind::Refused => None,
        Err(failed) => give_up(failed),
    }
}
