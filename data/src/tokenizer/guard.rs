//! A fence around the tokenizer library, which panics at some files: at a table of characters that is none, for
//! example, and with some of them not before the first text. What a file does to us is an error.

use engine::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the library. What it was working on is not used again after a panic.
///
/// # Errors
/// What the library says, or that it panicked.
pub(super) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => done.map_err(|e| Error::input("not a tokenizer that can be used").caused_by(e)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            let e = Error::input(format!("the tokenizer library cannot work with this file: {text}"));
            Err(e.help("fetch the tokenizer again, or load and save it with the library that made it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let told = |call: fn() -> tokenizers::Result<u32>| guarded(call).map_err(|e| e.to_string());
        assert_eq!(told(|| Ok(3)), Ok(3));
        assert!(told(|| Err("too short".into())).is_err_and(|e| e.contains("(too short)")));
        assert!(told(|| panic!("no {}", "table")).is_err_and(|e| e.contains("this file: no table")));
        assert!(told(|| panic!("none")).is_err_and(|e| e.contains("this file: none")));
    }
}
