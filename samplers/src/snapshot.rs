//! A composer asks for embeddings and is told; it never calls a model.

use crate::Matrix;

/// The embeddings that a composer wanted.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The optimizer step whose parameters made the embeddings; for a memory bank, the oldest such step.
    pub made_at_step: u64,
    /// Row `i` belongs to what is composed under the id `i`, a query or a label: `[n, d]`.
    pub embeddings: Matrix<'a>,
}
