//! Matcher-aware negatives: labels in the leaves of a label tree that a query is matched to, and in those of its
//! positives, any of them alike.
//!
//! In the paper a tree of classifiers is learned level by level, and the level above is the matcher. Here the matcher
//! is the encoder in training, the tree has one level of leaves, and the leaves are made of its embeddings of labels.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "label-tree",
    summary: "labels of the leaves of a label tree that the model matches a query to, and of those of its positives",
    citation: "after Yu, Zhong, Dhillon, PECOS: Prediction for enormous and correlated output spaces, JMLR 2022",
    cost: "encodes the labels drawn: count·B·F; (N + L)·F, clusters of L labels and N searches among leaves at each \
        refresh",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=tree",
        "negatives.leaf=32",
        "negatives.beam=4",
        "negatives.count=4",
        "negatives.depth=200",
        "negatives.refresh_steps=500",
        "negatives.pick=uniform",
        "loss.name=infonce",
    ],
};
