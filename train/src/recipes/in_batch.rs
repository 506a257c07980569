//! In-batch negatives: random batches, the positives of the other rows are the negatives.

use super::Recipe;
use samplers::composer::{Cut, Last, shuffled::Shuffled};

pub(super) const RECIPE: Recipe = Recipe {
    name: "shuffled",
    summary: "random batches; the other rows' positives are the negatives",
    citation: "Karpukhin et al., Dense passage retrieval for open-domain question answering, EMNLP 2020 \
               (in-batch part)",
    cost: "none",
    defaults: |_| Ok(()),
    composer: |config, rows| {
        Ok(Box::new(Shuffled::new(rows, Cut { batch: config.train.batch, last: Last::Drop })))
    },
};
