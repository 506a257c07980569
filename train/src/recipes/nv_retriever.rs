//! NV-Retriever: hard negatives by a teacher, and none that it scores above 95 % of the positive (TopK-PercPos).
//!
//! The rule reads s < s⁺ − 0.05·|s⁺|, which is right for scores below 0 as well. TopK-MarginPos is
//! `negatives.absolute_margin`, TopK-Abs `negatives.max_score`, and a shift by N `negatives.skip`.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "nv-retriever",
    summary: "labels that a model ranks high but below 95 % of the positive's score",
    citation: "Moreira et al., NV-Retriever: Improving text embedding models with effective hard-negative mining, 2024",
    cost: "encodes the labels drawn: count·B·F; (N + L)·F once, by the model that ranks",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=4",
        "negatives.depth=10",
        "negatives.relative_margin=0.05",
        "negatives.pick=uniform",
    ],
};
