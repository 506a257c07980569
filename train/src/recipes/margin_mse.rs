//! The distance between a positive and each other label of the batch is learned from a guide.
//!
//! Published with the scores of cross-encoders for listed pairs; here a guide that encodes, over the columns of a
//! batch.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "margin-mse",
    summary: "distances between positives and negatives are learned from a guide, not from labels",
    citation: "Hofstätter et al., Improving efficient neural ranking models with cross-architecture knowledge \
        distillation, 2020",
    cost: "encodes the batch by the guide: 2·B·F without a tape",
    defaults: &["composer.name=shuffled", "loss.name=margin-mse", "guide.mask=false"],
};
