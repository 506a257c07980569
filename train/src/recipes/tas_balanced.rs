//! TAS-Balanced: batches of one topic, for each query a label whose distance from the positive is as likely to be small
//! as large, and distances learned from a teacher.
//!
//! Published with two teachers, a cross-encoder for the listed pairs and a model of token vectors for the batch. Here
//! `guide.model` is both, and ranks the lists where `negatives.model` names it, too. Topics are made once, by the
//! starting model.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "tas-balanced",
    summary: "batches of one topic, labels drawn evenly over their distance from the positive, a teacher's distances",
    citation: "after Hofstätter et al., Efficiently teaching an effective dense retriever with balanced topic aware \
        sampling, SIGIR 2021",
    cost: "encodes the labels drawn and the batch by the guide: B·F and 3·B·F without a tape; (2·N + L)·F once",
    defaults: &[
        "composer.name=ngame",
        "composer.refresh_epochs=1000000",
        "negatives.from=model",
        "negatives.count=1",
        "negatives.depth=200",
        "negatives.pick=bins",
        "loss.name=margin-mse",
        "loss.others=0.75",
        "guide.mask=false",
    ],
};
