//! Random negatives by a power of the label's frequency, as word2vec draws words, and a loss that is corrected for it.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "popularity",
    summary: "labels drawn by a power of their frequency; the softmax corrected for it",
    citation: "Mikolov et al., Distributed representations of words and phrases, NeurIPS 2013; Yi et al., \
        Sampling-bias-corrected neural modeling, RecSys 2019",
    cost: "encodes the labels drawn: count·B·F",
    defaults: &["composer.name=shuffled", "negatives.from=random", "negatives.law=popularity"],
};
