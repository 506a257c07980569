//! Random negatives, each label as likely as any other, and a loss that is corrected for it: sampled softmax.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "uniform",
    summary: "labels drawn uniformly besides the positives of the batch; the softmax corrected for it",
    citation: "Bengio and Senécal, Adaptive importance sampling to accelerate training of a neural probabilistic \
        language model, 2008",
    cost: "encodes the labels drawn: count·B·F",
    defaults: &["composer.name=shuffled", "negatives.from=random", "negatives.law=uniform"],
};
