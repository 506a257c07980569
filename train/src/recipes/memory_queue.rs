//! Cross-batch memory: what labels of batches before looked like are negatives as well. They cost no encoding.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "memory-queue",
    summary: "label embeddings of the batches before are negatives as well, as they were then",
    citation: "Wang et al., Cross-batch memory for embedding learning, CVPR 2020",
    cost: "encodes nothing more; queue·B more scores, 4·queue·width bytes",
    defaults: &["composer.name=shuffled", "memory.queue=4096"],
};
