//! NV-Embed: latent-attention pooling, and negatives of a teacher's lists below 95 % of the positive's score.
//!
//! The first stage is this recipe as it is: a row meets the listed labels of all rows and the positives of the batch.
//! In the second, on data whose rows share classes, `negatives.own=true` leaves each row its own listed labels alone.
//! Tokens of prompts, which are its instructions, are read and not pooled.
//! Seven negatives a row are published; the lists are 50 deep here, since the margin may leave less of shorter ones.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "nv-embed",
    summary: "latent-attention pooling and a teacher's lists; with negatives.own=true the second stage",
    citation: "Lee et al., NV-Embed: Improved techniques for training LLMs as generalist embedding models, ICLR 2025",
    cost: "encodes the labels drawn: count·B·F; 28·d² + 4·r·d operations a token; (N + L)·F once",
    defaults: &[
        "composer.name=shuffled",
        "model.pooling=latent",
        "model.prompts=apart",
        "negatives.from=model",
        "negatives.count=7",
        "negatives.depth=50",
        "negatives.relative_margin=0.05",
        "negatives.pick=uniform",
    ],
};
