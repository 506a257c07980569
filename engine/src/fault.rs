//! What happens when a mapped file cannot be read any more.
//!
//! Another program cuts it short, or the disk fails: the system then raises SIGBUS in whichever thread touches the
//! page. There is nothing to return to, so what can be had is an end with words and an exit code. A signal handler
//! belongs to the process, so a library must not install one: this is for the `main` of a program.
#![cfg(unix)]

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// What [`end`] says and returns. The only state of a process in this crate: a handler is given nothing else.
static SAID: OnceLock<(&str, i32)> = OnceLock::new();

/// From now on a page of a mapped file that the system cannot give ends the process: `text` goes to stderr, and `code`
/// is its exit code. The first call decides what is said.
///
/// The runtime's own handler is replaced. It tells a stack overflow from other faults; on Linux it still does, since
/// that is SIGSEGV there.
///
/// # Errors
/// If the system refuses the handler.
pub fn end_on_bus_error(text: &'static str, code: i32) -> io::Result<()> {
    SAID.get_or_init(|| (text, code));
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all fields are numbers, pointers or an optional function, for which zero bits are a value; `sigemptyset`
    // is given a set that is ours. `end` has the signature of a handler without SA_SIGINFO, and calls nothing but what
    // POSIX allows in one.
    let refused = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = end as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // On the stack that the runtime set aside for handlers: that of the thread may be what failed.
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, action, std::ptr::null_mut())
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn end(_: libc::c_int) {
    // An atomic load: it was set before the handler was installed.
    let (text, code) = SAID.get().copied().unwrap_or_default();
    // SAFETY: `write` and `_exit` may be called in a handler; the text is static and as long as said.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(code)
    }
}
