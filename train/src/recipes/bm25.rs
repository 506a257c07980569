//! DPR: one label that BM25 ranks high and that is not the query's own, for each row; all rows meet all of them.
//!
//! DPR scores by the inner product and τ = 1; encoders here end in vectors of length 1, so τ stays what the loss has.

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "bm25",
    summary: "DPR: the label that BM25 ranks best beside the query's own, for each row; all rows meet all",
    citation: "Karpukhin et al., Dense passage retrieval for open-domain question answering, EMNLP 2020",
    cost: "encodes the labels drawn: count·B·F; BM25 lists once",
    defaults: &["composer.name=shuffled", "negatives.from=bm25", "negatives.pick=top", "negatives.count=1"],
};
