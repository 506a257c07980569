//! Exercise 7: who is no negative.
//!
//! ```text
//! keep[i, j] = true    if j is the target column of row i
//!              false   if the label of column j is a positive of query i, or has the text of one
//!              true    otherwise
//! ```

use crate::exercises::mask::Known;

/// The mask, row by row: rows are `queries`, columns are the labels `columns`; `target[i]` is the column of the
/// positive that was drawn for row i.
pub(crate) fn keep(known: &Known, queries: &[u32], columns: &[u32], target: &[u32]) -> Vec<bool> {
    let text = |label: u32| known.text[label as usize];
    let mut all = vec![];
    for (&query, &target) in queries.iter().zip(target) {
        let own = &known.positives[query as usize];
        let answers = |label: u32| own.iter().any(|&positive| text(positive) == text(label));
        all.extend(columns.iter().zip(0..).map(|(&label, j)| j == target || !answers(label)));
    }
    all
}
