//! Signals. The first Ctrl-C (or SIGTERM, as schedulers send it) lets a verb that saves finish its step and save; the
//! second ends the process at once. Verbs with nothing to save end at once.
//!
//! A mapped file that is cut short under us raises SIGBUS in the thread that reads it. The handler only notes that; the
//! reading instruction faults again and again until the watching thread has said what happened and ended the process.

use engine::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

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
        use signal_hook::consts::{SIGBUS, SIGINT, SIGTERM};
        let stop = Stop::default();
        let failed =
            |e: std::io::Error| Error::new(Kind::Other, "signals cannot be listened to").caused_by(e);
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGBUS]).map_err(failed)?;
        let state = stop.0.clone();
        let watch = move || {
            for signal in signals.forever() {
                if signal == SIGBUS {
                    eprintln!("error: a mapped file was cut short, or its disk failed, while it was read");
                    exit(74);
                }
                let again = state.signal.swap(signal, Ordering::SeqCst) != 0;
                if again || !state.heard.load(Ordering::SeqCst) {
                    exit(128 + signal);
                }
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
