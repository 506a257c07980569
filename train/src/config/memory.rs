//! What a run remembers of batches and epochs before, to learn from it.

use super::Config;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// What is remembered from step to step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Label embeddings of batches before, so many, are negatives as well; 0 for none.
    pub queue: usize,
    /// Labels are embedded by a copy of the encoder that follows it so slowly, from 0 (it is the encoder itself, and
    /// learns from labels) to below 1.
    pub momentum: f64,
    /// Negatives mixed of two from the queue, for each row.
    pub mixed: usize,
    /// Negatives mixed of the query and one from the queue, for each row.
    pub mixed_with_query: usize,
    /// The hardest so many of the queue that a row's negatives are mixed from.
    pub mixed_from: usize,
    /// Pairs whose loss lay so many standard deviations below the mean weigh less; 0 for none.
    pub easy: f64,
    /// Pairs whose loss lay so many standard deviations above the mean weigh less; 0 for none.
    pub hard: f64,
    /// Epochs before pairs are weighed.
    pub warmup_epochs: u32,
    /// The share that what the model found an epoch ago has in the target at the end of the run; 0 for none.
    pub past: f64,
    /// Labels of a query whose probabilities are kept for that: the most likely ones.
    pub kept: usize,
}

impl Default for MemoryConfig {
    fn default() -> MemoryConfig {
        MemoryConfig {
            queue: 0,
            momentum: 0.0,
            mixed: 0,
            mixed_with_query: 0,
            mixed_from: 1024,
            easy: 0.0,
            hard: 0.0,
            warmup_epochs: 1,
            past: 0.0,
            kept: 32,
        }
    }
}

impl MemoryConfig {
    /// Whether pairs are weighed by what they cost.
    pub fn weighs(&self) -> bool {
        self.easy > 0.0 || self.hard > 0.0
    }
    /// The most columns that it adds to a batch.
    pub fn columns(&self) -> usize {
        self.queue + self.mixed + self.mixed_with_query
    }
    /// Whether anything is remembered.
    fn is_on(&self) -> bool {
        self.columns() > 0 || self.momentum > 0.0 || self.weighs() || self.past > 0.0
    }
    /// Checks ranges, and what does not go together.
    ///
    /// # Errors
    /// Names the value, its range and what was given.
    pub(super) fn check(&self, of: &Config) -> Result<()> {
        let ranges = [
            (
                "momentum",
                self.momentum,
                self.momentum >= 0.0 && (self.momentum as f32) < 1.0,
                "from 0 to below 1",
            ),
            ("easy", self.easy, self.easy >= 0.0 && self.easy.is_finite(), "0 or more"),
            ("hard", self.hard, self.hard >= 0.0 && self.hard.is_finite(), "0 or more"),
            ("past", self.past, (0.0..=1.0).contains(&self.past), "from 0 to 1"),
        ];
        for (key, got, fits, range) in ranges {
            if !fits {
                return Err(Error::input(format!("`memory.{key}` must be {range}, it is {got}")));
            }
        }
        if !self.is_on() {
            return Ok(());
        }
        let mut rules = self.of_queue(of).into_iter().chain(self.of_rows(of));
        match rules.find(|(broken, ..)| *broken) {
            Some((_, what, help)) => Err(Error::input(what).help(help)),
            None => Ok(()),
        }
    }
    /// What a queue does not go with.
    fn of_queue(&self, of: &Config) -> Vec<Rule> {
        let mixes = self.mixed + self.mixed_with_query > 0;
        vec![
            (
                of.head.is_on(),
                "memory is for encoders, and this run learns a classifier",
                "leave memory.* away",
            ),
            (
                self.queue > 0 && !of.guide.model.is_empty(),
                "a guide does not know the labels of batches before",
                "memory.queue=0, or no guide.model",
            ),
            (
                self.queue > 0 && of.negatives.own,
                "with negatives.own a row meets its own labels alone, and no queue",
                "--set negatives.own=false",
            ),
            (
                self.queue > 0 && of.negatives.from == "all",
                "where every label is a column, a queue adds nothing",
                "memory.queue=0",
            ),
            (
                self.queue > 0 && of.negatives.corrects(),
                "labels that are drawn and corrected for stand for all labels, and a queue would count them twice",
                "--set negatives.correct=false",
            ),
            (
                self.momentum > 0.0 && self.queue == 0,
                "memory.momentum is for the labels of a queue",
                "--set memory.queue=16384",
            ),
            (
                self.momentum > 0.0 && of.composer.of == "labels",
                "batches of labels need labels that the encoder learns from",
                "memory.momentum=0, or composer.of=queries",
            ),
            (
                mixes && (self.queue == 0 || self.mixed_from == 0),
                "negatives are mixed of a queue",
                "--set memory.queue=16384",
            ),
        ]
    }
    /// What losses and answers of epochs before do not go with.
    fn of_rows(&self, of: &Config) -> Vec<Rule> {
        let by_rows = self.weighs() || self.past > 0.0;
        vec![
            (
                by_rows && (of.loss.name != "infonce" || of.loss.symmetric),
                "memory.easy, hard and past need a loss of each row: infonce, and not symmetric",
                "--loss infonce --set loss.symmetric=false",
            ),
            (
                by_rows && (of.train.positives != 1 || of.composer.of == "labels"),
                "memory.easy, hard and past know one positive of a query: train.positives=1 and batches of queries",
                "--set train.positives=1 --set composer.of=queries",
            ),
            (self.past > 0.0 && self.kept == 0, "`memory.kept` must be at least 1", "--set memory.kept=32"),
        ]
    }
}

/// Whether it is broken, what is said then, and what helps.
type Rule = (bool, &'static str, &'static str);
