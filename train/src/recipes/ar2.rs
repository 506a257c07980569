//! AR2: a retriever and a cross-encoder that ranks learn in turns, the one to find what the other mistakes.
//!
//! The paper's rounds are 2,000 steps, 500 of them the ranker's, with lists of 15. Both models come warm: the retriever
//! is the one that the run starts from, and a ranker with a fresh head knows nothing to teach.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "ar2",
    summary: "encoder and cross-encoder learn in turns: from its ranking, and from what it is fooled by",
    citation: "after Zhang et al., Adversarial retriever-ranker for dense text retrieval, ICLR 2022",
    cost: "encodes the labels drawn: count·B·F, or reads B·(1 + count) pairs; both in a step of the encoder; \
        (N + L)·F at each refresh",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=model",
        "negatives.count=15",
        "negatives.depth=100",
        "negatives.refresh_steps=400",
        "negatives.pick=uniform",
        "negatives.own=true",
        "train.batch=32",
        "loss.name=ar2",
        "loss.teacher_temperature=1.0",
        "cross.model=start",
        "cross.share=0.25",
        "cross.lr=1e-5",
    ],
};
