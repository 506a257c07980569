//! Why a verb ended before its end, and the exit code that says so.

use crate::context::Context;
use crate::render::note;
use engine::{Error, Kind};
use std::process::ExitCode;

/// What a verb gives back.
pub(crate) type Done<T = ()> = Result<T, Early>;

/// Why a verb ended early.
#[derive(Debug)]
pub(crate) enum Early {
    /// Something went wrong.
    Failed(Error),
    /// Whoever read our stdout has gone, as `head` does. That is no failure.
    PipeClosed,
    /// Stopped on request by this signal; what was to be saved is saved.
    Interrupted(i32),
}

impl From<Error> for Early {
    fn from(error: Error) -> Early {
        Early::Failed(error)
    }
}

impl Early {
    /// Says on stderr what happened and gives the exit code.
    pub(crate) fn report(&self, context: &Context) -> ExitCode {
        match self {
            Early::Failed(error) => {
                note(&format!("{} {error}", context.style.error("error:")));
                ExitCode::from(code(error.kind()))
            }
            Early::PipeClosed => ExitCode::SUCCESS,
            Early::Interrupted(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        }
    }
}

/// The exit code of a kind of error.
fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Input => 3,
        Kind::Damaged => 4,
        Kind::Refused => 5,
        Kind::Numeric => 6,
        Kind::Threshold => 7,
        Kind::Io => 74,
        Kind::Interrupted => 130,
        // `Kind::Other`, and kinds that may come: plain failure.
        _ => 1,
    }
}
