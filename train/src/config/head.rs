//! The classifier of a run: label weights that are learned beside an encoder, or on top of one that rests.

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// Names of the losses of a classifier.
pub const LOSSES: [&str; 5] = ["bce", "supcon", "decoupled", "softtopk", "triplets"];

/// What is learned besides the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// `classifier` learns a weight vector for every label, `none` trains the encoder alone.
    pub name: String,
    /// `bce`, `supcon`, `decoupled`, `softtopk` or `triplets`.
    pub loss: String,
    /// Which labels a step scores: `all` (bce only), `sampled`, or `auto` for all where they are few.
    pub labels: String,
    /// Scores are divided by it to become logits.
    pub temperature: f64,
    /// Share of the numbers of a query's embedding that a step does not see.
    pub dropout: f32,
    /// Sampled: the labels nearest to each query that its hard negatives are drawn from; 0 for none.
    pub shortlist: usize,
    /// Sampled: hard negatives drawn for each query of a batch.
    pub mined: usize,
    /// Sampled: labels drawn uniformly for the whole batch, each standing for many.
    pub uniform: usize,
    /// Sampled: look for the nearest labels anew every so many epochs.
    pub refresh_epochs: u32,
    /// `adam` (8 bytes of state a weight), `adagrad` (4 bytes a label) or `sgd` (none).
    pub optimizer: String,
    /// `f32`, or `bf16` with stochastic rounding.
    pub precision: String,
    /// Learning rate of the encoder beside the classifier's, `train.lr`; 0 leaves the encoder as it is.
    pub encoder_lr: f64,
    /// Epochs at the start in which the encoder rests in any case.
    pub frozen_epochs: u32,
    /// A directory in which label weights and their optimizer's state are mapped files; empty for the heap, where the
    /// limit of memory allows it.
    pub scratch: String,
}

impl Default for HeadConfig {
    fn default() -> HeadConfig {
        HeadConfig {
            name: "none".into(),
            loss: "bce".into(),
            labels: "auto".into(),
            temperature: 0.05,
            dropout: 0.5,
            shortlist: 32,
            mined: 4,
            uniform: 512,
            refresh_epochs: 1,
            optimizer: "adam".into(),
            precision: "f32".into(),
            encoder_lr: 0.0,
            frozen_epochs: 0,
            scratch: String::new(),
        }
    }
}

impl HeadConfig {
    /// Whether a classifier is learned.
    pub fn is_on(&self) -> bool {
        self.name == "classifier"
    }
    /// Whether the encoder rests in this epoch.
    pub fn is_frozen(&self, epoch: u32) -> bool {
        self.encoder_lr == 0.0 || epoch < self.frozen_epochs
    }
    /// Whether a score is a cosine; else it is the inner product with a weight vector of any length.
    pub fn is_cosine(&self) -> bool {
        self.loss == "triplets"
    }
    /// Checks ranges and names.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self) -> Result<()> {
        let one_of = |key: &str, names: &[&str], got: &str| match names.contains(&got) {
            true => Ok(()),
            false => {
                Err(Error::input(format!("`head.{key}` must be one of {}, it is {got}", names.join(", "))))
            }
        };
        one_of("name", &["none", "classifier"], &self.name)?;
        one_of("loss", &LOSSES, &self.loss)?;
        one_of("labels", &["auto", "all", "sampled"], &self.labels)?;
        one_of("optimizer", &["adam", "adagrad", "sgd"], &self.optimizer)?;
        one_of("precision", &["f32", "bf16"], &self.precision)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::input(format!("`head.dropout` must be in [0, 1), it is {}", self.dropout)));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let got = self.temperature;
            return Err(Error::input(format!("`head.temperature` must be above 0, it is {got}")));
        }
        if !(self.encoder_lr >= 0.0 && self.encoder_lr.is_finite()) {
            let got = self.encoder_lr;
            return Err(Error::input(format!("`head.encoder_lr` must be 0 or more, it is {got}")));
        }
        if self.refresh_epochs == 0 {
            return Err(Error::input("`head.refresh_epochs` must be at least 1, it is 0"));
        }
        if self.labels == "all" && self.loss != "bce" {
            return Err(Error::input(format!(
                "`head.labels = all` works with the loss bce, not {}",
                self.loss
            ))
            .help("leave head.labels at auto, or make head.uniform as large as the set of labels"));
        }
        Ok(())
    }
}
