//! The configuration of a run: every value, its default, and where it came from.
//!
//! ```text
//! flag  >  --set a.b=c  >  file (--config run.toml)  >  default
//! ```
//! [`Settings`] stacks these layers and remembers the origin of each value; [`Settings::config`] gives the typed
//! [`Config`]. A run directory keeps the result with the origins as comments, and `lode resume` reads it back.

mod head;

pub use head::{HeadConfig, LOSSES};

use engine::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is learned from.
    pub data: DataConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// How long, how fast, in which portions.
    pub train: TrainConfig,
    /// Who shares a batch.
    pub composer: ComposerConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// What is learned besides the encoder.
    pub head: HeadConfig,
    /// What is written when.
    pub save: SaveConfig,
}

/// What is learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The data set that `lode prepare` wrote.
    pub path: PathBuf,
    /// Queries held out of training to validate on, per thousand. The test set is never touched.
    pub validation_per_mille: u32,
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// A model directory, a run, or the name of a fresh shape: `bag`, `tiny`, `small`.
    pub source: String,
    /// Width of a fresh model; 0 for the shape's own.
    pub width: usize,
    /// A trained `bag` (model directory or run) whose token embeddings a fresh transformer starts from; empty for none.
    pub embeddings: String,
    /// Dropout of the encoder in training; below 0 for what the model's own configuration says.
    pub dropout: f32,
    /// Forget the inside of each layer after forward and compute it again in backward.
    pub recompute: bool,
}

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
    /// Texts that are encoded at once with a tape; 0 for the whole batch. Smaller needs less memory and more time
    /// (GradCache); the gradient is the same.
    pub chunk: usize,
    /// Batches whose gradients are added before an update.
    pub accumulate: u32,
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
    /// The seed from which all randomness of the run follows.
    pub seed: u64,
    /// Train on the first batch only: a debugging aid, the loss must go to zero.
    pub overfit_batch: bool,
}

/// Who shares a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerConfig {
    /// The name of a recipe ([`crate::recipes::RECIPES`]): `ngame` (clusters of near queries), `shuffled` …
    pub name: String,
    /// Wished cluster sizes, `"epoch:size"` from that epoch on; empty for the default of the epochs at hand.
    pub sizes: Vec<String>,
    /// Cluster anew every so many epochs.
    pub refresh_epochs: u32,
    /// Epochs with random batches at the start.
    pub warmup_epochs: u32,
}

/// What is minimised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// `infonce` or `triplet`.
    pub name: String,
    /// InfoNCE: temperature of the softmax. Triplet: temperature of the weights of hard negatives.
    pub temperature: f64,
    /// InfoNCE: also from labels to queries.
    pub symmetric: bool,
    /// Triplet: the margin γ.
    pub margin: f64,
    /// Negatives a row: the k hardest of the batch; 0 for all (InfoNCE).
    pub hardest: usize,
}

/// What is written when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaveConfig {
    /// Seconds between checkpoints; 0 for only at the end.
    pub every_seconds: f64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between validations; 0 for the end of each epoch.
    pub validate_every: u64,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig { path: PathBuf::new(), validation_per_mille: 20 }
    }
}
impl Default for ModelConfig {
    fn default() -> ModelConfig {
        ModelConfig {
            source: String::new(),
            width: 0,
            embeddings: String::new(),
            dropout: -1.0,
            recompute: false,
        }
    }
}
impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            epochs: 3,
            steps: 0,
            batch: 256,
            positives: 1,
            chunk: 0,
            accumulate: 1,
            lr: 1e-4,
            schedule: "linear".into(),
            warmup_steps: 50,
            weight_decay: 0.01,
            decay_all: false,
            clip: 1.0,
            seed: 0,
            overfit_batch: false,
        }
    }
}
impl Default for ComposerConfig {
    fn default() -> ComposerConfig {
        ComposerConfig { name: "ngame".into(), sizes: vec![], refresh_epochs: 1, warmup_epochs: 0 }
    }
}
impl Default for LossConfig {
    fn default() -> LossConfig {
        LossConfig { name: "infonce".into(), temperature: 0.05, symmetric: false, margin: 0.3, hardest: 0 }
    }
}
impl Default for SaveConfig {
    fn default() -> SaveConfig {
        SaveConfig { every_seconds: 300.0, keep: 2, log_every: 10, validate_every: 0 }
    }
}

impl TrainConfig {
    /// The largest global norm of the gradient; infinite where nothing is clipped.
    pub fn norm_max(&self) -> f64 {
        if self.clip > 0.0 { self.clip } else { f64::INFINITY }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// `--set`.
    Set,
    /// A flag of the command line.
    Flag(&'static str),
    /// The recipe chosen, where its own default differs.
    Recipe(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Set => write!(f, "--set"),
            Origin::Flag(flag) => write!(f, "{flag}"),
            Origin::Recipe(name) => write!(f, "recipe {name}"),
        }
    }
}

/// The layers of a configuration and the origin of each value.
#[derive(Clone, Debug)]
pub struct Settings {
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Default for Settings {
    fn default() -> Settings {
        let table = Table::try_from(Config::default()).expect("the defaults are plain values");
        let origins = keys(&table).into_iter().map(|k| (k, Origin::Default)).collect();
        Settings { table, origins }
    }
}

/// Key and value of an `a.b=c`.
fn parsed(assignment: &str) -> Result<(&str, Value)> {
    let Some((key, value)) = assignment.split_once('=') else {
        let error = Error::input(format!("`{assignment}` is not of the form a.b=c"));
        return Err(error.help("for example train.lr=3e-5"));
    };
    let text = value.trim();
    let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    Ok((key.trim(), value.unwrap_or_else(|| text.into())))
}

/// All keys, as `section.name`.
fn keys(table: &Table) -> Vec<String> {
    let names = |(section, values): (&String, &Value)| -> Vec<String> {
        values.as_table().into_iter().flat_map(|t| t.keys().map(|k| format!("{section}.{k}"))).collect()
    };
    table.iter().flat_map(names).collect()
}

impl Settings {
    /// Lays a configuration file over what is there.
    ///
    /// # Errors
    /// If the file cannot be read or parsed, or has an unknown key or a value of a wrong type: with the line.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let table: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |s| 1 + text[..s.start].matches('\n').count()) as u64;
            let shown = text.lines().nth(line as usize - 1).unwrap_or("");
            Error::input(format!("this is not TOML: {}", e.message()))
                .at_line(path, line, None)
                .showing(shown)
        })?;
        for (section, values) in &table {
            let Some(values) = values.as_table() else {
                return Err(self.unknown(section).at(path));
            };
            for (name, value) in values {
                let key = format!("{section}.{name}");
                self.put(&key, value.clone(), Origin::File(path.to_owned())).map_err(|e| {
                    let is_key = |l: &str| l.split_once('=').is_some_and(|(k, _)| k.trim() == name);
                    let head = text.lines().position(|l| l.trim() == format!("[{section}]")).unwrap_or(0);
                    let line = text.lines().skip(head).position(is_key).map(|i| head + i);
                    let shown = line.and_then(|i| text.lines().nth(i)).unwrap_or("");
                    e.at_line(path, line.map_or(1, |i| i as u64 + 1), None).showing(shown)
                })?;
            }
        }
        Ok(())
    }
    /// Lays one `a.b=c` over what is there. The value is read as TOML; what is no TOML is a string.
    ///
    /// # Errors
    /// If there is no `=`, or the key is unknown, or the value has a wrong type.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = parsed(assignment)?;
        self.put(key, value, Origin::Set)
    }
    /// Lays the value of a flag over what is there.
    ///
    /// # Errors
    /// If the value has a wrong type.
    pub fn flag(&mut self, key: &str, value: impl Into<Value>, flag: &'static str) -> Result<()> {
        self.put(key, value.into(), Origin::Flag(flag))
    }
    /// A recipe's own default: it replaces a built-in default and nothing that the user said.
    ///
    /// # Errors
    /// If the value has a wrong type.
    pub fn recipe(&mut self, key: &str, value: impl Into<Value>, recipe: &'static str) -> Result<()> {
        if self.origin(key) == Some(&Origin::Default) {
            self.put(key, value.into(), Origin::Recipe(recipe))?;
        }
        Ok(())
    }
    /// As [`Settings::recipe`], of an `a.b=c`.
    /// # Errors
    /// As [`Settings::set`].
    pub fn preset(&mut self, assignment: &str, recipe: &'static str) -> Result<()> {
        let (key, value) = parsed(assignment)?;
        self.recipe(key, value, recipe)
    }
    /// Where a value came from.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }
    fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<()> {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let slot = self.table.get_mut(section).and_then(|s| s.get_mut(name));
        let Some(slot) = slot else { return Err(self.unknown(key)) };
        let value = match (&*slot, value) {
            (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
            (_, value) => value,
        };
        if slot.type_str() != value.type_str() {
            let (want, got) = (slot.type_str(), value.type_str());
            return Err(Error::input(format!("`{key}` is a {want}, this is a {got}: {value}")));
        }
        *slot = value;
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }
    fn unknown(&self, key: &str) -> Error {
        let error = Error::input(format!("unknown key `{key}`"));
        let near = self.origins.keys().max_by(|a, b| {
            let likeness = |k: &str| {
                strsim::jaro_winkler(k, key).max(strsim::jaro_winkler(k.rsplit('.').next().unwrap_or(k), key))
            };
            likeness(a).total_cmp(&likeness(b))
        });
        match near {
            Some(near) => error.help(format!("did you mean `{near}`? `lode train --print-config` lists all")),
            None => error,
        }
    }
    /// The typed configuration.
    ///
    /// # Errors
    /// If a value lies outside its range.
    pub fn config(&self) -> Result<Config> {
        let config: Config = self
            .table
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| Error::input(format!("configuration: {}", e.message())))?;
        config.check()?;
        Ok(config)
    }
}

impl fmt::Display for Settings {
    /// TOML, with the origin of each value as a comment. It reads back as a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (section, values) in &self.table {
            writeln!(f, "[{section}]")?;
            for (name, value) in values.as_table().into_iter().flatten() {
                let origin = self.origins.get(&format!("{section}.{name}")).unwrap_or(&Origin::Default);
                writeln!(f, "{:<42} # {origin}", format!("{name} = {value}"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Config {
    /// Checks ranges.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    fn check(&self) -> Result<()> {
        let t = &self.train;
        let wrong = |key: &str, range: &str, got: &dyn fmt::Display| {
            Err(Error::input(format!("`{key}` must be {range}, it is {got}")))
        };
        if t.batch < 2 {
            return wrong("train.batch", "at least 2: a batch of one has no negative", &t.batch);
        }
        if !(t.lr > 0.0 && t.lr.is_finite()) {
            return wrong("train.lr", "above 0", &t.lr);
        }
        if t.epochs == 0 && t.steps == 0 {
            return wrong("train.epochs", "at least 1 (or train.steps)", &t.epochs);
        }
        if t.accumulate == 0 {
            return wrong("train.accumulate", "at least 1", &t.accumulate);
        }
        if !(t.clip >= 0.0 && t.weight_decay >= 0.0) {
            return wrong("train.clip and train.weight_decay", "0 or more", &t.clip.min(t.weight_decay));
        }
        if !["linear", "cosine", "constant"].contains(&&*t.schedule) {
            return wrong("train.schedule", "linear, cosine or constant", &t.schedule);
        }
        if self.model.dropout >= 1.0 {
            return wrong("model.dropout", "below 1", &self.model.dropout);
        }
        if !(self.loss.temperature > 0.0 && self.loss.temperature.is_finite()) {
            return wrong("loss.temperature", "above 0", &self.loss.temperature);
        }
        if !["infonce", "triplet"].contains(&&*self.loss.name) {
            return wrong("loss.name", "infonce or triplet", &self.loss.name);
        }
        crate::recipes::find(&self.composer.name)?;
        if self.composer.refresh_epochs == 0 {
            return wrong("composer.refresh_epochs", "at least 1", &0);
        }
        if self.data.validation_per_mille > 500 {
            return wrong("data.validation_per_mille", "at most 500", &self.data.validation_per_mille);
        }
        if self.head.is_on() && t.accumulate > 1 {
            return wrong("train.accumulate", "1 with a classifier", &t.accumulate);
        }
        self.head.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(e: Error) -> String {
        e.to_string()
    }

    #[test]
    fn later_layers_win_and_origins_are_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[train]\nlr = 1e-3\nbatch = 64\n").expect("written");
        let mut s = Settings::default();
        s.file(&path).expect("a file");
        s.set("train.lr=2e-3").expect("a value");
        s.flag("train.epochs", 7, "--epochs").expect("a value");
        s.recipe("train.batch", 9, "ngame").expect("no effect");
        s.recipe("loss.hardest", 9, "ngame").expect("an effect");
        let c = s.config().expect("valid");
        assert_eq!((c.train.lr, c.train.batch, c.train.epochs, c.loss.hardest), (2e-3, 64, 7, 9));
        let text = s.to_string();
        assert!(
            text.contains("lr = 0.002") && text.contains("# --set") && text.contains("# --epochs"),
            "{text}"
        );
        let again = dir.path().join("again.toml");
        std::fs::write(&again, text).expect("written");
        let mut back = Settings::default();
        back.file(&again).expect("reads back");
        assert_eq!(back.config().expect("valid"), c);
    }

    #[test]
    fn wrong_keys_and_values_are_named_with_their_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = |text: &str, want: &str| {
            let path = dir.path().join("run.toml");
            std::fs::write(&path, text).expect("written");
            let mut s = Settings::default();
            let e = message(s.file(&path).and_then(|()| s.config().map(|_| ())).expect_err("wrong"));
            assert!(e.contains(want), "{e}");
        };
        check(
            "[train]\nbatch = 4\nlrr = 1.0\n",
            "run.toml:3: unknown key `train.lrr`\n  | lrr = 1.0\n  = help: did you mean `train.lr`?",
        );
        check("[train]\nbatch = \"x\"\n", "run.toml:2: `train.batch` is a integer, this is a string");
        check("[composer]\nname = \"ngame\"\n[loss]\nname = 3\n", "run.toml:4: `loss.name` is a string");
        check("[train\n", "run.toml:1: this is not TOML");
        check("[train]\nbatch = 1\n", "`train.batch` must be at least 2");
        check("[loss]\nname = \"infonec\"\n", "`loss.name` must be infonce or triplet");
        assert!(message(Settings::default().set("lr").expect_err("no =")).contains("a.b=c"));
        assert!(
            message(Settings::default().set("lr=1").expect_err("no section"))
                .contains("did you mean `train.lr`")
        );
    }
}
