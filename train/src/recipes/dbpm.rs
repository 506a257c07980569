//! Dynamic bad pair mining, after its idea: pairs that were always far easier, or far harder, than the others weigh
//! less. A pair that is far too hard may be a wrong one; it may also be one worth learning.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "dbpm",
    summary: "pairs whose loss was far off that of the others, epoch for epoch, weigh less",
    citation: "after Zhang et al., Dynamic bad pair mining in contrastive learning of time series, 2023",
    cost: "12 bytes a training query",
    defaults: &["composer.name=shuffled", "memory.easy=2.0", "memory.hard=3.0", "memory.warmup_epochs=1"],
};
