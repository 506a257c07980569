//! Hard negatives of a batch weigh more, by a power of their own exponential, in the debiased loss.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "hard-weighted",
    summary: "hard negatives of the batch weigh more, in the debiased loss",
    citation: "Robinson et al., Contrastive learning with hard negative samples, ICLR 2021",
    cost: "none",
    defaults: &[
        "composer.name=shuffled",
        "loss.name=debiased",
        "loss.temperature=0.5",
        "loss.false_negatives=0.1",
        "loss.concentration=1.0",
    ],
};
