//! PS-KD: the model's own answer of an epoch ago is part of the target, with a share that grows.
//!
//! Over the columns of a batch it is after the idea; with `negatives.from=all` and `memory.kept` as large as the labels
//! are many it is the published method.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "ps-kd",
    summary: "what the model found of a query an epoch ago is part of its target, with a growing share",
    citation: "after Kim et al., Self-knowledge distillation with progressive refinement of targets, ICCV 2021",
    cost: "8·kept bytes a training query; the probabilities of a batch once more",
    defaults: &["composer.name=shuffled", "memory.past=0.8", "memory.kept=32"],
};
