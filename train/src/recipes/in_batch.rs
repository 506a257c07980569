//! In-batch negatives: random batches, and the positives of the other rows are the negatives.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "in-batch",
    summary: "random batches; the other rows' positives are the negatives",
    citation: "Karpukhin et al., Dense passage retrieval for open-domain question answering, EMNLP 2020 (in-batch \
        part)",
    cost: "none",
    defaults: &["composer.name=shuffled"],
};
