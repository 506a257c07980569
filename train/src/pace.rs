//! How long a run is, how its rate goes, and what moves its parameters, by its configuration.

use crate::config::{Config, TrainConfig};
use autograd::optim::{AdamW, AdamWOptions, Lamb, LambOptions, Optimizer};
use autograd::{Schedule, ScheduleKind};

/// What moves the parameters.
pub(crate) fn optimizer(t: &TrainConfig) -> Box<dyn Optimizer> {
    let TrainConfig { weight_decay, decay_all, .. } = *t;
    match &*t.optimizer {
        "lamb" => Box::new(Lamb::new(LambOptions { weight_decay, decay_all, ..LambOptions::default() })),
        _ => Box::new(AdamW::new(AdamWOptions { weight_decay, decay_all, ..AdamWOptions::default() })),
    }
}

/// How the rate rises and falls over so many steps.
pub(crate) fn schedule(config: &TrainConfig, total_steps: u64) -> Schedule {
    let kind = match &*config.schedule {
        "cosine" => ScheduleKind::Cosine,
        "constant" => ScheduleKind::Constant,
        _ => ScheduleKind::Linear,
    };
    let warmup_steps = config.warmup_steps.min(total_steps / 2);
    Schedule { kind, warmup_steps, total_steps: total_steps + u64::from(warmup_steps > 0) }
}

/// As the composers cut them: the rest that fills no batch waits for another epoch.
pub(crate) fn batches_per_epoch(config: &Config, rows: usize) -> u64 {
    (rows / config.train.batch).max(1) as u64
}

/// Updates in an epoch over so many rows.
pub(crate) fn steps_per_epoch(config: &Config, rows: usize) -> u64 {
    batches_per_epoch(config, rows).div_ceil(u64::from(config.train.accumulate))
}

/// Updates in the whole run.
pub(crate) fn total_steps(config: &Config, steps_per_epoch: u64) -> u64 {
    match config.train.steps {
        0 => u64::from(config.train.epochs) * steps_per_epoch,
        steps => steps,
    }
}
