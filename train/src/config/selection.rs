//! A model of who was looked at, beside the encoder (CET).

use super::Config;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// What learns who was looked at, and what is made of it (`train/src/memory/selection.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// Learning rate of the model that says which pairs somebody looked at; 0 for no such model.
    pub rate: f64,
    /// Numbers between its two layers.
    pub hidden: usize,
    /// The least weight of a negative, from 0 to 1.
    pub least: f64,
    /// Epochs in which it learns and negatives weigh 1.
    pub warmup_epochs: u32,
}

impl Default for SelectionConfig {
    fn default() -> SelectionConfig {
        SelectionConfig { rate: 0.0, hidden: 16, least: 0.05, warmup_epochs: 1 }
    }
}

impl SelectionConfig {
    /// Whether there is such a model.
    pub fn is_on(&self) -> bool {
        self.rate > 0.0
    }
    /// Demands that the warm-up ends before a run of so many epochs does.
    ///
    /// # Errors
    /// If it does not: negatives would never be weighed.
    pub(crate) fn demand_shorter_than(&self, epochs: u64) -> Result<()> {
        if !self.is_on() || u64::from(self.warmup_epochs) < epochs {
            return Ok(());
        }
        let what = format!(
            "`selection.warmup_epochs` is {}, and this run has no epoch after these: no negative would be weighed",
            self.warmup_epochs
        );
        Err(Error::input(what).help("--set selection.warmup_epochs=0, or more --epochs"))
    }
    /// Checks ranges, and what does not go together.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, of: &Config) -> Result<()> {
        if !(self.rate >= 0.0 && self.rate.is_finite()) {
            return Err(Error::input(format!("`selection.rate` must be 0 or more, it is {}", self.rate)));
        }
        if !(0.0..=1.0).contains(&self.least) {
            return Err(Error::input(format!("`selection.least` must be from 0 to 1, it is {}", self.least)));
        }
        if !(1..=1024).contains(&self.hidden) {
            return Err(Error::input(format!(
                "`selection.hidden` must be from 1 to 1024, it is {}",
                self.hidden
            )));
        }
        if !self.is_on() && *self != (SelectionConfig { rate: self.rate, ..SelectionConfig::default() }) {
            let what =
                "`selection.hidden`, `least` and `warmup_epochs` are for a model that learns, and none does";
            return Err(Error::input(what).help("--set selection.rate=0.01, or --strategy cet"));
        }
        let rules = [
            (
                of.head.is_on(),
                "`selection.rate` is for encoders, and this run learns a classifier",
                "leave it away",
            ),
            (
                of.guide.model.is_empty(),
                "who was looked at is told by what the search of that time scores, and no guide is named",
                "--set guide.model=DIR: the model by which pairs were found to be looked at, or one like it",
            ),
            (
                of.loss.blocks.len() > 1,
                "`selection.rate` weighs labels against queries, and not the other blocks of a batch",
                "--set loss.blocks=\"['query-label']\"",
            ),
            (
                of.loss.name != "infonce" || of.loss.symmetric,
                "`selection.rate` weighs the negatives of a row: infonce, and not symmetric",
                "--loss infonce --set loss.symmetric=false",
            ),
        ];
        match rules.into_iter().find(|(broken, ..)| self.is_on() && *broken) {
            Some((_, what, help)) => Err(Error::input(what).help(help)),
            None => Ok(()),
        }
    }
}
