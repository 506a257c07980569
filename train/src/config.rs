//! The configuration of a run: every value, its default and its range. [`Settings`] says where each comes from.

mod auxiliary;
mod cross;
mod head;
mod memory;
mod negatives;
mod save;
mod selection;
mod settings;
mod train;

pub use auxiliary::AuxiliaryConfig;
pub use cross::CrossConfig;
pub(crate) use cross::OWN;
pub use head::{HeadConfig, LOSSES};
pub use memory::MemoryConfig;
pub use negatives::{GuideConfig, NegativesConfig};
pub use save::SaveConfig;
pub use selection::SelectionConfig;
pub use settings::{Origin, Settings};
pub use train::TrainConfig;

use crate::batch::Similarity;
use engine::{Error, Result};
use samplers::Block;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

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
    /// How negatives are found: a name for a choice of what follows.
    pub strategy: StrategyConfig,
    /// Who shares a batch.
    pub composer: ComposerConfig,
    /// What a batch is scored against.
    pub negatives: NegativesConfig,
    /// Who judges negatives.
    pub guide: GuideConfig,
    /// A cross-encoder that learns, too.
    pub cross: CrossConfig,
    /// What is remembered of batches and epochs before.
    pub memory: MemoryConfig,
    /// Who was looked at: a model that learns it.
    pub selection: SelectionConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// Vectors beside the texts of labels.
    pub auxiliary: AuxiliaryConfig,
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
    /// Queries held out of training to validate on, per thousand. Nothing is chosen by the test set.
    pub validation_per_mille: u32,
    /// All that answers the training queries, where it is known (`data::read_judgements`): false negatives are counted
    /// by it, and nothing learns from it. Empty where it is not.
    pub truth: PathBuf,
    /// Pairs that must not be negatives, one a line as for `data::read_judgements`: labels that may well be right for a
    /// training query and were not given to it. Empty where there is none.
    pub exclude: PathBuf,
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
    /// How the tokens of a text become one vector: as the model says (empty), or `latent`: a latent attention stands
    /// before their mean. Added to a model that has none and takes the mean, it changes nothing before the first step.
    pub pooling: String,
    /// Latent pooling: rows of the table that all tokens look at; 0 for one for each channel, 512 at most.
    pub latents: usize,
    /// Latent pooling: attention heads; 0 for 8, or fewer where these would have less than 16 channels.
    pub latent_heads: usize,
    /// Latent pooling: channels of a head; 0 for a share of the width.
    pub latent_channels: usize,
    /// Whether the tokens of prompts (`lode prepare --query-prompt`) are pooled with those of the texts behind them:
    /// `pooled`, `apart` (they are read and not pooled), or empty for what the model says; a fresh one pools them.
    /// Where there is no prompt, or the first token is taken, that is the same. A guide that is the start
    /// (`guide.model=start`) pools as the run does.
    pub prompts: String,
    /// Dropout of the encoder in training; below 0 for what the model's own configuration says.
    pub dropout: f32,
    /// Forget the inside of each layer after forward and compute it again in backward.
    pub recompute: bool,
}

/// How negatives are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StrategyConfig {
    /// The name of a recipe ([`crate::recipes::RECIPES`]): it sets what nobody said.
    pub name: String,
}

/// Who shares a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerConfig {
    /// `ngame` (clusters of near ones) or `shuffled`.
    pub name: String,
    /// Batches are composed of `queries`, each with one of its labels, or of `labels`, each with one of its queries.
    pub of: String,
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
    /// `infonce`, `triplet`, `pairwise`, `cosent`, `debiased`, `margin-mse`, `distil` or `ar2`.
    pub name: String,
    /// What a batch is scored by: `cosine`, or `angle`, of embeddings read as complex numbers. Predictions go by the
    /// cosine.
    pub similarity: String,
    /// Temperature of the scores. Triplet: of the weights of hard negatives.
    pub temperature: f64,
    /// InfoNCE: also from labels to queries.
    pub symmetric: bool,
    /// What a row is scored against: `query-label`, and as further columns `query-query`, `label-query`, `label-label`.
    pub blocks: Vec<String>,
    /// Added to the logits of negatives: so much times their score.
    pub hardness: f64,
    /// Debiased: the share of positives among what is drawn as negatives.
    pub false_negatives: f64,
    /// Debiased: how much hard negatives outweigh the others.
    pub concentration: f64,
    /// Distil, AR2: temperature of the teacher's scores.
    pub teacher_temperature: f64,
    /// AR2: what the adversarial term weighs, against what is left to distillation.
    pub adversarial: f64,
    /// Triplet: the margin γ.
    pub margin: f64,
    /// Negatives a row: the k hardest of the batch; 0 for all (InfoNCE).
    pub hardest: usize,
    /// What the columns that were not drawn for a row weigh together, its own ones weighing 1; below 0 for each as much
    /// as any other.
    pub others: f64,
    /// InfoNCE: the share of the rows of a batch that count, those with the highest loss; 1 for all.
    pub top_rows: f64,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            path: PathBuf::new(),
            validation_per_mille: 20,
            truth: PathBuf::new(),
            exclude: PathBuf::new(),
        }
    }
}
impl Default for ModelConfig {
    fn default() -> ModelConfig {
        ModelConfig {
            source: String::new(),
            width: 0,
            embeddings: String::new(),
            pooling: String::new(),
            prompts: String::new(),
            latents: 0,
            latent_heads: 0,
            latent_channels: 0,
            dropout: -1.0,
            recompute: false,
        }
    }
}
impl Default for StrategyConfig {
    fn default() -> StrategyConfig {
        StrategyConfig { name: "ngame".into() }
    }
}
impl Default for ComposerConfig {
    fn default() -> ComposerConfig {
        ComposerConfig {
            name: "ngame".into(),
            of: "queries".into(),
            sizes: vec![],
            refresh_epochs: 1,
            warmup_epochs: 0,
        }
    }
}
impl Default for LossConfig {
    fn default() -> LossConfig {
        LossConfig {
            name: "infonce".into(),
            similarity: "cosine".into(),
            temperature: 0.05,
            symmetric: false,
            blocks: vec!["query-label".into()],
            hardness: 0.0,
            false_negatives: 0.0,
            concentration: 0.0,
            teacher_temperature: 0.05,
            adversarial: 0.5,
            margin: 0.3,
            hardest: 0,
            others: -1.0,
            top_rows: 1.0,
        }
    }
}

impl LossConfig {
    /// Whether it learns from what a guide or a cross-encoder scores.
    pub fn is_taught(&self) -> bool {
        ["margin-mse", "distil", "ar2"].contains(&&*self.name)
    }
    /// The blocks of a row's columns.
    ///
    /// # Errors
    /// If a name is unknown, or the first one is not that of queries against labels, where the targets are.
    pub fn blocks(&self) -> Result<Vec<Block>> {
        let blocks: Vec<Block> = self
            .blocks
            .iter()
            .map(|name| name.parse().map_err(|what: String| Error::input(format!("`loss.blocks`: {what}"))))
            .collect::<Result<_>>()?;
        let twice = (1..blocks.len()).any(|i| blocks[..i].contains(&blocks[i]));
        if blocks.first() != Some(&Block::QueryLabel) || twice {
            let e = Error::input(format!("`loss.blocks` are {:?}", self.blocks));
            return Err(e.help("query-label comes first, where the positives are; each block once"));
        }
        Ok(blocks)
    }
    /// What a batch is scored by.
    ///
    /// # Errors
    /// If the name is unknown.
    pub fn similarity(&self) -> Result<Similarity> {
        match &*self.similarity {
            "cosine" => Ok(Similarity::Cosine),
            "angle" => Ok(Similarity::Angle),
            got => Err(Error::input(format!("`loss.similarity` must be one of cosine, angle, it is {got}"))),
        }
    }
    /// Demands that embeddings of this width can be scored.
    ///
    /// # Errors
    /// If they have no halves for angles.
    pub(crate) fn demand_width(&self, width: usize) -> Result<()> {
        match self.similarity()? == Similarity::Cosine || width.is_multiple_of(2) {
            true => Ok(()),
            false => Err(Error::input(format!("`loss.similarity=angle` needs an even width, it is {width}"))
                .help("--set loss.similarity=cosine")),
        }
    }
    /// Checks what does not go with angles.
    ///
    /// # Errors
    /// Names what has no meaning, or would be measured in cosines.
    fn check_similarity(&self, of: &Config) -> Result<()> {
        if self.similarity()? == Similarity::Cosine {
            return Ok(());
        }
        let rules = [
            (of.head.is_on(), "and this run learns a classifier"),
            (!of.guide.model.is_empty(), "and a guide measures cosines: guide.model"),
            (of.memory.queue > 0, "and a queue is met in cosines: memory.queue"),
            (self.blocks.len() > 1, "of queries against labels alone: loss.blocks"),
            (self.name == "debiased", "and the debiased loss knows the least that cosines can be: loss.name"),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, why)) => Err(Error::input(format!("`loss.similarity=angle` is for encoders, {why}"))
                .help("--set loss.similarity=cosine")),
            None => Ok(()),
        }
    }
    /// Checks ranges and names.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    fn check(&self, of: &Config) -> Result<()> {
        let guide = &of.guide;
        self.check_similarity(of)?;
        let names = crate::parts::OBJECTIVES;
        if !names.contains(&&*self.name) {
            let what = format!("`loss.name` must be one of {}, it is {}", names.join(", "), self.name);
            return Err(Error::input(what));
        }
        if self.is_taught() && guide.model.is_empty() && !of.cross.is_on() {
            let e = Error::input(format!("the loss {} learns from a guide, and none is named", self.name));
            return Err(e.help("--set guide.model=DIR, or a cross-encoder: --set cross.model=DIR"));
        }
        if !(0.0..=1.0).contains(&self.adversarial) {
            let got = self.adversarial;
            return Err(Error::input(format!("`loss.adversarial` must be from 0 to 1, it is {got}")));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::input(format!(
                "`loss.temperature` must be above 0, it is {}",
                self.temperature
            )));
        }
        if !(self.teacher_temperature > 0.0 && self.teacher_temperature.is_finite()) {
            let got = self.teacher_temperature;
            return Err(Error::input(format!("`loss.teacher_temperature` must be above 0, it is {got}")));
        }
        if !((0.0..1.0).contains(&self.false_negatives) && self.concentration >= 0.0) {
            let (share, weight) = (self.false_negatives, self.concentration);
            let what = "`loss.false_negatives` must be in [0, 1) and `loss.concentration` 0 or more";
            return Err(Error::input(format!("{what}, they are {share} and {weight}")));
        }
        if ![self.hardness, guide.margin, self.concentration, self.others].iter().all(|x| x.is_finite()) {
            return Err(Error::input(
                "`loss.hardness`, `loss.concentration`, `loss.others` and `guide.margin` must be finite",
            ));
        }
        if self.others >= 0.0 && !["margin-mse", "pairwise", "infonce"].contains(&&*self.name) {
            let what = format!("`loss.others` weighs pairs, which the loss {} does not do", self.name);
            return Err(Error::input(what).help("--loss margin-mse, pairwise or infonce"));
        }
        if self.hardness != 0.0 && self.name != "infonce" {
            let what = format!("`loss.hardness` shifts logits, which the loss {} does not have", self.name);
            return Err(Error::input(what).help("--loss infonce"));
        }
        if !(self.top_rows > 0.0 && self.top_rows <= 1.0) || (self.top_rows < 1.0 && self.name != "infonce") {
            let what = format!(
                "`loss.top_rows` must be above 0 and at most 1, and is for infonce; it is {}",
                self.top_rows
            );
            return Err(Error::input(what));
        }
        // Exponentials of logits are added up as they are there.
        if self.name == "debiased" && (1.0 + self.concentration) / self.temperature > 80.0 {
            let e = Error::input("the debiased loss overflows with so small a temperature");
            return Err(e.help(
                "(1 + loss.concentration) / loss.temperature must be at most 80; 0.5 is as published",
            ));
        }
        self.blocks().map(|_| ())
    }
}

impl ModelConfig {
    /// Checks how tokens are pooled.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    fn check(&self) -> Result<()> {
        if !["", "latent"].contains(&&*self.pooling) {
            let what = format!(
                "`model.pooling` must be latent, or empty for what the model says, it is {}",
                self.pooling
            );
            return Err(Error::input(what));
        }
        if !crate::pooling::PROMPTS.contains(&&*self.prompts) {
            let what = format!(
                "`model.prompts` must be pooled, apart, or empty for what the model says, it is {}",
                self.prompts
            );
            return Err(Error::input(what));
        }
        let told = [
            ("latents", self.latents, 65_536),
            ("latent_heads", self.latent_heads, 1024),
            ("latent_channels", self.latent_channels, 16_384),
        ];
        for (key, value, most) in told {
            if value > most {
                return Err(Error::input(format!("`model.{key}` must be at most {most}, it is {value}")));
            }
            if value > 0 && self.pooling.is_empty() {
                let e = Error::input(format!("`model.{key}` is for latent pooling, and this run has none"));
                return Err(e.help("--set model.pooling=latent"));
            }
        }
        Ok(())
    }
}

impl ComposerConfig {
    /// Checks ranges and names, and what does not go together.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    fn check(&self, of: &Config) -> Result<()> {
        crate::parts::demand_composer(&self.name)?;
        let t = &of.train;
        if !["queries", "labels"].contains(&&*self.of) {
            return Err(Error::input(format!("`composer.of` must be queries or labels, it is {}", self.of)));
        }
        if self.of == "labels" && of.head.is_on() {
            return Err(Error::input("`composer.of` must be queries with a classifier, it is labels"));
        }
        if self.of == "labels" && (t.positives != 1 || t.label_texts || t.overfit_batch) {
            let what = "batches of labels draw one query for each: train.positives is 1 there, and train.label_texts \
                        and --overfit-batch are for batches of queries";
            return Err(Error::input(what).help("--set composer.of=queries"));
        }
        if self.refresh_epochs == 0 {
            return Err(Error::input("`composer.refresh_epochs` must be at least 1, it is 0"));
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
        t.check(self.head.is_on())?;
        self.model.check()?;
        if self.model.dropout >= 1.0 {
            return wrong("model.dropout", "below 1", &self.model.dropout);
        }
        self.loss.check(self)?;
        self.negatives.check(&self.strategy.name)?;
        self.memory.check(self)?;
        self.selection.check(self)?;
        self.cross.check(self)?;
        self.auxiliary.check(self)?;
        if self.head.is_on() && !self.data.truth.as_os_str().is_empty() {
            return wrong(
                "data.truth",
                "empty with a classifier: it is for encoders",
                &self.data.truth.display(),
            );
        }
        crate::recipes::find(&self.strategy.name)?;
        self.composer.check(self)?;
        if self.negatives.own && self.loss.blocks.len() > 1 {
            let what = "with negatives.own a row is scored against its own labels alone: further loss.blocks \
                        have no effect";
            return Err(Error::input(what).help("--set negatives.own=false"));
        }
        let held_out = self.data.validation_per_mille;
        if held_out > 500 {
            return wrong("data.validation_per_mille", "at most 500", &held_out);
        }
        self.head.check(t)?;
        if self.negatives.corrects() {
            let known = self.composer.name == "shuffled" && self.composer.of == "queries";
            if !known || t.positives != 1 || self.negatives.own || self.loss.name != "infonce" {
                let what = "negatives.correct needs random batches of queries with one positive each, that all rows \
                            meet all columns, and the loss infonce: else the chance of a column is not known";
                return Err(Error::input(what).help("--set negatives.correct=false"));
            }
        }
        if self.head.is_on() && (self.negatives.from != "batch" || !self.guide.model.is_empty()) {
            let e = Error::input(
                "negatives.from and guide.model are for encoders, and this run learns a classifier",
            );
            return Err(e.help("head.mined, head.shortlist and head.uniform choose its negatives"));
        }
        Ok(())
    }
}
