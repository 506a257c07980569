//! NGAME: batches of whole clusters of near queries, so that the positives of the neighbours are hard negatives.
//!
//! Departures from the published code: new clusters take effect at once (it installs them an epoch late), and a label
//! drawn by several rows is one column.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "ngame",
    summary: "batches of whole clusters of near queries: in-batch negatives that are hard",
    citation: "Dahiya et al., NGAME: Negative mining-aware mini-batching for extreme classification, WSDM 2023",
    cost: "4·N·d bytes for the memory bank; a clustering of N stored vectors at each refresh",
    defaults: &["composer.name=ngame"],
};
