//! What every verb is given: how to speak, how many threads, when to stop.

use crate::args::Global;
use crate::early::{Done, Early};
use crate::meter::Meter;
use crate::render::{Style, note};
use crate::stop::Stop;
use engine::{Engine, Error, Kind, Result};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

/// The surroundings of a verb.
pub(crate) struct Context {
    /// stdout carries JSON.
    pub(crate) json: bool,
    /// No progress.
    pub(crate) quiet: bool,
    /// More messages.
    pub(crate) verbose: bool,
    /// Workers.
    pub(crate) threads: usize,
    /// Colours of stderr.
    pub(crate) style: Style,
    /// The wish to stop.
    pub(crate) stop: Stop,
    /// When the process began.
    pub(crate) started: Instant,
}

impl Context {
    /// Reads the flags and listens to signals; `exit` is called where a signal must end the process at once.
    pub(crate) fn new(global: &Global, started: Instant, exit: fn(i32)) -> Result<Context> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Context {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            threads: global.threads.map_or_else(cores, NonZeroUsize::get),
            style: Style::of(global.color, std::io::stderr().is_terminal()),
            stop: Stop::watch(exit)?,
            started,
        })
    }
    /// An engine with the threads asked for.
    ///
    /// # Errors
    /// If the system refuses the threads.
    pub(crate) fn engine(&self) -> Result<Engine> {
        Engine::try_new(self.threads, None)
    }
    /// Progress on stderr.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.quiet, std::io::stderr().is_terminal())
    }
    /// A message on stderr; silent with `-q`.
    pub(crate) fn say(&self, message: &str) {
        if !self.quiet {
            note(message);
        }
    }
    /// A message on stderr for those who asked for more with `-v`.
    pub(crate) fn tell(&self, message: &str) {
        if self.verbose {
            note(message);
        }
    }
    /// Writes a part of the result, and a line break.
    pub(crate) fn print(&self, text: &str) -> Done {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.print_bytes(format!("{text}{end}").as_bytes())
    }
    /// Writes one JSON object as one line of the result.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Done {
        let text = serde_json::to_string(value).expect("results are plain data");
        self.print(&text)
    }
    /// Writes a part of the result and flushes it.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Done {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Early::PipeClosed,
            _ => Early::Failed(Error::io(Path::new("stdout"), e)),
        })
    }
    /// Ends a verb that writes something, if a signal wants it to.
    pub(crate) fn check_stop(&self) -> Done {
        match self.stop.requested() {
            Some(signal) => {
                note("interrupted: nothing was written");
                Err(Early::Interrupted(signal))
            }
            None => Ok(()),
        }
    }
}

/// An error of usage that clap cannot see.
pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Refused, message)
}
