//! Average top-k: of a batch only the rows that cost the most are learned from.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "top-loss",
    summary: "the half of the rows that cost the most counts, the others wait",
    citation: "Fan et al., Learning with average top-k loss, NeurIPS 2017",
    cost: "none",
    defaults: &["composer.name=shuffled", "loss.top_rows=0.5"],
};
