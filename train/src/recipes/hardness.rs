//! The logit of each negative gets a bonus that grows with its score.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "hardness",
    summary: "the logits of negatives grow by their own score",
    citation: "Lan et al., LLaVE: Large language and vision embedding models with hardness-weighted contrastive \
        learning, 2025",
    cost: "none",
    defaults: &["composer.name=shuffled", "loss.hardness=9.0"],
};
