//! RocketQA's denoised negatives: a cross-encoder reads what a model ranks high, and what it finds likely to be right
//! is no negative.
//!
//! Of its four steps this is the third: model 0 is the one that the run starts from, the cross-encoder comes from
//! outside, and what it finds certain is left out and not made a positive.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "rocketqa",
    summary: "labels that a model ranks high and a cross-encoder finds unlikely to be right",
    citation: "after Qu et al., RocketQA: An optimized training approach to dense passage retrieval, NAACL 2021",
    cost: "encodes the labels drawn: count·B·F; (N + L)·F once, and N·depth pairs by the cross-encoder",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=4",
        "negatives.depth=50",
        "negatives.max_score=0.1",
        "negatives.pick=uniform",
        "cross.loss=pairs",
    ],
};
