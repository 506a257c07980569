//! What the columns of a matrix of scores are to its rows, where a row may have several positives.

use std::sync::Arc;

/// Which columns are positives of a row, and which count as its negatives: `[n, m]` each. A column that is neither
/// plays no part in the row.
#[derive(Clone, Debug)]
pub struct Relevance {
    /// True where the column is a positive of the row.
    pub positive: Arc<[bool]>,
    /// True where the column counts as a negative of the row; what is a positive never does, whatever stands here.
    pub negative: Arc<[bool]>,
}

impl Relevance {
    /// Whether these are the columns of so many scores.
    pub fn fits(&self, scores: usize) -> bool {
        self.positive.len() == scores && self.negative.len() == scores
    }
    /// The positives and the negatives of row `i` of m columns.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize, m: usize) -> (&[bool], &[bool]) {
        (&self.positive[i * m..][..m], &self.negative[i * m..][..m])
    }
}
