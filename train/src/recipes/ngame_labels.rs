//! NGAME over labels: batches of clusters of near labels, for each of which one of its queries is drawn. A rare label
//! is trained on as often as a frequent one, which helps the tail and costs precision at the head.
//!
//! The published code names it under `batch_type`, and it does not run; the figures are those of LEVER (Buvanesh et
//! al., ICLR 2024, table 12), which trains its teacher so.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "ngame-labels",
    summary: "batches of whole clusters of near labels, each with one of its queries: rare labels come as often",
    citation: "Dahiya et al., NGAME, WSDM 2023 (label-wise batches); Buvanesh et al., LEVER, ICLR 2024",
    cost: "4·L·d bytes for the memory bank; a clustering of L stored vectors at each refresh",
    defaults: &["composer.name=ngame", "composer.of=labels"],
};
