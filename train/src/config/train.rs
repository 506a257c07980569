//! How long a run trains, how fast, and in which portions.

use engine::cuda::Gemm;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long, how fast, in which portions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training queries.
    pub epochs: u32,
    /// Optimizer steps; 0 for as many as the epochs take.
    pub steps: u64,
    /// Queries in a batch.
    pub batch: usize,
    /// Labels of a query that are drawn as its positives in a step, at most; 0 for all of them.
    pub positives: u32,
    /// The text of each label is a training query, too, and the label its only positive.
    pub label_texts: bool,
    /// Texts that are encoded at once with a tape; 0 for the whole batch. Smaller needs less memory and more time
    /// (GradCache); the gradient is the same.
    pub chunk: usize,
    /// Batches whose gradients are added before an update.
    pub accumulate: u32,
    /// What moves the parameters of the encoder: `adamw`, or `lamb`, whose step is as long as the tensor that it moves,
    /// times the rate.
    pub optimizer: String,
    /// Where a step is computed: `cpu`, or a CUDA device, `cuda:0`.
    pub device: String,
    /// The numbers that linear layers multiply: `f32`, or on a CUDA device `bf16`, added up and kept in f32.
    pub precision: String,
    /// Who multiplies matrices on a CUDA device: `cublas`, our `own` kernels, or `auto`: cuBLAS where it is found.
    pub gemm: String,
    /// Learning rate at its peak.
    pub lr: f64,
    /// `linear`, `cosine` or `constant`, after the warm-up.
    pub schedule: String,
    /// Steps in which the rate rises from 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay biases and norms too, as PyTorch's plain call does.
    pub decay_all: bool,
    /// Largest global norm of the gradient; 0 for no clipping.
    pub clip: f64,
    /// Steps of the run that are passed over, at most, since their loss or gradient is not finite; 0 for none: the
    /// first one ends the run.
    pub skip_nonfinite: u32,
    /// The seed from which all randomness of the run follows.
    pub seed: u64,
    /// Train on the first batch only: a debugging aid, the loss must go to zero.
    pub overfit_batch: bool,
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            epochs: 3,
            steps: 0,
            batch: 256,
            positives: 1,
            label_texts: false,
            chunk: 0,
            accumulate: 1,
            optimizer: "adamw".into(),
            device: "cpu".into(),
            precision: "f32".into(),
            gemm: "auto".into(),
            lr: 1e-4,
            schedule: "linear".into(),
            warmup_steps: 50,
            weight_decay: 0.01,
            decay_all: false,
            clip: 1.0,
            skip_nonfinite: 0,
            seed: 0,
            overfit_batch: false,
        }
    }
}

impl TrainConfig {
    /// The largest global norm of the gradient; infinite where nothing is clipped.
    pub fn norm_max(&self) -> f64 {
        if self.clip > 0.0 { self.clip } else { f64::INFINITY }
    }
    /// Who multiplies on a device.
    pub(crate) fn gemm(&self) -> Gemm {
        Gemm::named(&self.gemm).unwrap_or_default()
    }
    /// Checks ranges and names.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, with_head: bool) -> Result<()> {
        let wrong = |key: &str, range: &str, got: &dyn fmt::Display| {
            Err(Error::input(format!("`{key}` must be {range}, it is {got}")))
        };
        if self.batch < 2 {
            return wrong("train.batch", "at least 2: a batch of one has no negative", &self.batch);
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return wrong("train.lr", "above 0", &self.lr);
        }
        if self.epochs == 0 && self.steps == 0 {
            return wrong("train.epochs", "at least 1 (or train.steps)", &self.epochs);
        }
        if self.accumulate == 0 {
            return wrong("train.accumulate", "at least 1", &self.accumulate);
        }
        if !(self.clip >= 0.0 && self.weight_decay >= 0.0) {
            return wrong(
                "train.clip and train.weight_decay",
                "0 or more",
                &self.clip.min(self.weight_decay),
            );
        }
        if !["adamw", "lamb"].contains(&&*self.optimizer) {
            return wrong("train.optimizer", "adamw or lamb", &self.optimizer);
        }
        let number = self.device.strip_prefix("cuda:");
        if self.device != "cpu" && number.is_none_or(|n| n.parse::<usize>().is_err()) {
            return wrong("train.device", "cpu, or a CUDA device like cuda:0", &self.device);
        }
        let precisions = if self.device == "cpu" { &["f32"][..] } else { &["f32", "bf16"] };
        if !precisions.contains(&&*self.precision) {
            return wrong("train.precision", "f32, or bf16 on a CUDA device", &self.precision);
        }
        if Gemm::named(&self.gemm).is_none_or(|gemm| self.device == "cpu" && gemm != Gemm::Auto) {
            return wrong("train.gemm", "auto, or own or cublas on a CUDA device", &self.gemm);
        }
        if !["linear", "cosine", "constant"].contains(&&*self.schedule) {
            return wrong("train.schedule", "linear, cosine or constant", &self.schedule);
        }
        if with_head && self.accumulate > 1 {
            return wrong("train.accumulate", "1 with a classifier", &self.accumulate);
        }
        if with_head && self.skip_nonfinite > 0 {
            let range =
                "0 with a classifier: label weights have moved before the encoder's gradient is known";
            return wrong("train.skip_nonfinite", range, &self.skip_nonfinite);
        }
        Ok(())
    }
}
