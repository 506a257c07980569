//! STAR: one hard negative a row from lists that the model made before it began, beside all positives of the batch,
//! which play the random negatives that keep it stable; a mean over all pairs.
//!
//! Of the paper's L_hard + α L_random the released code has no α: the share of hard pairs follows from the batch.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "star",
    summary: "one label a row from lists made once by the starting model, beside all of the batch; a mean over pairs",
    citation: "Zhan et al., Optimizing dense retrieval model training with hard negatives, SIGIR 2021",
    cost: "encodes the labels drawn: B·F; (N + L)·F once, for the lists",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=1",
        "negatives.depth=200",
        "negatives.refresh_steps=0",
        "negatives.pick=uniform",
        "loss.name=pairwise",
    ],
};
