//! AnglE: CoSENT over a similarity of embeddings that are read as complex numbers.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "angle",
    summary: "CoSENT over a similarity of embeddings that are read as complex numbers",
    citation: "Li, Li, AnglE-optimized text embeddings, 2023",
    cost: "none",
    defaults: &[
        "composer.name=shuffled",
        "loss.name=cosent",
        "loss.similarity=angle",
        "loss.temperature=0.05",
    ],
};
