//! ADORE: the encoder learns queries alone, against labels whose vectors rest, and each step looks among all of these
//! for the negatives that its queries find at that moment.
//!
//! The vectors are a classifier's weights that no optimizer moves: the embeddings of the labels' texts by the model
//! that the run starts from, which must rank already. So a run keeps both encoders that the method wants, the one that
//! learns and what the other made, and `--score classifier` ranks by them. The published code takes batches of 32, a
//! rate of 5e-6 with 2,000 steps of warm-up, and the top 200.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "adore",
    summary: "labels rest, queries learn: each step searches all labels for its negatives; weighed by reciprocal rank",
    citation: "Zhan et al., Optimizing dense retrieval model training with hard negatives, SIGIR 2021",
    cost: "2·B·L·d for the search; (N + L)·F once, and no label is encoded again",
    defaults: &[
        "composer.name=shuffled",
        "head.name=classifier",
        "head.optimizer=none",
        "head.labels=live",
        "head.shortlist=200",
        "head.loss=lambdamrr",
        "head.dropout=0.0",
        "train.batch=32",
    ],
};
