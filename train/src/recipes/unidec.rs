//! UniDEC: an encoder learns from a classifier and from the texts of labels at once, over one pool of labels a batch.
//!
//! The pool are the positives of the batch and hard negatives of each row, which all rows share; both heads have the
//! supervised contrastive loss over it, in halves. Published are κ = 18 (a temperature of 1/18), three positives and
//! six negatives a title, batches of 1,024, clusters from the sixth of 150 epochs on, and a rate of 1e-4. Their code is
//! not public, so this is after the paper. Here all positives of a row are in the pool, negatives are ranked by the
//! weights of the classifier, and its scores are inner products, so that the length of a weight can learn as well.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "unidec",
    summary: "a classifier and a dual encoder learn at once: weights and texts of the same few labels, in halves",
    citation: "Kharbanda et al., UniDEC: unified dual encoder and classifier training, WWW 2025",
    cost: "(mined + positives)·B·F for the texts of labels a step; (N + L)·F once; 4·L·d bytes of weights and up",
    defaults: &[
        "composer.name=ngame",
        "head.name=classifier",
        "head.loss=supcon",
        "head.labels=sampled",
        "head.text_share=0.5",
        "head.temperature=0.0556",
        "head.mined=6",
        "head.uniform=0",
        "head.encoder_lr=1e-4",
    ],
};
