//! Signals. The first Ctrl-C (or SIGTERM, as schedulers send it) lets a verb that saves finish its step and
//! save; the second ends the process at once. Verbs with nothing to save end at once.
//!
//! A mapped file that is cut short under us raises SIGBUS in the thread that reads it: the process says so and
//! ends at once with the exit code of a failed disk (`engine::fault`). Memory that the system refuses ends it likewise,
//! with the code of limits.

use engine::heap::Noting;
use engine::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The exit code of input and output that failed.
#[cfg(unix)]
const DISK_FAILED: i32 = 74;
/// What is said then. It begins with a line break, since a progress bar may stand in the line.
#[cfg(unix)]
const CUT_SHORT: &str = "
error: a file of Lode's was cut short while it was in use, or the disk could not give a part of it
  = note: files that Lode has made are mapped; nothing may write to them, a new one takes their name instead
  = help: look at the disk, put the file back as it was or make it again, then start this command again;
          training goes on from its last checkpoint with `lode resume RUN`
";
/// The exit code of a limit that was reached.
#[cfg(unix)]
const LIMIT_REACHED: i32 = 5;
/// What is said when memory is refused; the runtime has said how much was asked for.
#[cfg(unix)]
const OUT_OF_MEMORY: &str = "
error: the system has refused memory
  = note: a plan counts what Lode holds, and not what other programs hold or what a limit on the process leaves
  = help: `--dry-run` says what a run needs; `--max-memory` lets it map tables or be refused before it starts;
          a smaller `--batch`, `--chunk` and `--recompute` need less;
          training goes on from its last checkpoint with `lode resume RUN`
";

/// The allocator of the program.
#[global_allocator]
static HEAP: Noting = Noting::new();

/// Shared by the watching thread and the verbs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether the verb looks at `signal` and stops by itself.
    heard: AtomicBool,
    /// The signal that asked to stop; 0 for none.
    signal: AtomicI32,
}

impl Stop {
    /// Starts to listen; `exit` ends the process with a code.
    #[cfg(unix)]
    pub(crate) fn watch(exit: fn(i32)) -> Result<Stop> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let stop = Stop::default();
        let failed =
            |e: std::io::Error| Error::new(Kind::Other, "signals cannot be listened to").caused_by(e);
        engine::fault::end_on_bus_error(CUT_SHORT, DISK_FAILED).map_err(failed)?;
        engine::fault::end_on_refused_memory(&HEAP, OUT_OF_MEMORY, LIMIT_REACHED).map_err(failed)?;
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let state = stop.0.clone();
        let watch = move || {
            for signal in signals.forever() {
                let again = state.signal.swap(signal, Ordering::SeqCst) != 0;
                if again || !state.heard.load(Ordering::SeqCst) {
                    exit(128 + signal);
                }
                crate::render::note("\nstopping as soon as the work at hand is done; again to end at once");
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
        Ok(stop)
    }
    /// Elsewhere signals have their usual effect; checkpoints are whole whatever happens.
    #[cfg(not(unix))]
    pub(crate) fn watch(_: fn(i32)) -> Result<Stop> {
        Ok(Stop::default())
    }
    /// From now on the verb looks at [`Stop::requested`] often enough.
    pub(crate) fn is_heard(&self) {
        self.0.heard.store(true, Ordering::SeqCst);
    }
    /// The signal that asked to stop.
    pub(crate) fn requested(&self) -> Option<i32> {
        Some(self.0.signal.load(Ordering::SeqCst)).filter(|&s| s != 0)
    }
}
