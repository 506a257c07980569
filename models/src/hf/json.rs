//! Small JSON files from outside: read whole, with a limit, and an error that names the place.

use engine::{Error, Result};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest JSON file that we read. A tokenizer with 250,000 pieces has 17 MB.
const BYTES_MAX: u64 = 64 << 20;

/// Reads a file of at most 64 MiB.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::input(format!("larger than {} MiB", BYTES_MAX >> 20)).at(path));
    }
    Ok(bytes)
}

/// Reads and parses a file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(path, &read_bytes(path)?)
}

/// Parses what was read from `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    if bytes.is_empty() {
        return Err(Error::input("the file is empty, JSON was expected").at(path));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        let text = e.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Error::input(what).at_line(path, e.line() as u64, Some(e.column() as u64))
    })
}

/// Reads and parses a file that may be absent.
pub(super) fn read_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}
