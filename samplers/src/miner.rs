//! **Which negatives.** A miner names the labels against which a batch is scored.
//!
//! ```text
//! scores [B, U + O]     columns 0..U   `shared` labels, the same for every row
//!                       columns U..    `own` labels, O of them for each row
//! target[i]             the column, among the shared ones, of row i's positive
//! ```

use engine::{Engine, Stream};

use crate::{Csr, Need, Snapshot, tags};

pub mod in_batch;

/// Decides which labels a batch is scored against.
pub trait Miner: Send {
    /// The embeddings wanted before this epoch.
    fn need(&self, _epoch: u32) -> Need {
        Need::NOTHING
    }
    /// Takes the embeddings asked for by [`need`](Miner::need) of this epoch.
    fn refresh(&mut self, _engine: &Engine, _epoch: u32, _snapshot: &Snapshot<'_>) {}
    /// The labels for this batch. Every row's positive is among the shared ones.
    fn candidates(&self, batch: &Batch<'_>, stream: Stream) -> Candidates;
}

/// Queries, and the positive drawn for each.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Query ids, `[B]`.
    pub queries: &'a [u32],
    /// The label drawn for each query, `[B]`.
    pub positives: &'a [u32],
}

/// The labels of a batch's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// Label ids of the shared columns, `[U]`, each once, ascending.
    pub shared: Vec<u32>,
    /// The shared column of each row's positive, `[B]`.
    pub target: Vec<u32>,
    /// Label ids of each row's own columns, `[B, own_width]`.
    pub own: Vec<u32>,
    /// Own columns of a row (O).
    pub own_width: usize,
    /// Log of the probability with which each shared column was sampled, `[U]`, for losses that correct for
    /// it.
    pub log_q: Option<Vec<f32>>,
}

/// One of the positives of the query with id `query`, each with the same probability. Of `stream` seed and
/// step count: the draw of a query depends on nothing else in the batch.
///
/// # Panics
/// If the query has no positive.
pub fn draw_positive(positives: &[u32], stream: Stream, query: u32) -> u32 {
    let stream = stream.with_tag(tags::POSITIVE);
    positives[stream.below(u64::from(query), positives.len() as u64) as usize]
}

/// [`draw_positive`] for each of `queries`; row `q` of `positives` holds the labels of query `q`.
///
/// # Panics
/// If a query has no positive.
pub fn draw_positives(queries: &[u32], positives: Csr<'_>, stream: Stream) -> Vec<u32> {
    queries.iter().map(|&query| draw_positive(positives.row(query as usize), stream, query)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positives_are_drawn_uniformly() {
        let counts = (0..30_000).fold([0u32; 3], |mut counts, step| {
            let label = draw_positive(&[10, 11, 12], Stream::new(1, 0).at_step(step), 5);
            counts[label as usize - 10] += 1;
            counts
        });
        // Expectation 10,000 each; five standard deviations are 408.
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 408), "{counts:?}");
    }

    #[test]
    fn a_draw_depends_on_its_own_query_alone() {
        let starts: Vec<u64> = (0..=50).map(|i| 8 * i).collect();
        let items: Vec<u32> = (0..400).collect();
        let csr = Csr { starts: &starts, items: &items };
        let stream = Stream::new(3, 0).at_step(9);
        let all: Vec<u32> = (0..50).collect();
        let drawn = draw_positives(&all, csr, stream);
        assert_eq!(draw_positives(&[40, 7], csr, stream), [drawn[40], drawn[7]]);
        assert_eq!(drawn, draw_positives(&all, csr, stream.with_tag(77)));
        assert_ne!(drawn, draw_positives(&all, csr, stream.at_step(10)));
    }
}
