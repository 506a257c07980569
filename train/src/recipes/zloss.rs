//! The Z-loss: a classifier of all labels whose step costs the same whatever their number is.
//!
//! The loss sees how many standard deviations a label stands above the mean of all scores. Mean and deviation of all
//! scores are known from d × d numbers that are kept of the weights, so descent over all labels is exact and reads few
//! of them (`models::heads::factored`). The published example has a rate of 0.01 for the sum over a batch of 200.

use super::Recipe;

/// What the loss cannot do without.
pub(super) const NEEDS: [&str; 3] = ["head.labels=factored", "head.optimizer=sgd", "train.lr=3.0"];

pub(super) const RECIPE: Recipe = Recipe {
    name: "zloss",
    summary: "a classifier of all labels, exactly, at a cost that does not grow with them: labels by their z-scores",
    citation: "de Brébisson & Vincent, The Z-loss, 2016; Vincent et al., Efficient exact gradient update, NIPS 2015",
    cost: "O(B·d²) a step whatever L is, and L·d² every O(L) steps; (N + L)·F once; 4·L·d bytes of weights",
    defaults: &[
        "composer.name=shuffled",
        "head.name=classifier",
        "head.loss=zloss",
        "head.labels=factored",
        "head.optimizer=sgd",
        "head.dropout=0.0",
        "train.epochs=10",
        "train.lr=3.0",
    ],
};
