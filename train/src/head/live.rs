//! Negatives that the step looks for itself, by the embeddings that its queries have at that moment (ADORE; Zhan et
//! al., SIGIR 2021).
//!
//! ```text
//! H_q   the k labels with the highest scores for q, of all but those that may not count for it       [n, k]
//! N_q   = H_q \ Y_q
//! P_q   = H_q ∩ Y_q, or Y_q where that is empty: such a positive has a rank beyond k
//! ```
//! What may not count are labels that another query of this text has, that the data set filters, and those with the
//! text of one of these or of a positive: they take no place in H_q. An exact search, 2·n·L·d flops; nothing is kept
//! between steps, so nothing is old.

use super::candidates::Candidates;
use super::labels::{AllLabels, Marks};
use crate::text_ids::TextIds;
use autograd::Relevance;
use data::DataSet;
use engine::Engine;
use samplers::search::{Hits, Limits};
use samplers::{Items, Lists, Matrix, TableRows};

/// The search of a step.
pub(crate) struct Live {
    /// k.
    depth: usize,
    labels: AllLabels,
}

impl Live {
    /// A search for `depth` labels a query.
    pub(crate) fn new(depth: usize, data: &DataSet, ids: &TextIds) -> Live {
        Live { depth, labels: AllLabels::new(data, ids) }
    }
    /// What the embeddings `queries` of `rows` find among `weights`, and how many pairs may not count.
    pub(crate) fn find(
        &self,
        engine: &Engine,
        (data, ids): (&DataSet, &TextIds),
        rows: &[u32],
        (queries, weights): (Matrix<'_>, TableRows<'_>),
    ) -> (Candidates, usize) {
        let marks = self.labels.marks(data, ids, rows);
        let barred: Lists = (0..rows.len()).map(|i| marks.out_of(i).to_vec()).collect();
        let limits = Limits { exclude: Some(barred.csr()), only: None };
        let hits = Items::Table(weights).search(engine, queries, self.depth, limits);
        (candidates(&marks, &hits, rows.len()), marks.left_out())
    }
}

/// One column for each label that some row has, and what it is to that row alone.
fn candidates(marks: &Marks, hits: &Hits, rows: usize) -> Candidates {
    let own = |i: usize, label: &u32| marks.own(i).binary_search(label).is_ok();
    let positives = |i: usize| -> Vec<u32> {
        let found: Vec<u32> = hits.row(i).0.iter().copied().filter(|label| own(i, label)).collect();
        if found.is_empty() { marks.own(i).to_vec() } else { found }
    };
    let positives: Vec<Vec<u32>> = (0..rows).map(positives).collect();
    let hit = (0..rows).flat_map(|i| hits.row(i).0);
    let mut labels: Vec<u32> = hit.chain(positives.iter().flatten()).copied().collect();
    labels.sort_unstable();
    labels.dedup();
    let m = labels.len();
    let place = |i: usize, label: &u32| i * m + labels.binary_search(label).expect("each has a column");
    let (mut positive, mut negative) = (vec![false; rows * m], vec![false; rows * m]);
    for (i, of) in positives.iter().enumerate() {
        of.iter().for_each(|label| positive[place(i, label)] = true);
        let foreign = hits.row(i).0.iter().filter(|label| !own(i, label));
        foreign.for_each(|label| negative[place(i, label)] = true);
    }
    let relevance = Relevance { positive: positive.into(), negative: negative.into() };
    Candidates { omega: vec![1.0; m], labels, relevance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use data::Split;
    use engine::Table;

    /// Labels on a circle, the nearer to 0 the lower their number; the query points at label 0.
    fn found(titles: &str, positives: &str, names: &str, depth: usize, more: &[(&str, &str)]) -> Vec<Row> {
        let (_dir, data) = fixture::xc(names, titles, positives, more);
        let ids = TextIds::of(&data, false);
        let total = data.labels().len();
        let mut table = Table::zeros(total, 2);
        let angle = |label: usize| 0.1 * label as f32;
        let rows = (0..total).flat_map(|label| [angle(label).cos(), angle(label).sin()]);
        table.data_mut().copy_from_slice(&rows.collect::<Vec<f32>>());
        let queries: Vec<u32> = (0..data.queries(Split::Train).len() as u32).collect();
        let x = queries.iter().flat_map(|_| [1.0f32, 0.0]).collect::<Vec<f32>>();
        let (x, weights) = (Matrix::new(&x, 2), TableRows { table: &table, factor: None, normalised: false });
        let live = Live::new(depth, &data, &ids);
        let (found, _) = live.find(&Engine::new(2), (&data, &ids), &queries, (x, weights));
        let m = found.labels.len();
        let of = |marks: &[bool], i: usize| -> Vec<u32> {
            (0..m).filter(|&c| marks[i * m + c]).map(|c| found.labels[c]).collect()
        };
        let row = |i| (of(&found.relevance.positive, i), of(&found.relevance.negative, i));
        (0..queries.len()).map(row).collect()
    }

    /// Positives and negatives.
    type Row = (Vec<u32>, Vec<u32>);

    const NAMES: &str = "a\nb\nc\nd\ne\nf\n";

    #[test]
    fn what_is_found_is_positive_or_negative_to_the_row_that_found_it() {
        let rows = found("red\nblue\n", "2 6\n1:1 4:1\n5:1\n", NAMES, 3, &[]);
        // Row 0 finds its label 1 and not its label 4; row 1 finds none of its own, so that it stands beside the hits.
        assert_eq!(rows, [(vec![1], vec![0, 2]), (vec![5], vec![0, 1, 2])]);
    }

    #[test]
    fn what_may_not_count_takes_no_place() {
        // The same title twice: each row's label is known of the other.
        let rows = found("red\nred\n", "2 6\n1:1\n3:1\n", NAMES, 3, &[]);
        assert_eq!(rows, [(vec![1], vec![0, 2]), (vec![3], vec![0, 2])]);
        // Label 0 is called as the positive is.
        let rows = found("red\n", "1 6\n2:1\n", "c\nb\nC\nd\ne\nf\n", 3, &[]);
        assert_eq!(rows, [(vec![2], vec![1, 3])]);
        // What the data set filters.
        let filter = [("filter_labels_train.txt", "0 1\n")];
        let rows = found("red\n", "1 6\n2:1\n", NAMES, 3, &filter);
        assert_eq!(rows, [(vec![2], vec![0, 3])]);
    }

    #[test]
    fn a_search_deeper_than_there_are_labels_finds_them_all() {
        let rows = found("red\n", "1 6\n4:1\n", NAMES, 50, &[]);
        assert_eq!(rows, [(vec![4], vec![0, 1, 2, 3, 5])]);
    }
}
