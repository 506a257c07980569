//! Every byte counts: each file of each kind is read with every byte changed in turn, and cut at every place.
//!
//! A reader gives an error, or takes the file. It does not panic, hang, or hold more memory than its kind may; what it
//! says is no fault of the system; and a file of ours means what it meant, or is refused. Containers are damaged a
//! second time under checksums that fit: what an attacker would write. Then the corpus of the fuzz targets is read, and
//! what else has to be found out by files of a hostile size (`hostile.rs`).
//!
//! A program without the test harness: the counters of the allocator belong to the process. With an argument, only the
//! kinds whose names contain it; with `--seeds`, the samples are written into the corpus, and nothing is tested.

mod hostile;
#[allow(unreachable_pub, dead_code, reason = "the fuzz targets use more of it, from outside")]
#[path = "../../../fuzz/src/kinds/mod.rs"]
mod kinds;

use kinds::{KINDS, Kind, Sandbox, resealed};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[global_allocator]
static HEAP: engine::heap::Counting = engine::heap::Counting::new();

/// What becomes of a byte.
const CHANGES: [fn(u8) -> u8; 4] = [|b| b ^ 1, |b| b ^ 0x80, |b| b ^ 0xff, |_| 0];

/// No reader is this long at a small file.
const SECONDS_MAX: u64 = 20;

/// Findings of a kind that are told.
const SHOWN: usize = 6;

/// Inputs begun. One that does not end is found by a thread that sees this stand still.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// What is wrong with some inputs.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    /// Runs one input and notes what it does that it may not.
    fn watch(&mut self, kind: &Kind, what: impl Fn() -> String, input: impl FnOnce()) {
        BEGUN.fetch_add(1, Relaxed);
        let held = HEAP.bytes_in_use();
        HEAP.forget_peak();
        let outcome = catch_unwind(AssertUnwindSafe(input));
        let bytes = HEAP.bytes_in_use_peak().saturating_sub(held);
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            self.0.push(format!("{}: {}: {text}", kind.name, what()));
        }
        if bytes > kind.bytes_max {
            self.0.push(format!(
                "{}: {}: held {bytes} bytes, {} are allowed",
                kind.name,
                what(),
                kind.bytes_max
            ));
        }
    }
}

/// Ends the process when an input takes too long: a test that hangs tells nobody why.
fn guard() {
    std::thread::spawn(|| {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = BEGUN.load(Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed().as_secs() > SECONDS_MAX {
                eprintln!("input {now} has not ended after {SECONDS_MAX} seconds");
                std::process::exit(101);
            }
        }
    });
}

/// Damages each part of a sample at every byte; gives how many inputs that were.
fn damage(sandbox: &Sandbox, findings: &mut Findings) -> [u64; 2] {
    let kind = sandbox.kind;
    let (mut flips, mut cuts) = (0, 0);
    for (part, name) in kind.parts.iter().enumerate() {
        let whole = sandbox.whole(part);
        let mut bytes = whole.to_vec();
        for at in 0..whole.len() {
            for (change, by) in CHANGES.iter().enumerate() {
                bytes[at] = by(whole[at]);
                let what = || format!("{name}, byte {at}, change {change}");
                findings.watch(kind, what, || drop(sandbox.read_checked(part, &bytes)));
                if kind.container.is_some() {
                    let sealed = resealed(&bytes);
                    let what = || format!("{name}, byte {at}, change {change}, sealed");
                    findings.watch(kind, what, || drop(sandbox.read(part, &sealed)));
                }
                flips += 1;
            }
            bytes[at] = whole[at];
        }
        for end in 0..whole.len() {
            let what = || format!("{name}, cut at {end}");
            findings.watch(kind, what, || drop(sandbox.read_checked(part, &whole[..end])));
            cuts += 1;
        }
    }
    [flips, cuts]
}

fn corpus(kind: &Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(kind.name)
}

/// Reads what is kept for the fuzz target of a kind.
fn replay(sandbox: &Sandbox, findings: &mut Findings) -> u64 {
    let folder = corpus(sandbox.kind);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in &paths {
        let bytes = std::fs::read(path).expect("an entry of the corpus");
        findings.watch(sandbox.kind, || path.display().to_string(), || kinds::input(sandbox, &bytes));
    }
    paths.len() as u64
}

/// Writes the whole samples where a fuzzer begins: they are made by code, so they are not kept in the repository.
fn write_seeds() {
    for kind in KINDS {
        let (folder, sandbox) = (corpus(kind), Sandbox::new(kind));
        for part in 0..kind.parts.len() {
            let seed = [&[b'0' + part as u8], sandbox.whole(part)].concat();
            std::fs::write(folder.join(format!("sample-{part}")), seed).expect("written");
        }
    }
}

fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    if word == "--seeds" {
        return write_seeds();
    }
    let only = if word.starts_with('-') { String::new() } else { word };
    let mut findings = Findings::default();
    guard();
    for kind in KINDS.iter().filter(|kind| kind.name.contains(&only)) {
        let (begun, before) = (Instant::now(), findings.0.len());
        let sandbox = Sandbox::new(kind);
        // A panic is a finding here, and is told at the end.
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        let [flips, cuts] = damage(&sandbox, &mut findings);
        let kept = replay(&sandbox, &mut findings);
        set_hook(hook);
        let (found, seconds) = (findings.0.len() - before, begun.elapsed().as_secs_f64());
        println!(
            "{:<16}{flips:>8} flips {cuts:>7} cuts {kept:>4} kept {seconds:>7.1} s {found:>6} findings",
            kind.name
        );
        findings.0[before..].iter().take(SHOWN).for_each(|finding| println!("    {finding}"));
    }
    let failed = if only.is_empty() { hostile::all() } else { 0 };
    let found = findings.0.len();
    assert!(
        found + failed == 0,
        "{found} inputs did what no file may cause, {failed} tests of hostile sizes failed"
    );
}
