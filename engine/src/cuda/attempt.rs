//! What a device cannot do: it has no memory left, or it failed. Operations give tensors and no results, so that a
//! layer reads as mathematics; what the world can do to them goes past all of them, to [`attempt`].

use crate::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What unwinds, and why.
struct GivenUp(Error);

/// Gives the work up: past all of it, to [`attempt`].
pub(super) fn give_up(error: Error) -> ! {
    resume_unwind(Box::new(GivenUp(error)))
}

/// Does what may ask a device: where that has no memory left, or fails, the work is given up, and that is an error.
///
/// # Errors
/// Those of the work; [`crate::Kind::Refused`] if a device has no more memory, [`crate::Kind::Other`] if it failed.
pub fn attempt<T, E: From<Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // What the work leaves behind half done is its caller's, who gives it up on any error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|why| match why.downcast::<GivenUp>() {
        Ok(given_up) => Err(given_up.0.into()),
        Err(other) => resume_unwind(other),
    })
}
