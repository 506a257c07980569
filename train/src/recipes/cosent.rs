//! CoSENT: positive pairs before negative pairs, over the whole batch and not row by row.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "cosent",
    summary: "every positive pair of the batch before every negative one, whichever rows they stand in",
    citation: "Huang et al., CoSENT: consistent sentence embedding via similarity ranking, TASLP 2024",
    cost: "none",
    defaults: &["composer.name=shuffled", "loss.name=cosent", "loss.temperature=0.05"],
};
