//! **Which negatives.** A miner names labels against which a batch is scored, beside the positives of the batch.
//!
//! ```text
//! columns  [U]     the positives of all rows and what the miner drew, each label once, ascending
//! target   [B]     the column of row i's positive
//! own      [B, ·]  the columns that were drawn for row i alone; every other row is scored against them, too
//! chance   [U]     the probability with which a label is a column at all, where the miner knows it
//! ```
//! A label is encoded once, however many rows it was drawn for, and a product over one more column costs next to
//! nothing: so there are no columns that only one row sees. Whoever wants each row to meet its own negatives alone
//! masks the others ([`crate::shaper::own::OwnOnly`]).

use engine::Stream;

use crate::{Csr, Lists, Ranked, tags};

pub mod all;
pub mod in_batch;
pub mod listed;
pub mod random;

/// Decides which labels a batch is scored against.
pub trait Miner: Send {
    /// The most labels that it adds to a batch of so many pairs.
    fn most(&self, _pairs: usize) -> usize {
        0
    }
    /// Labels for this batch besides its positives; one that is drawn twice is one column. Known positives among them
    /// do no harm: the mask of the batch takes them out, for every miner alike.
    fn draw(&self, batch: &Batch<'_>, stream: Stream) -> Drawn;
    /// The probability with which `label` is a column of a batch of so many pairs; none where the miner's choice is no
    /// sample of a known law.
    fn chance(&self, _label: u32, _pairs: usize) -> Option<f64> {
        None
    }
    /// Whether it wants ranked lists before this step, to go on with.
    fn wants_lists(&self, _step: u64) -> bool {
        false
    }
    /// Takes the lists that it wanted, or those of a checkpoint.
    fn install(&mut self, _lists: Ranked) {}
    /// The lists that it draws from.
    fn lists(&self) -> Option<&Ranked> {
        None
    }
}

/// Queries, and the positive drawn for each.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Query ids, `[B]`.
    pub queries: &'a [u32],
    /// The label drawn for each query, `[B]`.
    pub positives: &'a [u32],
}

/// What a miner adds to the positives of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    /// Labels for the whole batch.
    pub shared: Vec<u32>,
    /// Labels for each row, `[B]` rows; none where nothing is drawn for single rows.
    pub own: Option<Lists>,
}

/// The labels of a batch's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// Label ids of the columns, `[U]`, each once, ascending.
    pub columns: Vec<u32>,
    /// The column of each row's positive, `[B]`.
    pub target: Vec<u32>,
    /// The columns drawn for each row, `[B]` rows; none where nothing is drawn for single rows.
    pub own: Option<Lists>,
    /// The probability with which each column is one, `[U]`.
    pub chance: Option<Vec<f64>>,
}

impl Candidates {
    /// Asks `miner`, and puts what it names and the positives into columns.
    pub fn of(miner: &dyn Miner, batch: &Batch<'_>, stream: Stream) -> Candidates {
        let Drawn { shared, own } = miner.draw(batch, stream);
        let drawn = own.as_ref().map_or(&[][..], |own| own.items());
        let mut columns = [batch.positives, &shared, drawn].concat();
        columns.sort_unstable();
        columns.dedup();
        let column = |label: &u32| columns.binary_search(label).expect("every label is a column") as u32;
        let target: Vec<u32> = batch.positives.iter().map(column).collect();
        let own = own.map(|own| own.map(column));
        let pairs = batch.queries.len();
        let chance = columns.iter().map(|&label| miner.chance(label, pairs)).collect();
        Candidates { target, own, chance, columns }
    }
}

/// Queries, and the positives drawn for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// Query ids; a query stands here once for each positive drawn for it.
    pub queries: Vec<u32>,
    /// The positive of each pair.
    pub positives: Vec<u32>,
    /// What a pair weighs in the loss, so that all queries weigh the same.
    pub weight: Vec<f32>,
}

/// Draws positives for each of `queries`; row `q` of `positives` holds the labels P(q) of query `q`.
///
/// ```text
/// π₁ … π_k ⊆ P(q), k = min(most, |P(q)|)     every set of k with the same probability; all of P(q) for most = 0
/// ρ = 1/k                                    what each of the k pairs weighs
/// ```
/// A weighted mean over the pairs is, in expectation, the mean over one positive a query, as NGAME draws it. It varies
/// less from step to step, and costs only the texts of the further labels: the query is encoded once.
///
/// Of `stream` seed and step count: the draw of a query depends on nothing else in the batch.
///
/// # Panics
/// If a query has no positive.
pub fn draw_positives(queries: &[u32], positives: Csr<'_>, most: usize, stream: Stream) -> Pairs {
    let stream = stream.with_tag(tags::POSITIVE);
    let mut pairs = Pairs { queries: vec![], positives: vec![], weight: vec![] };
    for &query in queries {
        let mut labels = positives.row(query as usize).to_vec();
        assert!(!labels.is_empty(), "query {query} has no positive");
        let k = if most == 0 { labels.len() } else { most.min(labels.len()) };
        for j in 0..k {
            let left = (labels.len() - j) as u64;
            labels.swap(j, j + stream.below(u64::from(query) | (j as u64) << 32, left) as usize);
        }
        pairs.queries.extend(std::iter::repeat_n(query, k));
        pairs.positives.extend(&labels[..k]);
        pairs.weight.extend(std::iter::repeat_n(1.0 / k as f32, k));
    }
    pairs
}

/// Draws a query for each of `labels`; row `l` of `queries` holds the queries Q(l) of label `l`.
///
/// ```text
/// q ∈ Q(l), each with the same probability: the pair is (q, l)
/// ```
/// A batch that is composed of labels: a rare label then comes as often as a frequent one (NGAME's label-wise batches).
/// Of `stream` seed and step count: the draw of a label depends on nothing else in the batch.
///
/// # Panics
/// If a label has no query.
pub fn draw_queries(labels: &[u32], queries: Csr<'_>, stream: Stream) -> Pairs {
    let stream = stream.with_tag(tags::QUERY);
    let one = |&label: &u32| {
        let of = queries.row(label as usize);
        assert!(!of.is_empty(), "label {label} has no query");
        of[stream.below(u64::from(label), of.len() as u64) as usize]
    };
    let drawn = labels.iter().map(one).collect();
    Pairs { queries: drawn, positives: labels.to_vec(), weight: vec![1.0; labels.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fifty queries; query q has the labels 8q … 8q + 7.
    fn fifty() -> (Vec<u64>, Vec<u32>) {
        ((0..=50).map(|i| 8 * i).collect(), (0..400).collect())
    }

    #[test]
    fn positives_are_drawn_uniformly() {
        let csr = Csr { starts: &[0, 3], items: &[10, 11, 12] };
        for most in [1, 2] {
            let mut counts = [0u32; 3];
            for step in 0..30_000 {
                let pairs = draw_positives(&[0], csr, most, Stream::new(1, 0).at_step(step));
                pairs.positives.iter().for_each(|label| counts[*label as usize - 10] += 1);
            }
            // Expectation 10,000 · most each; five standard deviations are 408 at most.
            assert!(counts.iter().all(|c| c.abs_diff(10_000 * most as u32) < 408), "{counts:?}");
        }
    }

    #[test]
    fn a_query_gets_different_positives_and_weighs_as_much_as_any_other() {
        let csr = Csr { starts: &[0, 2, 7], items: &[4, 9, 0, 1, 2, 3, 5] };
        let pairs = draw_positives(&[0, 1], csr, 4, Stream::new(2, 0));
        assert_eq!(pairs.queries, [0, 0, 1, 1, 1, 1]);
        assert_eq!(pairs.weight, [0.5, 0.5, 0.25, 0.25, 0.25, 0.25]);
        let mut drawn = pairs.positives.clone();
        drawn[..2].sort_unstable();
        drawn[2..].sort_unstable();
        drawn[2..].windows(2).for_each(|w| assert!(w[0] < w[1], "{drawn:?}"));
        assert!(drawn[..2] == [4, 9] && drawn[2..].iter().all(|l| [0, 1, 2, 3, 5].contains(l)), "{drawn:?}");
        assert_eq!(draw_positives(&[1], csr, 0, Stream::new(2, 0)).positives.len(), 5, "0 is all");
    }

    #[test]
    fn queries_of_a_label_are_drawn_uniformly_whatever_else_is_in_the_batch() {
        let queries = Csr { starts: &[0, 1, 4], items: &[9, 3, 5, 8] };
        let mut counts = [0u32; 10];
        for step in 0..30_000 {
            let stream = Stream::new(1, 0).at_step(step);
            let pairs = draw_queries(&[1, 0], queries, stream);
            assert_eq!((pairs.queries[1], &pairs.positives[..]), (9, &[1, 0][..]));
            assert_eq!(draw_queries(&[1], queries, stream).queries[0], pairs.queries[0]);
            counts[pairs.queries[0] as usize] += 1;
        }
        // Five standard deviations are 408.
        assert!([3, 5, 8].iter().all(|&q| counts[q].abs_diff(10_000) < 408), "{counts:?}");
    }

    #[test]
    fn a_draw_depends_on_its_own_query_alone() {
        let (starts, items) = fifty();
        let csr = Csr { starts: &starts, items: &items };
        let stream = Stream::new(3, 0).at_step(9);
        let all: Vec<u32> = (0..50).collect();
        let drawn = draw_positives(&all, csr, 1, stream).positives;
        assert_eq!(draw_positives(&[40, 7], csr, 1, stream).positives, [drawn[40], drawn[7]]);
        assert_eq!(drawn, draw_positives(&all, csr, 1, stream.with_tag(77)).positives);
        assert_ne!(drawn, draw_positives(&all, csr, 1, stream.at_step(10)).positives);
    }
}
