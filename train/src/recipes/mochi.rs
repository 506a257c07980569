//! MoCHi: the hardest of MoCo's queue are mixed with each other and with the query into negatives that are harder.
//!
//! The paper begins to mix after ten or more epochs; here it begins with the run, so start from a trained model.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "mochi",
    summary: "moco, and negatives mixed of the hardest in the queue",
    citation: "Kalantidis et al., Hard negative mixing for contrastive learning, NeurIPS 2020",
    cost: "as moco; (mixed + mixed_with_query)·B·width more numbers in a step",
    defaults: &[
        "composer.name=shuffled",
        "memory.queue=16384",
        "memory.momentum=0.999",
        "memory.mixed_from=256",
        "memory.mixed=128",
        "memory.mixed_with_query=32",
        "loss.temperature=0.2",
    ],
};
