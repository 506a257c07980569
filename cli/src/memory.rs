//! How much memory this process has, sampled from `/proc` where there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Short against a step, long against the fifty microseconds that a reading takes.
const EVERY: Duration = Duration::from_millis(20);

/// Samples the anonymous resident memory of this process (heap and stacks, not mapped files) until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    anonymous_peak: AtomicU64,
    ended: AtomicBool,
}

impl Sampler {
    /// Starts a thread that samples.
    pub(crate) fn start() -> Sampler {
        let state = Arc::new(State::default());
        let shared = state.clone();
        // Without the thread nothing is sampled, and the peak says so by being unknown.
        let _ = std::thread::Builder::new().name("memory".into()).spawn(move || {
            while !shared.ended.load(Ordering::Relaxed) {
                let Some(now) = status("RssAnon") else { return };
                shared.anonymous_peak.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        Sampler { state }
    }
    /// The most anonymous memory seen so far, in bytes.
    pub(crate) fn anonymous_peak(&self) -> Option<u64> {
        let now = status("RssAnon")?;
        Some(now.max(self.state.anonymous_peak.load(Ordering::Relaxed)))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
    }
}

/// The most resident memory that this process ever had, in bytes, mapped files among it.
pub(crate) fn resident_peak() -> Option<u64> {
    status("VmHWM")
}

/// The memory of the machine, in bytes: all of it, and what is to be had.
pub(crate) fn machine() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some((kilobytes(&text, "MemTotal")?, kilobytes(&text, "MemAvailable")?))
}

fn status(field: &str) -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, field)
}

/// The bytes of a line `field:   123 kB`.
fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_is_read_by_field() {
        let text = "VmHWM:\t   2048 kB\nRssAnon:\t     12 kB\nThreads:\t3\n";
        assert_eq!(kilobytes(text, "RssAnon"), Some(12 * 1024));
        assert_eq!(kilobytes(text, "VmHWM"), Some(2048 * 1024));
        assert_eq!((kilobytes(text, "Vm"), kilobytes(text, "Threads")), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_taken_is_memory_seen() {
        let sampler = Sampler::start();
        let before = sampler.anonymous_peak().unwrap();
        let taken = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = sampler.anonymous_peak().unwrap();
        assert!(after >= before + (60 << 20), "{before} {after}");
        drop(taken);
        assert!(sampler.anonymous_peak().unwrap() >= before);
    }
}
