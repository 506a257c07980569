//! ANCE: each row meets labels that the model itself ranked high a while ago, and those alone.
//!
//! The published code excludes one positive of a query from its lists; here all known ones are excluded. Its lists are
//! made in the background; here a step waits for them, so which ones it sees is no matter of speed.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "ance",
    summary: "labels that the model ranked high a while ago, for each row its own; lists made anew every so many steps",
    citation: "Xiong et al., Approximate nearest neighbor negative contrastive learning for dense text retrieval, \
        ICLR 2021",
    cost: "encodes the labels drawn: B·F; (N + L)·F at each refresh",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=1",
        "negatives.depth=200",
        "negatives.refresh_steps=500",
        "negatives.pick=uniform",
        "negatives.own=true",
        "loss.name=pairwise",
    ],
};
