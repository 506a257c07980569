//! A cross-encoder is trained in the place of an encoder: each row's positive against labels that BM25, or a model,
//! ranks high for it.
//!
//! The encoder of the run ranks where lists are a model's, gives the cross-encoder its weights (`cross.model=start`),
//! and stays as it is.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "cross-encoder",
    summary: "trains a model that reads query and label together, on labels that BM25 or a model ranks high",
    citation: "Gao, Dai, Callan, Rethink training of BERT rerankers in multi-stage retrieval pipeline, ECIR 2021; \
        Nogueira, Cho, Passage re-ranking with BERT, 2019 (cross.loss=pairs)",
    cost: "reads B·(1 + count) pairs and encodes nothing; N searches by words once",
    defaults: &[
        "composer.name=shuffled",
        "negatives.from=bm25",
        "negatives.count=7",
        "negatives.depth=100",
        "negatives.pick=uniform",
        "negatives.own=true",
        "train.batch=32",
        "cross.model=start",
        "cross.share=1.0",
    ],
};
