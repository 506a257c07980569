//! The classifier of a run: label weights that are learned beside an encoder, or on top of one that rests.

use super::TrainConfig;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// Names of the losses of a classifier.
pub const LOSSES: [&str; 7] = ["bce", "supcon", "decoupled", "softtopk", "triplets", "lambdamrr", "zloss"];

/// What is learned besides the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// `classifier` learns a weight vector for every label, `none` trains the encoder alone.
    pub name: String,
    /// `bce`, `supcon`, `decoupled`, `softtopk`, `triplets`, `lambdamrr` with live labels, or `zloss` with factored
    /// ones.
    pub loss: String,
    /// Which labels a step scores: `all` (bce only), `sampled`, `live` for those that the step itself finds nearest to
    /// each query, `factored` (zloss only) for all labels through sums that are kept of them, at a cost that does not
    /// grow with their number; or `auto`, which is factored for zloss, all where they are few, and sampled elsewhere.
    pub labels: String,
    /// Scores are divided by it to become logits. The Z-loss has none.
    pub temperature: f64,
    /// Z-loss: how sharply it turns where a label stands high enough.
    pub z_sharpness: f64,
    /// Z-loss: how many standard deviations above the mean of all scores are high enough.
    pub z_location: f64,
    /// Share of the numbers of a query's embedding that a step does not see.
    pub dropout: f32,
    /// Sampled: the labels nearest to each query that its hard negatives are drawn from; 0 for none. Live: the labels
    /// nearest to each query, all of them.
    pub shortlist: usize,
    /// Sampled: hard negatives drawn for each query of a batch.
    pub mined: usize,
    /// Sampled: labels drawn uniformly for the whole batch, each standing for many.
    pub uniform: usize,
    /// Sampled: look for the nearest labels anew every so many epochs.
    pub refresh_epochs: u32,
    /// `adam` (8 bytes of state a weight), `adagrad` (4 bytes a label) or `sgd` (none). `none` leaves label weights
    /// what they began as: the encoder alone learns, and `train.lr` is its rate.
    pub optimizer: String,
    /// `f32`, or `bf16` with stochastic rounding.
    pub precision: String,
    /// Learning rate of the encoder beside the classifier's, `train.lr`; 0 leaves the encoder as it is.
    pub encoder_lr: f64,
    /// Epochs at the start in which the encoder rests in any case.
    pub frozen_epochs: u32,
    /// Sampled, with an encoder that learns: the share λ of the loss by which queries are compared with the texts of
    /// the labels that a step scores, beside their weights (UniDEC); 0 encodes no text of a label.
    pub text_share: f64,
    /// Who gives soft targets to the texts of labels (LEVER): a run or a model directory, or `start` for the model that
    /// the run starts from; empty for none. With bce, and `train.label_texts`.
    pub teacher: String,
    /// Teacher: how many of the labels nearest to the text of a label have one.
    pub near_labels: usize,
    /// Teacher: the least cosine of a near label.
    pub near_cosine: f32,
    /// Teacher: how likely a near label is: `linear`, (cosine + 1)/2, or `sigmoid`, fitted to held-out queries.
    pub relevance: String,
    /// Teacher: the weight λ of what the data say beside what it says.
    pub hard_share: f64,
    /// A directory in which label weights and their optimizer's state are mapped files; empty for the heap, where the
    /// limit of memory allows it.
    pub scratch: String,
    /// With a device, where label weights and their optimizer's state lie and are moved: `device`, `cpu` (the heap, or
    /// files), or `auto`: on the device where half of its memory holds them, unless `head.scratch` is set. Factors
    /// (`zloss`) lie on the CPU.
    pub memory: String,
}

impl Default for HeadConfig {
    fn default() -> HeadConfig {
        HeadConfig {
            name: "none".into(),
            loss: "bce".into(),
            labels: "auto".into(),
            temperature: 0.05,
            z_sharpness: 1.0,
            z_location: 0.0,
            dropout: 0.5,
            shortlist: 32,
            mined: 4,
            uniform: 512,
            refresh_epochs: 1,
            optimizer: "adam".into(),
            precision: "f32".into(),
            encoder_lr: 0.0,
            frozen_epochs: 0,
            text_share: 0.0,
            teacher: String::new(),
            near_labels: 15,
            near_cosine: 0.6,
            relevance: "linear".into(),
            hard_share: 0.5,
            scratch: String::new(),
            memory: "auto".into(),
        }
    }
}

impl HeadConfig {
    /// Whether a classifier is learned.
    pub fn is_on(&self) -> bool {
        self.name == "classifier"
    }
    /// Whether label weights stay what they began as.
    pub fn labels_rest(&self) -> bool {
        self.optimizer == "none"
    }
    /// Whether the encoder never learns.
    pub fn encoder_rests(&self) -> bool {
        self.encoder_lr == 0.0 && !self.labels_rest()
    }
    /// Whether the encoder rests in this epoch.
    pub fn is_frozen(&self, epoch: u32) -> bool {
        self.encoder_rests() || epoch < self.frozen_epochs
    }
    /// Whether the texts of labels are compared with queries, too.
    pub fn has_texts(&self) -> bool {
        self.is_on() && self.text_share > 0.0
    }
    /// Whether a step looks for its negatives itself.
    pub fn is_live(&self) -> bool {
        self.labels == "live"
    }
    /// Whether a score is a cosine; else it is the inner product with a weight vector of any length.
    pub fn is_cosine(&self) -> bool {
        self.loss == "triplets"
    }
    /// Whether a classifier is learned from a teacher, too.
    pub fn has_teacher(&self) -> bool {
        self.is_on() && !self.teacher.is_empty()
    }
    /// Checks ranges and names.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, train: &TrainConfig) -> Result<()> {
        let one_of = |key: &str, names: &[&str], got: &str| match names.contains(&got) {
            true => Ok(()),
            false => {
                Err(Error::input(format!("`head.{key}` must be one of {}, it is {got}", names.join(", "))))
            }
        };
        one_of("name", &["none", "classifier"], &self.name)?;
        one_of("loss", &LOSSES, &self.loss)?;
        one_of("labels", &["auto", "all", "sampled", "live", "factored"], &self.labels)?;
        one_of("optimizer", &["adam", "adagrad", "sgd", "none"], &self.optimizer)?;
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
        one_of("relevance", &["linear", "sigmoid"], &self.relevance)?;
        if !(-1.0..=1.0).contains(&self.near_cosine) {
            let got = self.near_cosine;
            return Err(Error::input(format!("`head.near_cosine` must be in [-1, 1], it is {got}")));
        }
        if !(0.0..1.0).contains(&self.hard_share) {
            let what = format!("`head.hard_share` must be in [0, 1), it is {}", self.hard_share);
            return Err(Error::input(what).help("without head.teacher the data alone have a say"));
        }
        if self.has_teacher() && self.near_labels == 0 {
            return Err(Error::input("`head.near_labels` must be at least 1 with a teacher, it is 0"));
        }
        if self.has_teacher() && self.loss != "bce" {
            let what = "`head.teacher` says how likely each label is, and the loss";
            return Err(Error::input(format!("{what} {} does not ask of each by itself", self.loss))
                .help("--set head.loss=bce"));
        }
        if self.has_teacher() && !train.label_texts {
            let what =
                "`head.teacher` gives targets to the texts of labels, which are no queries of this run";
            return Err(Error::input(what).help("--set train.label_texts=true"));
        }
        self.check_texts()?;
        self.check_live()?;
        self.check_rest()?;
        self.check_factored()?;
        self.check_memory(train)?;
        if self.labels == "all" && self.loss != "bce" {
            return Err(Error::input(format!(
                "`head.labels = all` works with the loss bce, not {}",
                self.loss
            ))
            .help("leave head.labels at auto, or make head.uniform as large as the set of labels"));
        }
        Ok(())
    }
    /// What is looked for in the step itself.
    fn check_live(&self) -> Result<()> {
        let wrong = |what: &str, help: &str| Err(Error::input(what).help(help));
        match (self.is_live(), self.loss == "lambdamrr") {
            (true, _) if !self.is_on() => wrong(
                "`head.labels = live` is of a classifier, and this run learns none",
                "--head classifier",
            ),
            (true, _) if self.shortlist == 0 => wrong(
                "`head.shortlist` says how many labels each query finds with `head.labels = live`, it is 0",
                "--set head.shortlist=200",
            ),
            (true, _) if self.has_teacher() => wrong(
                "`head.teacher` gives targets to labels that a live search may not find",
                "leave head.labels at auto",
            ),
            (false, true) => wrong(
                "`head.loss = lambdamrr` weighs labels by their ranks, which only a search in the step knows",
                "--set head.labels=live",
            ),
            _ => Ok(()),
        }
    }
    /// Where label weights lie.
    fn check_memory(&self, train: &TrainConfig) -> Result<()> {
        if !["auto", "cpu", "device"].contains(&&*self.memory) {
            let got = &self.memory;
            return Err(Error::input(format!("`head.memory` must be one of auto, cpu, device, it is {got}")));
        }
        let wrong = |why: &str, help: &str| {
            let what = format!("`head.memory = device` keeps label weights on a device, and {why}");
            Err(Error::input(what).help(help))
        };
        match self.memory == "device" {
            true if !self.is_on() => wrong("this run learns none", "--head classifier"),
            true if train.device == "cpu" => wrong("this run has none", "--device cuda:0"),
            true if !self.scratch.is_empty() => {
                wrong("`head.scratch` keeps them in files", "leave one of the two away")
            }
            true if self.loss == "zloss" => {
                wrong("the factors of zloss are moved by the CPU", "leave head.memory at auto")
            }
            _ => Ok(()),
        }
    }
    /// What is learned through factors.
    fn check_factored(&self) -> Result<()> {
        let wrong = |what: String, help: &str| Err(Error::input(what).help(help));
        if !(self.z_sharpness > 0.0 && self.z_sharpness.is_finite()) {
            let got = self.z_sharpness;
            return Err(Error::input(format!("`head.z_sharpness` must be above 0, it is {got}")));
        }
        if !self.z_location.is_finite() {
            let got = self.z_location;
            return Err(Error::input(format!("`head.z_location` must be a number, it is {got}")));
        }
        let defaults = HeadConfig::default();
        let are_set = (self.z_sharpness, self.z_location) != (defaults.z_sharpness, defaults.z_location);
        if self.is_on() && self.loss != "zloss" && are_set {
            return wrong(
                format!(
                    "`head.z_sharpness` and `head.z_location` are of the loss zloss, and this is {}",
                    self.loss
                ),
                "--set head.loss=zloss, or leave them away",
            );
        }
        let of = "`head.loss = zloss` learns all labels through factors";
        if !self.is_on() && self.labels != "factored" {
            return Ok(());
        }
        match (self.loss == "zloss", &*self.labels) {
            (true, _) if !self.is_on() => Ok(()),
            (false, "factored") if !self.is_on() => wrong(
                "`head.labels = factored` is of a classifier, and this run learns none".into(),
                "--head classifier",
            ),
            (false, "factored") => wrong(
                format!(
                    "`head.labels = factored` works with the loss zloss, not {}: of all scores only their sum and \
                         their sum of squares are known",
                    self.loss
                ),
                "--set head.loss=zloss",
            ),
            (true, "all" | "sampled" | "live") => {
                wrong(format!("{of}, and `head.labels` is {}", self.labels), "--set head.labels=factored")
            }
            (true, _) if self.optimizer != "sgd" => wrong(
                format!(
                    "{of}, which plain descent alone can move, and `head.optimizer` is {}",
                    self.optimizer
                ),
                "--set head.optimizer=sgd",
            ),
            (true, _) if self.precision != "f32" => wrong(
                format!(
                    "{of}, which rounding to {} would take out of step with what is known of them",
                    self.precision
                ),
                "--set head.precision=f32",
            ),
            _ => Ok(()),
        }
    }
    /// What compares queries with the texts of labels in the step.
    fn check_texts(&self) -> Result<()> {
        let wrong = |what: String, help: &str| Err(Error::input(what).help(help));
        let share = self.text_share;
        if !(0.0..1.0).contains(&share) {
            let what = format!("`head.text_share` must be in [0, 1), it is {share}");
            return wrong(what, "at 1 no label weight would learn: train an encoder without a classifier");
        }
        let of = format!("`head.text_share` is {share}, by which");
        match share > 0.0 {
            false => Ok(()),
            true if !self.is_on() => wrong(
                "`head.text_share` is of a classifier, and this run learns none".into(),
                "--head classifier",
            ),
            true if self.encoder_rests() => wrong(
                format!("{of} an encoder learns from the texts of labels, and it rests"),
                "--set head.encoder_lr=1e-4",
            ),
            true if self.has_teacher() => wrong(
                format!(
                    "{of} labels are compared by their texts, and `head.teacher` has targets for weights alone"
                ),
                "leave one of them away",
            ),
            true if self.loss == "zloss" || !["auto", "sampled"].contains(&&*self.labels) => wrong(
                format!(
                    "{of} the texts of all labels that a step scores are encoded in it: they must be known before, \
                     and few; this is head.loss = {}, head.labels = {}",
                    self.loss, self.labels
                ),
                "--set head.labels=sampled, with another loss than zloss and lambdamrr",
            ),
            true => Ok(()),
        }
    }
    /// What learns where labels rest.
    fn check_rest(&self) -> Result<()> {
        let wrong = |what: &str, help: &str| Err(Error::input(what).help(help));
        if !self.labels_rest() {
            return Ok(());
        }
        if !self.is_on() {
            return wrong(
                "`head.optimizer = none` is of a classifier, and this run learns none",
                "--head classifier",
            );
        }
        if self.encoder_lr != 0.0 {
            let what = "with `head.optimizer = none` the encoder alone learns, and its rate is `train.lr`, not \
                        `head.encoder_lr`";
            return wrong(what, "--lr RATE");
        }
        if self.frozen_epochs > 0 {
            return wrong(
                "with `head.optimizer = none` nothing would learn while the encoder rests",
                "--set head.frozen_epochs=0",
            );
        }
        Ok(())
    }
}
