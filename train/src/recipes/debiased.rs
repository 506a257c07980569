//! Debiased contrast: what false negatives add to the partition is estimated from the positive, and taken off.
//!
//! τ = 0.5 as published: with a small τ the estimate outweighs all negatives, and nothing is learned from them.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "debiased",
    summary: "the share of false negatives is estimated and taken off the partition",
    citation: "Chuang et al., Debiased contrastive learning, NeurIPS 2020",
    cost: "none",
    defaults: &[
        "composer.name=shuffled",
        "loss.name=debiased",
        "loss.temperature=0.5",
        "loss.false_negatives=0.1",
    ],
};
