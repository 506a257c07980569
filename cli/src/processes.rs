//! Which processes trained a run, on what: a file of JSON lines beside its log, for `lode report`.
//!
//! A process writes a line when it begins and one when it ends. One that was killed has no second line.

use crate::context::Context;
use crate::doctor::cpu_name;
use crate::memory;
use crate::train::by_name;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use train::log::Log;
use train::plan::{DevicePlan, MemoryPlan};
use train::{RunDir, Trainer};

/// Where the lines of a run are.
pub(crate) fn path(run: &Path) -> PathBuf {
    run.join("processes.jsonl")
}

/// What is known when a process begins to train.
pub(crate) fn begins(trainer: &Trainer, plan: &MemoryPlan, context: &Context) -> Value {
    let data = trainer.data();
    json!({
        "begins_at_step": trainer.progress().step,
        "unix_time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("LODE_COMMIT"),
        "processor": cpu_name(),
        "kernels": trainer.kernel_class(),
        "threads": context.threads,
        "parameters": trainer.network.model.params.count(),
        "data_fingerprint": format!("{:016x}", data.fingerprint()),
        "planned_bytes": plan.total(),
        "planned_parts": by_name(&plan.parts),
        "planned_device_bytes": plan.device.as_ref().map(DevicePlan::total),
        "memory_bytes": memory::machine().map(|(total, _)| total),
    })
}

/// What is known when it ends.
pub(crate) fn ends(trainer: &Trainer, seconds: f64, anonymous_peak: Option<u64>) -> Value {
    json!({
        "ends_at_step": trainer.progress().step,
        "seconds": seconds,
        "anonymous_peak_bytes": anonymous_peak,
        "resident_peak_bytes": memory::resident_peak(),
    })
}

/// Appends a line. Nothing of the run depends on it: a disk that does not take it is no reason to stop.
pub(crate) fn append(dir: &RunDir, line: &Value) {
    let _ = Log::at(&path(dir.root())).append(line);
}
