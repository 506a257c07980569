//! When a run writes down where it stands.

use serde::{Deserialize, Serialize};

/// Checkpoints, log, validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaveConfig {
    /// Seconds between checkpoints; 0 for only at the end.
    pub every_seconds: f64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// Whether training goes on while the disk takes a checkpoint.
    pub background: bool,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between validations; 0 for the end of each epoch.
    pub validate_every: u64,
    /// Whether the log is also written as event files for TensorBoard, in `RUN/tensorboard`.
    pub tensorboard: bool,
}

impl Default for SaveConfig {
    fn default() -> SaveConfig {
        SaveConfig {
            every_seconds: 300.0,
            keep: 2,
            background: true,
            log_every: 10,
            validate_every: 0,
            tensorboard: false,
        }
    }
}
