//! Recipes: a strategy's parts, put together under its name, with its defaults, its citation and its cost.
//!
//! A *part* is one file in the layer where it belongs: composers, miners and shapers in `samplers`, objectives in
//! `models`. A *recipe* is one file here and one line in [`RECIPES`]; from there it appears in the command line, in
//! the configuration and in the tests.

use crate::batch::Batch;
use crate::config::{Config, Settings};
use engine::{Error, Result, Tensor};
use models::{InfoNce, Objective, Terms, Triplet, Weighting};
use samplers::composer::Composer;
use samplers::miner::{Miner, all::AllLabels, in_batch::InBatch};
use samplers::shaper::{Edits, Scores, Shaper, k_hardest::KHardest};
use samplers::{Matrix, Need};

mod in_batch;
mod ngame;

/// A strategy.
pub struct Recipe {
    /// The name, as `--composer` takes it.
    pub name: &'static str,
    /// One line for a list.
    pub summary: &'static str,
    /// Where it comes from.
    pub citation: &'static str,
    /// What it costs beside the training of the batch itself.
    pub cost: &'static str,
    /// Sets the defaults of the strategy where the user said nothing.
    pub defaults: fn(&mut Settings) -> Result<()>,
    /// Makes its composer.
    pub composer: Compose,
}

/// Makes the composer that a configuration asks for, over these training queries.
pub type Compose = fn(&Config, rows: Vec<u32>) -> Result<Box<dyn Composer>>;

/// All recipes.
pub const RECIPES: &[Recipe] = &[in_batch::RECIPE, ngame::RECIPE];

/// The recipe of this name.
///
/// # Errors
/// If there is none: with the names that there are.
pub fn find(name: &str) -> Result<&'static Recipe> {
    RECIPES.iter().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<&str> = RECIPES.iter().map(|r| r.name).collect();
        Error::input(format!("there is no composer `{name}`")).help(format!("known: {}", names.join(", ")))
    })
}

/// Lays the defaults of the chosen recipe and loss under what the user said.
///
/// # Errors
/// If the recipe is unknown.
pub fn apply_defaults(settings: &mut Settings) -> Result<()> {
    let config = settings.config()?;
    if config.loss.name == "triplet" {
        settings.recipe("loss.temperature", 0.1, "triplet")?;
        settings.recipe("loss.hardest", 10, "triplet")?;
    }
    if config.head.is_on() {
        settings.recipe("train.epochs", 10, "classifier")?;
        settings.recipe("train.lr", 1e-3, "classifier")?;
        settings.recipe("composer.name", "shuffled", "classifier")?;
    }
    (find(&settings.config()?.composer.name)?.defaults)(settings)
}

/// The parts of a run that decide on negatives and loss.
pub(crate) struct Parts {
    pub(crate) composer: Box<dyn Composer>,
    pub(crate) miner: Box<dyn Miner>,
    pub(crate) shapers: Vec<Box<dyn Shaper>>,
    pub(crate) objective: Box<dyn Objective>,
}

impl Parts {
    /// Puts together what the configuration names, over these training queries and so many labels.
    pub(crate) fn new(config: &Config, rows: Vec<u32>, labels: usize) -> Result<Parts> {
        let loss = &config.loss;
        let miner: Box<dyn Miner> = match &*loss.labels {
            "all" => Box::new(AllLabels { labels: labels as u32 }),
            _ => Box::new(InBatch),
        };
        // Of n queries with one positive each a row has n − 1 negatives: a mean over more would only shrink the loss.
        let negatives = match config.train.positives {
            1 => miner.columns(config.train.batch.min(rows.len())).saturating_sub(1),
            _ => usize::MAX,
        };
        let composer = (find(&config.composer.name)?.composer)(config, rows)?;
        let mut shapers: Vec<Box<dyn Shaper>> = vec![];
        let objective: Box<dyn Objective> = match &*loss.name {
            "triplet" => Box::new(Triplet {
                margin: loss.margin,
                hardest: loss.hardest.min(negatives).max(1),
                temperature: loss.temperature,
                weighting: Weighting::Active,
            }),
            _ => {
                if loss.hardest > 0 {
                    shapers.push(Box::new(KHardest { k: loss.hardest }));
                }
                Box::new(InfoNce { temperature: loss.temperature, symmetric: loss.symmetric })
            }
        };
        Ok(Parts { composer, miner, shapers, objective })
    }
    /// Whether the composer will ever ask for the embeddings of the training queries.
    pub(crate) fn wants_bank(&self) -> bool {
        self.composer.need(u32::MAX) != Need::NOTHING
    }
    /// The terms of the loss after the shapers have seen the scores, which carry no gradient here.
    pub(crate) fn shape(&self, scores: &Tensor, batch: &Batch) -> Terms {
        let mut edits = Edits::masked(batch.keep.clone());
        let values = Matrix::new(scores.data(), scores.shape().last());
        for shaper in &self.shapers {
            shaper.shape(&Scores { values, target: &batch.targets }, &mut edits);
        }
        let matrix = |values: Option<Vec<f32>>| values.map(|v| Tensor::from_vec(scores.shape(), v));
        Terms {
            targets: batch.targets.clone(),
            keep: edits.keep.iter().map(|&k| k > 0.0).collect(),
            weight: matrix(edits.weight),
            shift: matrix(edits.shift),
            row_weight: match (edits.row_weight, &batch.row_weight) {
                (Some(of_strategy), Some(of_pairs)) => {
                    Some(of_strategy.iter().zip(of_pairs).map(|(a, b)| a * b).collect())
                }
                (one, other) => one.or_else(|| other.clone()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_negatives_are_averaged_than_a_batch_can_have() {
        let objective = |assignments: &[&str], queries: u32| {
            let mut settings = Settings::default();
            for assignment in [&["loss.name=triplet", "composer.name=shuffled"], assignments].concat() {
                settings.set(assignment).expect("a value");
            }
            apply_defaults(&mut settings).expect("a known recipe");
            let config = settings.config().expect("in range");
            format!("{:?}", Parts::new(&config, (0..queries).collect(), 50).expect("parts").objective)
        };
        assert!(objective(&[], 99).contains("hardest: 10,"));
        assert!(objective(&["train.batch=4"], 99).contains("hardest: 3,"));
        assert!(objective(&[], 5).contains("hardest: 4,"));
        assert!(objective(&["train.batch=4", "loss.labels=all"], 99).contains("hardest: 10,"));
        assert!(objective(&["train.batch=4", "train.positives=3"], 99).contains("hardest: 10,"));
    }

    #[test]
    fn a_curriculum_that_never_begins_is_refused() {
        let mut settings = Settings::default();
        settings.preset("lf-amazontitles-131k").expect("a preset");
        let compose = |settings: &Settings| {
            let config = settings.config().expect("in range");
            Parts::new(&config, (0..99).collect(), 50).map(|_| ())
        };
        assert!(compose(&settings).is_ok());
        settings.set("train.epochs=10").expect("a value");
        let e = compose(&settings).expect_err("ten random epochs").to_string();
        assert!(e.contains("first clusters come in epoch 10, the run has 10"), "{e}");
        settings.set("train.steps=900").expect("a value");
        assert!(compose(&settings).is_ok());
    }
}
