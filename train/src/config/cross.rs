//! A cross-encoder that learns beside the encoder, or in its place.

use super::Config;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// A cross-encoder of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossConfig {
    /// What it starts from: a cross-encoder's directory or run, an encoder's, which gets a fresh head, `start` for the
    /// model that the run starts from, or a fresh `tiny` or `small`. Empty for none.
    pub model: String,
    /// Of the steps between two refreshes of the lists (of the run, where they are made once) the share at the
    /// beginning in which it learns and the encoder rests: 1 for all of them, 0 where it never changes.
    pub share: f64,
    /// Its learning rate at its peak; it rises and falls as `train.lr` does.
    pub lr: f64,
    /// `softmax` of the positive against the other labels of its list, or `pairs`, each right or wrong for itself: then
    /// its scores are probabilities.
    pub loss: String,
}

impl Default for CrossConfig {
    fn default() -> CrossConfig {
        CrossConfig { model: String::new(), share: 0.0, lr: 2e-5, loss: "softmax".into() }
    }
}

/// The value of `negatives.rescore` that names the cross-encoder of the run itself.
pub(crate) const OWN: &str = "cross";

impl CrossConfig {
    /// Whether the run has one.
    pub fn is_on(&self) -> bool {
        !self.model.is_empty()
    }
    /// Whether it ever learns.
    pub fn learns(&self) -> bool {
        self.is_on() && self.share > 0.0
    }
    /// Whether it alone learns.
    pub fn alone(&self) -> bool {
        self.is_on() && self.share >= 1.0
    }
    /// Steps at the beginning of each round of so many that are its own.
    pub(crate) fn steps_of(&self, round: u64) -> u64 {
        if self.is_on() { (self.share * round as f64).round() as u64 } else { 0 }
    }
    /// Checks ranges and names, and what does not go together.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, of: &Config) -> Result<()> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(Error::input(format!("`cross.share` must be from 0 to 1, it is {}", self.share)));
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(Error::input(format!("`cross.lr` must be above 0, it is {}", self.lr)));
        }
        if !["softmax", "pairs"].contains(&&*self.loss) {
            return Err(Error::input(format!("`cross.loss` must be softmax or pairs, it is {}", self.loss)));
        }
        let ranks = &of.negatives;
        let rules = [
            (
                !self.is_on() && (self.share > 0.0 || ranks.rescore == OWN),
                "there is no cross-encoder in this run, and its share of the steps, or its judgement, is asked for",
                "--set cross.model=start, DIR, tiny or small",
            ),
            (
                self.is_on() && of.head.is_on(),
                "a cross-encoder is for encoders, and this run learns a classifier",
                "leave cross.model away",
            ),
            (
                self.is_on() && !ranks.listed(),
                "a cross-encoder reads each pair: it needs labels that are drawn for each row from lists",
                "--set negatives.from=bm25, model, tree or file",
            ),
            (
                self.is_on() && of.loss.is_taught() && (of.memory.queue > 0 || of.loss.blocks.len() > 1),
                "a cross-encoder teaches what it reads: a query with labels of the batch, and no other columns",
                "--set memory.queue=0 --set loss.blocks=\"['query-label']\"",
            ),
            (
                self.is_on() && of.train.device != "cpu",
                "a cross-encoder is trained, and reads, on the CPU",
                "leave --device away",
            ),
            (
                self.is_on() && !of.guide.model.is_empty(),
                "a guide and a cross-encoder would both teach",
                "leave guide.model or cross.model away",
            ),
            (
                self.alone() && ranks.refresh_steps > 0,
                "where the cross-encoder alone learns, the encoder ranks alike for ever",
                "--set negatives.refresh_steps=0",
            ),
            (
                ranks.rescore == OWN && self.loss == "softmax" && ranks.limits_scores(),
                "what learns by cross.loss=softmax says numbers of any size, and negatives.max_score or \
                 relative_margin would hold them against a limit",
                "--set cross.loss=pairs, whose scores are probabilities",
            ),
            (
                ranks.rescore == OWN && (ranks.refresh_steps > 0 || self.share == 0.0 || self.alone()),
                "the cross-encoder of a run judges its lists once, when it has learned and before the encoder does",
                "--set negatives.refresh_steps=0 --set cross.share=0.5",
            ),
        ];
        match rules.into_iter().find(|(broken, ..)| *broken) {
            Some((_, what, help)) => Err(Error::input(what).help(help)),
            None => Ok(()),
        }
    }
}
