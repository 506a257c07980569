//! Exercise 7: who is no negative.
//!
//! ```text
//! keep[i, j] = true    if j is the target column of row i
//!              false   if the label of column j is a positive of query i, or has the text of one
//!              true    otherwise
//! ```

/// What is known.
pub(crate) struct Known {
    /// The labels of each query.
    pub(crate) positives: Vec<Vec<u32>>,
    /// The number of each label's text: labels with the same text share it.
    pub(crate) text: Vec<u32>,
}

/// The mask, row by row: rows are `queries`, columns are the labels `columns`; `target[i]` is the column of the
/// positive that was drawn for row i.
pub(crate) fn keep(known: &Known, queries: &[u32], columns: &[u32], target: &[u32]) -> Vec<bool> {
    // HOLE: all positives of a query count, not the drawn one alone.
    vec![known.text.len() < target.len(); queries.len() * columns.len()]
}
