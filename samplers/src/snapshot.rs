//! A strategy asks for embeddings and is told; it never calls a model.

use crate::Matrix;

/// Which embeddings a strategy wants before it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// One row for every training query.
    pub queries: bool,
    /// One row for every label.
    pub labels: bool,
}

impl Need {
    /// No embeddings.
    pub const NOTHING: Need = Need { queries: false, labels: false };
    /// The embeddings of the training queries.
    pub const QUERIES: Need = Need { queries: true, labels: false };
    /// The embeddings of the labels.
    pub const LABELS: Need = Need { queries: false, labels: true };

    /// True when nothing is wanted.
    pub fn is_nothing(self) -> bool {
        self == Need::NOTHING
    }
}

/// The embeddings that answer a [`Need`]: row `i` belongs to the query, or the label, with id `i`.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The optimizer step whose parameters made the embeddings; for a memory bank, the oldest such step.
    pub made_at_step: u64,
    /// Embeddings of the training queries, `[N, d]`.
    pub queries: Option<Matrix<'a>>,
    /// Embeddings of the labels, `[L, d]`.
    pub labels: Option<Matrix<'a>>,
}
