//! Random negatives by Zipf's law over the ranks of labels by frequency, and a loss that is corrected for it.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "log-uniform",
    summary: "labels drawn by their rank among the frequent ones (Zipf); the softmax corrected for it",
    citation: "Jean et al., On using very large target vocabulary for neural machine translation, ACL 2015; the law \
        of TensorFlow's sampler",
    cost: "encodes the labels drawn: count·B·F",
    defaults: &["composer.name=shuffled", "negatives.from=random", "negatives.law=log-uniform"],
};
