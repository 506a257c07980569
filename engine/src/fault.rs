//! What happens when a mapped file cannot be read any more, or the system refuses memory.
//!
//! Another program cuts a mapped file short, or the disk fails: the system then raises SIGBUS in whichever thread
//! touches the page. Memory that is refused ends in `abort`, which raises SIGABRT. There is nothing to return to, so
//! what can be had is an end with words and an exit code. A signal handler belongs to the process, so a library must
//! not install one: this is for the `main` of a program.
#![cfg(unix)]

use crate::heap::Noting;
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// What a handler says and returns. With [`REFUSED`] the only state of a process in this crate: a handler is given
/// nothing else.
static CUT: OnceLock<Last> = OnceLock::new();
/// The same for memory, and who knows whether it was refused.
static REFUSED: OnceLock<(Last, &Noting)> = OnceLock::new();

/// The last words of a process, and its exit code.
#[derive(Clone, Copy)]
struct Last {
    text: &'static str,
    code: i32,
}

impl Last {
    /// Ends the process. A handler may call it.
    fn end(self) -> ! {
        // SAFETY: `write` and `_exit` may be called in a handler; the text is static and as long as said.
        unsafe {
            libc::write(libc::STDERR_FILENO, self.text.as_ptr().cast(), self.text.len());
            libc::_exit(self.code)
        }
    }
}

/// From now on a page of a mapped file that the system cannot give ends the process: `text` goes to stderr, and `code`
/// is its exit code. The first call decides what is said.
///
/// The runtime's own handler is replaced. It tells a stack overflow from other faults; on Linux it still does, since
/// that is SIGSEGV there.
///
/// # Errors
/// If the system refuses the handler.
pub fn end_on_bus_error(text: &'static str, code: i32) -> io::Result<()> {
    CUT.get_or_init(|| Last { text, code });
    handle(libc::SIGBUS, cut)
}

/// From now on an abort after `heap`, the global allocator, was refused memory ends the process likewise; one of a
/// process that never was does what it always does. The first call decides what is said.
///
/// # Errors
/// If the system refuses the handler.
pub fn end_on_refused_memory(heap: &'static Noting, text: &'static str, code: i32) -> io::Result<()> {
    REFUSED.get_or_init(|| (Last { text, code }, heap));
    handle(libc::SIGABRT, refused)
}

fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all fields are numbers, pointers or an optional function, for which zero bits are a value; `sigemptyset`
    // is given a set that is ours. The handlers of this file have the signature of one without SA_SIGINFO, and call
    // nothing but what POSIX allows in one.
    let refused = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = handler as libc::sighandler_t;
        // On the stack that the runtime set aside for handlers: that of the thread may be what failed.
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, action, std::ptr::null_mut())
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// Both read by atomic loads what was set before the handler was installed.

extern "C" fn cut(_: libc::c_int) {
    if let Some(last) = CUT.get() {
        last.end()
    }
}

extern "C" fn refused(_: libc::c_int) {
    match REFUSED.get() {
        Some((last, heap)) if heap.has_refused() => last.end(),
        // `abort` raises the signal again, without a handler.
        _ => {}
    }
}
