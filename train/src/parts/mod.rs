//! The parts of a run that decide on negatives and loss, made from its configuration.
//!
//! ```text
//! composer     who shares a batch                    samplers/src/composer
//! miner        which labels are columns              samplers/src/miner
//! shapers      which terms count, how much           samplers/src/shaper, in this order: guide, own, sampled,
//!                                                    hardness, hardest, shares
//! objective    what is minimised                     models/src/losses
//! ```

mod composers;

use crate::batch::{Batch, Similarity};
use crate::config::{Config, LossConfig, NegativesConfig};
use engine::{Result, Tensor};
use models::{Adversarial, CoSent, Debiased, Distil, InfoNce, MarginMse, Objective};
use models::{Pairwise, Terms, Triplet, Weighting};
use samplers::bm25::Bm25Options;
use samplers::composer::Composer;
use samplers::miner::listed::{Listed, Pick};
use samplers::miner::random::{Law, Random};
use samplers::miner::{Miner, all::AllLabels, in_batch::InBatch};
use samplers::shaper::guided::{Guided, Margin};
use samplers::shaper::{Edits, Scores, Shaper};
use samplers::{Block, Hardness, KHardest, Matrix, OwnOnly, Ranked, Sampled, Shares};

/// Names of the losses of an encoder.
pub(crate) const OBJECTIVES: [&str; 8] =
    ["infonce", "triplet", "pairwise", "cosent", "debiased", "margin-mse", "distil", "ar2"];

/// Demands that there is a composer of this name.
///
/// # Errors
/// If there is none: with the names that there are.
pub(crate) fn demand_composer(name: &str) -> Result<()> {
    composers::find(name).map(|_| ())
}

/// What is known of the labels before training.
pub(crate) struct Population {
    /// Training queries of each label, `[L]`.
    pub(crate) frequencies: Vec<u32>,
    /// The probability that the positive of a pair is this label, `[L]`.
    pub(crate) shares: Vec<f32>,
}

/// The parts.
pub(crate) struct Parts {
    pub(crate) composer: Box<dyn Composer>,
    pub(crate) miner: Box<dyn Miner>,
    pub(crate) shapers: Vec<Box<dyn Shaper>>,
    pub(crate) objective: Box<dyn Objective>,
    /// What a row is scored against.
    pub(crate) blocks: Vec<Block>,
    /// How near two embeddings are.
    pub(crate) similarity: Similarity,
}

impl Parts {
    /// Puts together what the configuration names, over these training queries and so many labels.
    pub(crate) fn new(
        config: &Config,
        rows: Vec<u32>,
        labels: usize,
        population: impl FnOnce() -> Population,
    ) -> Result<Parts> {
        let miner = miner(&config.negatives, labels, population);
        // A mean over more negatives than a row can have would only shrink the loss. Of n queries with one positive
        // each a row has n − 1, and those that are drawn.
        let pairs = config.train.batch.min(rows.len());
        let negatives = match config.train.positives {
            _ if config.negatives.own => config.negatives.count,
            1 => {
                (pairs + miner.most(pairs) + config.memory.columns()).min(labels.max(pairs)).saturating_sub(1)
            }
            _ => usize::MAX,
        };
        Ok(Parts {
            composer: composers::find(&config.composer.name)?(config, rows)?,
            miner,
            shapers: shapers(config),
            objective: objective(&config.loss, negatives),
            blocks: config.loss.blocks()?,
            similarity: config.loss.similarity()?,
        })
    }
    /// Whether the composer will ever ask for the embeddings of the training queries.
    pub(crate) fn wants_bank(&self) -> bool {
        self.composer.wants_embeddings(u32::MAX)
    }
    /// The terms of the loss after the shapers have seen the scores, and what a guide says of the same pairs. Neither
    /// carries a gradient here.
    pub(crate) fn shape(&self, scores: &Tensor, guide: Option<Tensor>, batch: &Batch) -> Terms {
        let mut edits = Edits::masked(batch.keep.clone());
        let width = scores.shape().last();
        let seen = Scores {
            values: Matrix::new(scores.data(), width),
            target: &batch.targets,
            guide: guide.as_ref().map(|guide| Matrix::new(guide.data(), width)),
            own: batch.own.as_ref(),
            chance: batch.chance.as_deref(),
        };
        self.shapers.iter().for_each(|shaper| shaper.shape(&seen, &mut edits));
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
            teacher: guide,
            soft: None,
        }
    }
}

fn miner(config: &NegativesConfig, labels: usize, population: impl FnOnce() -> Population) -> Box<dyn Miner> {
    match &*config.from {
        "all" => Box::new(AllLabels { labels: labels as u32 }),
        "random" => {
            let law = match &*config.law {
                "popularity" => Law::Popularity(config.alpha),
                "log-uniform" => Law::LogUniform,
                _ => Law::Uniform,
            };
            let Population { frequencies, shares } = population();
            Box::new(Random::new(law, config.count, &frequencies, shares))
        }
        "batch" => Box::new(InBatch),
        _ => {
            let pick = match &*config.pick {
                "top" => Pick::Top,
                "bins" => Pick::Bins,
                "window" => Pick::Window { narrow: config.window_narrow, above: config.window_above },
                _ => Pick::Uniform,
            };
            let (lists, every) = (Ranked::default(), config.refreshed_every());
            Box::new(Listed { lists, every, count: config.count, pick })
        }
    }
}

impl NegativesConfig {
    /// k₁ and b.
    pub(crate) fn bm25(&self) -> Bm25Options {
        Bm25Options { k1: self.k1 as f32, b: self.b as f32 }
    }
    /// Whether a label of a list may be a negative, by its score and that of the query's lowest positive.
    pub(crate) fn may_be_negative(&self, positive: f32, score: f32) -> bool {
        let below = |margin: f64, rule: fn(f32) -> Margin| {
            margin < 0.0 || score <= rule(margin as f32).below(positive)
        };
        below(self.absolute_margin, Margin::Absolute)
            && below(self.relative_margin, Margin::Relative)
            && f64::from(score) <= self.max_score
    }
}

fn shapers(config: &Config) -> Vec<Box<dyn Shaper>> {
    let (guide, loss) = (&config.guide, &config.loss);
    let mut shapers: Vec<Box<dyn Shaper>> = vec![];
    if !guide.model.is_empty() && guide.mask {
        let rule = if guide.relative { Margin::Relative } else { Margin::Absolute };
        shapers.push(Box::new(Guided { margin: rule(guide.margin as f32) }));
    }
    if config.negatives.own {
        shapers.push(Box::new(OwnOnly));
    }
    if config.negatives.from == "random" && config.negatives.correct {
        shapers.push(Box::new(Sampled));
    }
    if loss.hardness != 0.0 {
        shapers.push(Box::new(Hardness { strength: loss.hardness as f32 }));
    }
    // The triplet loss finds its hardest negatives itself.
    if loss.hardest > 0 && loss.name != "triplet" {
        shapers.push(Box::new(KHardest { k: loss.hardest }));
    }
    // Shares are of what counts in the end.
    if loss.others >= 0.0 {
        shapers.push(Box::new(Shares { others: loss.others as f32 }));
    }
    shapers
}

fn objective(loss: &LossConfig, negatives: usize) -> Box<dyn Objective> {
    let temperature = loss.temperature;
    match &*loss.name {
        "triplet" => Box::new(Triplet {
            margin: loss.margin,
            hardest: loss.hardest.min(negatives).max(1),
            temperature,
            weighting: Weighting::Active,
        }),
        "pairwise" => Box::new(Pairwise { temperature }),
        "cosent" => Box::new(CoSent { temperature }),
        "debiased" => Box::new(Debiased {
            temperature,
            false_negatives: loss.false_negatives,
            concentration: loss.concentration,
        }),
        "margin-mse" => Box::new(MarginMse),
        "distil" => Box::new(Distil { temperature, teacher: loss.teacher_temperature }),
        "ar2" => {
            let (teacher, adversarial) = (loss.teacher_temperature, loss.adversarial);
            Box::new(Adversarial { temperature, teacher, adversarial })
        }
        _ => Box::new(InfoNce { temperature, symmetric: loss.symmetric, top_rows: loss.top_rows }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::recipes::apply_defaults;

    #[test]
    fn no_more_negatives_are_averaged_than_a_row_can_have() {
        let objective = |assignments: &[&str], queries: u32| {
            let mut settings = Settings::default();
            for assignment in [&["loss.name=triplet", "composer.name=shuffled"], assignments].concat() {
                settings.set(assignment).expect("a value");
            }
            apply_defaults(&mut settings).expect("a known recipe");
            let config = settings.config().expect("in range");
            let population = || Population { frequencies: vec![1; 50], shares: vec![0.02; 50] };
            let parts = Parts::new(&config, (0..queries).collect(), 50, population).expect("parts");
            format!("{:?}", parts.objective)
        };
        assert!(objective(&[], 99).contains("hardest: 10,"));
        assert!(objective(&["train.batch=4"], 99).contains("hardest: 3,"));
        assert!(objective(&[], 5).contains("hardest: 4,"));
        assert!(
            objective(&["train.batch=4", "negatives.from=random", "negatives.correct=false"], 99)
                .contains("hardest: 7,")
        );
        assert!(objective(&["train.batch=4", "negatives.from=all"], 99).contains("hardest: 10,"));
        assert!(objective(&["train.batch=4", "train.positives=3"], 99).contains("hardest: 10,"));
    }

    #[test]
    fn a_label_of_a_list_is_a_negative_only_as_far_below_the_positive_as_the_rules_say() {
        let may = |change: &str, positive, score| {
            let mut settings = Settings::default();
            settings.set(change).expect("a value");
            settings.config().expect("in range").negatives.may_be_negative(positive, score)
        };
        assert!(may("negatives.count=1", 0.5, 0.9), "no rule");
        assert!(
            may("negatives.absolute_margin=0.0", 0.5, 0.5)
                && !may("negatives.absolute_margin=0.0", 0.5, 0.51)
        );
        assert!(
            may("negatives.relative_margin=0.1", 0.5, 0.44)
                && !may("negatives.relative_margin=0.1", 0.5, 0.46)
        );
        assert!(
            !may("negatives.relative_margin=0.1", -0.5, -0.5)
                && may("negatives.relative_margin=0.1", -0.5, -0.6)
        );
        assert!(may("negatives.max_score=0.7", 0.5, 0.6) && !may("negatives.max_score=0.7", 0.9, 0.8));
    }
}
