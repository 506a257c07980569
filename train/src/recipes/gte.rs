//! GTE's improved contrastive loss: one softmax over labels and queries, from the row's query and from its positive.
//!
//! The published sum has the positive pair a second time, as that of a label with its query. A known positive is never
//! a negative here, so it stands there once.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "gte",
    summary: "one softmax over labels and queries, from a row's query and from its positive",
    citation: "Li et al., Towards general text embeddings with multi-stage contrastive learning, 2023",
    cost: "three times the scores: B² each",
    defaults: &[
        "composer.name=shuffled",
        "loss.temperature=0.01",
        "loss.blocks=['query-label', 'query-query', 'label-query', 'label-label']",
    ],
};
