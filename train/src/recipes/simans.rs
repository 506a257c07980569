//! SimANS: of the labels that a model ranks high those whose score is near the positive's: neither easy nor too likely
//! right.
//!
//! a is in units of the score squared: 0.5 for inner products of some tens, as published; cosines lie a hundred times
//! closer, so the default here is larger.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "simans",
    summary: "labels whose score lies in a window around the positive's: neither easy nor likely to be right",
    citation: "Zhou et al., SimANS: Simple ambiguous negatives sampling for dense text retrieval, EMNLP 2022",
    cost: "encodes the labels drawn: count·B·F; (N + L)·F at each refresh",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=4",
        "negatives.depth=100",
        "negatives.refresh_steps=500",
        "negatives.pick=window",
        "negatives.window_narrow=50.0",
    ],
};
