//! Momentum contrast: labels are embedded by a copy of the encoder that follows it slowly, and stay in a queue.
//!
//! Gradients reach the encoder through queries alone. The published loss has the queue as its only negatives; here the
//! labels of the other rows, embedded by the same copy, stand beside it, as in any batch.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "moco",
    summary: "a slow copy of the encoder embeds labels, and those of the batches before stay as negatives",
    citation: "He et al., Momentum contrast for unsupervised visual representation learning, CVPR 2020",
    cost: "labels are encoded without a tape: B·F in the place of 3·B·F; a copy of the model, 4·queue·width bytes",
    defaults: &[
        "composer.name=shuffled",
        "memory.queue=16384",
        "memory.momentum=0.999",
        "loss.temperature=0.07",
    ],
};
