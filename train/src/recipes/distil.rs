//! The distribution of a guide over the columns of a row is learned.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "distil",
    summary: "a guide's distribution over the columns is learned",
    citation: "Hinton et al., Distilling the knowledge in a neural network, 2015",
    cost: "encodes the batch by the guide: 2·B·F without a tape",
    defaults: &["composer.name=shuffled", "loss.name=distil", "guide.mask=false"],
};
