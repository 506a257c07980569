//! DEXML: every label is a column, and each positive of a query is compared with the query's negatives alone.
//!
//! Known positives are masked in every block here, so the softmax is decoupled without another loss. Published over raw
//! inner products on two of its data sets; cosines here.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "dexml",
    summary: "every label is a column of every batch: no negative is missed",
    citation: "Gupta et al., Dual-encoders for extreme multi-label classification, ICLR 2024",
    cost: "encodes all labels in every step: L·F, in chunks",
    defaults: &["composer.name=shuffled", "negatives.from=all", "train.chunk=256"],
};
