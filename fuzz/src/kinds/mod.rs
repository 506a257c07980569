//! Every kind of file that Lode reads, as something that can be damaged and read again.
//!
//! ```text
//! Kind      a name, the files of a small sample, what reads them, and the memory that reading may take
//! Sandbox   the sample in a folder of its own; one of its files at a time is replaced by other bytes
//! ```
//! A reader may refuse the bytes or take them. It may not panic, hang, take more memory than its kind is allowed, or
//! blame the system for what is in a file. A file of ours that is taken must say what it said before, unless its
//! checksums were made anew ([`resealed`]): then it is the work of an attacker, and any meaning will do.
//!
//! The fuzz targets and the test `every_byte` of the crate `train` both call this.

mod mapped;
mod model;
mod runs;
mod text;
mod tokenizer;

use engine::container::{Container, Verify, checksum};
use engine::{Engine, Kind as Why, Result};
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Reads the files of a sample, or as many as have to do with one of its parts.
pub type Read = Box<dyn Fn(usize) -> Result<()>>;

/// A kind of file.
pub struct Kind {
    /// Its name, which is that of its fuzz target and its corpus.
    pub name: &'static str,
    /// The files of the sample that are damaged, below its folder.
    pub parts: &'static [&'static str],
    /// Whether the files are containers of ours, and of which kind.
    pub container: Option<&'static str>,
    /// Bytes that reading a small sample may hold at once. Several times what is seen, and far from what a number in a
    /// header could ask for.
    pub bytes_max: usize,
    /// Makes the sample in a folder, and gives what reads it.
    make: fn(&Path, &Engine) -> Read,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    mapped::CONTAINER,
    mapped::DATASET,
    mapped::INDEX,
    mapped::OVERLAY,
    runs::CHECKPOINT,
    runs::CHECKPOINT_HEAD,
    runs::LOG,
    runs::CONFIG_TOML,
    model::SAFETENSORS,
    model::CONFIG_JSON,
    tokenizer::TOKENIZER,
    text::JSONL,
    text::CSV,
    text::XC,
    text::NPZ,
    text::BEIR,
    text::MSMARCO,
    text::FASTTEXT,
    text::LISTS,
];

/// The kind of this name.
///
/// # Panics
/// If there is none.
pub fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no kind is named {name}"))
}

/// The sample of a kind in a folder of its own.
pub struct Sandbox {
    /// What it is.
    pub kind: &'static Kind,
    read: Read,
    whole: Vec<Vec<u8>>,
    meaning: Vec<Option<u64>>,
    /// The part that does not hold the bytes of the sample.
    changed: Cell<Option<usize>>,
    folder: TempDir,
}

impl Sandbox {
    /// Makes the sample, which must be readable.
    ///
    /// # Panics
    /// If it is not.
    pub fn new(kind: &'static Kind) -> Sandbox {
        let folder = folder();
        let read = (kind.make)(folder.path(), &Engine::new(1));
        for part in 0..kind.parts.len() {
            read(part).unwrap_or_else(|e| panic!("the sample of {} cannot be read: {e}", kind.name));
        }
        let paths: Vec<PathBuf> = kind.parts.iter().map(|part| folder.path().join(part)).collect();
        let whole = paths.iter().map(|path| std::fs::read(path).expect("a part of the sample")).collect();
        let meaning = paths.iter().map(|path| kind.container.map(|of| meaning(path, of).expect("whole")));
        let meaning = meaning.collect();
        Sandbox { kind, read, whole, meaning, changed: Cell::new(None), folder }
    }
    /// The bytes of a part as they are in the sample.
    pub fn whole(&self, part: usize) -> &[u8] {
        &self.whole[part]
    }
    /// Reads the sample with these bytes in place of a part.
    ///
    /// # Errors
    /// What the reader says.
    ///
    /// # Panics
    /// If the error is not one of those that a file may cause, or tells more than a person would read.
    pub fn read(&self, part: usize, bytes: &[u8]) -> Result<()> {
        if let Some(other) = self.changed.replace(Some(part)).filter(|&other| other != part) {
            replace(&self.path(other), &self.whole[other]);
        }
        replace(&self.path(part), bytes);
        self.read_as_it_is(part)
    }
    /// As [`Sandbox::read`], of a part into which something was put already.
    ///
    /// # Errors
    /// As [`Sandbox::read`].
    ///
    /// # Panics
    /// As [`Sandbox::read`].
    pub fn read_as_it_is(&self, part: usize) -> Result<()> {
        let outcome = (self.read)(part);
        if let Err(e) = &outcome {
            assert!(
                matches!(e.kind(), Why::Input | Why::Damaged),
                "{:?} is no fault of a file: {e}",
                e.kind()
            );
            let told = e.to_string().len();
            assert!(told < 6000, "an error of {told} bytes: {:.300}", e.to_string());
        }
        outcome
    }
    /// Where a part lies.
    pub fn path(&self, part: usize) -> PathBuf {
        self.folder.path().join(self.kind.parts[part])
    }
    /// As [`Sandbox::read`]; a container of ours that is taken must say what it said before.
    ///
    /// # Errors
    /// As [`Sandbox::read`].
    ///
    /// # Panics
    /// As [`Sandbox::read`], or if it says something else.
    pub fn read_checked(&self, part: usize, bytes: &[u8]) -> Result<()> {
        let outcome = self.read(part, bytes);
        if let (Ok(()), Some(of)) = (&outcome, self.kind.container) {
            let now = meaning(&self.path(part), of).ok();
            assert!(now.is_some() && now == self.meaning[part], "other bytes were taken for the sample");
        }
        outcome
    }
}

/// A folder of files that need not survive: in memory where the system offers that, since readers of sources write and
/// sync data sets there.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

/// Puts other bytes into a file. It is not emptied first: some file systems take that for a file that is replaced, and
/// wait for the disk.
fn replace(path: &Path, bytes: &[u8]) {
    let mut file = File::options().write(true).create(true).truncate(false).open(path).expect("opened");
    file.write_all(bytes).and_then(|()| file.set_len(bytes.len() as u64)).expect("written");
}

/// One input of a fuzzer: its first byte says which part it replaces.
pub fn fuzz(name: &'static str, bytes: &[u8]) {
    thread_local! {
        static SANDBOX: std::cell::OnceCell<Sandbox> = const { std::cell::OnceCell::new() };
    }
    SANDBOX.with(|cell| {
        let sandbox = cell.get_or_init(|| {
            // The fuzzer ends the process at any panic, also at one that is caught. Only those that are not count.
            set_hook(Box::new(|_| {}));
            Sandbox::new(kind(name))
        });
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| input(sandbox, bytes))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            eprintln!(
                "panicked: {}",
                text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
            );
            std::process::abort();
        }
    });
}

/// As [`fuzz`], in a sandbox that is there already. A container is read as it is, and with checksums that fit.
pub fn input(sandbox: &Sandbox, bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let part = usize::from(first) % sandbox.kind.parts.len();
    // Refused or taken: both are well.
    let _ = sandbox.read(part, bytes);
    if sandbox.kind.container.is_some() {
        let _ = sandbox.read(part, &resealed(bytes));
    }
}

/// What a container says: its sections, as they are read. None of the bytes between them.
fn meaning(path: &Path, kind: &str) -> Result<u64> {
    let file = Container::open(path, kind, Verify::Full)?;
    let mut all = vec![];
    for section in file.sections() {
        all.extend(format!("{} {:?} {};", section.name, section.scalar, section.bytes).into_bytes());
        all.extend_from_slice(file.bytes(&section.name)?);
    }
    Ok(checksum(&all))
}

/// The bytes of a container with checksums and length made anew, as far as its table can be found.
pub fn resealed(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    let number = |all: &[u8], at: usize| {
        all.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
    };
    let put = |all: &mut [u8], at: usize, value: u64| all[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let Some(table) = number(&all, 40).map(|t| t as usize).filter(|&t| t >= 64 && t < all.len()) else {
        return all;
    };
    for row in (table..all.len()).step_by(64) {
        let (Some(offset), Some(length)) = (number(&all, row + 40), number(&all, row + 48)) else { break };
        let end = offset.saturating_add(length) as usize;
        if let Some(section) = all.get(offset as usize..end)
            && row + 64 <= all.len()
        {
            let sum = checksum(section);
            put(&mut all, row + 56, sum);
        }
    }
    let (length, sum) = (all.len() as u64, checksum(&all[table..]));
    put(&mut all, 32, length);
    put(&mut all, 48, sum);
    let sum = checksum(&all[..56]);
    put(&mut all, 56, sum);
    all
}
