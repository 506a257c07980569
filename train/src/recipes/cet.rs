//! CET, after its idea: a label that nobody gave may be one that nobody looked at. A model of who was looked at learns
//! beside the encoder, and each weighs what the other learns from.
//!
//! `guide.model` is the search by which pairs were found to be looked at, or one like it; it masks nothing here.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "cet",
    summary: "negatives weigh what a model that learns who was looked at, and the encoder, leave of them",
    citation: "after Cai et al., Hard negatives or false negatives: correcting pooling bias in training neural \
        ranking models, CIKM 2022",
    cost: "(N + L)·F at each refresh, encodes the labels drawn: count·B·F, and the batch by the guide without a \
        tape; a small model over all pairs",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=4",
        "negatives.depth=50",
        "negatives.refresh_steps=1000",
        "guide.model=start",
        "guide.mask=false",
        "loss.name=infonce",
        "selection.rate=1e-2",
    ],
};
