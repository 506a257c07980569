//! DEXML's cheaper variant: a few labels for each query from the hundred that the model ranks highest, made anew at
//! intervals; all rows meet all of them.
//!
//! Published with five epochs of random negatives first and a new list every five epochs; here lists are made by steps,
//! from the start.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "dexml-hard",
    summary: "a few of the hundred labels that the model ranks highest, for each row; all rows meet all",
    citation: "Gupta et al., Dual-encoders for extreme multi-label classification, ICLR 2024 (hard-negative variant)",
    cost: "encodes the labels drawn: count·B·F; (N + L)·F at each refresh",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=2",
        "negatives.depth=100",
        "negatives.refresh_steps=1000",
        "negatives.pick=uniform",
    ],
};
