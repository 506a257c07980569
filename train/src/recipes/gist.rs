//! GISTEmbed: a frozen guide judges every pair of a batch, and what it finds nearer to a row than the row's own
//! positive is no negative: labels, but queries against queries and labels against labels, too.
//!
//! The guide is the model that the run starts from, unless another is named: the better it is, the better its
//! judgement.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "gist",
    summary: "a frozen guide takes out what it finds nearer to a row than its positive, in three blocks",
    citation: "Solatorio, GISTEmbed: Guided in-sample selection of training negatives for text embedding \
        fine-tuning, 2024",
    cost: "encodes the batch by the guide: 2·B·F without a tape; B² more scores for each block",
    defaults: &[
        "composer.name=shuffled",
        "guide.model=start",
        "loss.temperature=0.01",
        "loss.blocks=['query-label', 'query-query', 'label-label']",
    ],
};
