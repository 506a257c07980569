//! **Which pairs of texts are scored.** Always queries against labels; a strategy may add others as columns of the same
//! rows, so that one softmax ranges over them all.
//!
//! ```text
//! columns [C]   query–label  s(q_i, l_j) [U]    query–query  s(q_i, q_j) [B]
//!               label–query  s(p_i, q_j) [B]    label–label  s(p_i, l_j) [U]        p_i: the positive of row i
//!
//! keep of     query–query   0 where q_j has the text of q_i or of a row before j, or shares a label with q_i
//!             label–query   0 where p_i, or a label of its text, is known of q_j, or an earlier row has q_j's text
//!             label–label   0 where l_j is known of q_i, has the text of p_i, or is no row's positive
//! ```
//! Behind them stand, where a run remembers (`memory.queue`), labels of batches before, and what was mixed of these:
//! a queued label is masked as a fresh one is, a mixture is masked where its row has nothing to mix.
//!
//! GISTEmbed has three of them (Solatorio 2024), the improved contrastive loss of GTE all four (Li et al., "Towards
//! general text embeddings with multi-stage contrastive learning", 2023, eq. 2), sentence-transformers calls them
//! directions. A known positive is never a negative, in any block: here the rule is carried over to pairs of queries
//! and pairs of labels, which no relation of the data set speaks of.

use crate::mask::{Known, known_positives, no_positive};
use std::collections::HashSet;
use std::str::FromStr;

/// A block of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// The query of a row against the labels.
    QueryLabel,
    /// The query of a row against the queries.
    QueryQuery,
    /// The positive of a row against the queries.
    LabelQuery,
    /// The positive of a row against the labels.
    LabelLabel,
    /// The query of a row against labels of batches before.
    Queue,
    /// The query of a row against what was mixed for it.
    Mixed,
}

impl Block {
    /// The columns of the block, for so many rows, labels, labels of batches before, and mixtures.
    pub fn columns(self, rows: usize, labels: usize, (queued, mixed): (usize, usize)) -> usize {
        match self {
            Block::QueryLabel | Block::LabelLabel => labels,
            Block::QueryQuery | Block::LabelQuery => rows,
            Block::Queue => queued,
            Block::Mixed => mixed,
        }
    }
}

/// Names of blocks, as a configuration has them.
pub const NAMES: [(&str, Block); 4] = [
    ("query-label", Block::QueryLabel),
    ("query-query", Block::QueryQuery),
    ("label-query", Block::LabelQuery),
    ("label-label", Block::LabelLabel),
];

impl FromStr for Block {
    type Err = String;
    fn from_str(name: &str) -> Result<Block, String> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|&(_, block)| block).ok_or_else(|| {
            format!("there is no block `{name}`; there are {}", NAMES.map(|(name, _)| name).join(", "))
        })
    }
}

/// Who stands in the rows and columns of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// The query of each row, `[B]`.
    pub queries: &'a [u32],
    /// For each training query the number of its text: queries and labels ([`Known::text_group`]) with equal text
    /// share it.
    pub query_texts: &'a [u32],
    /// The labels, `[U]`.
    pub labels: &'a [u32],
    /// The label column of each row's positive, `[B]`.
    pub target: &'a [u32],
    /// Labels of batches before.
    pub queued: &'a [u32],
    /// Mixtures a row.
    pub mixed: usize,
}

/// The keep mask of some blocks side by side, `[B, C]`, 1 or 0. Mixtures stand beside the queue that they are mixed of.
pub fn keep(blocks: &[Block], known: &Known<'_>, members: Members<'_>) -> Vec<f32> {
    let queue = if blocks.contains(&Block::Queue) { members.queue(known) } else { vec![] };
    let of = |block: &Block| match block {
        Block::QueryLabel => known_positives(known, members.queries, members.labels, members.target),
        Block::QueryQuery => members.by_rows(known, |i, j| !members.share_a_label(known, i, j)),
        Block::LabelQuery => members.by_rows(known, |i, j| !members.knows_positive(known, j, i)),
        Block::LabelLabel => members.labels_of_labels(known),
        Block::Queue => queue.clone(),
        Block::Mixed => members.mixtures(&queue),
    };
    let parts: Vec<Vec<f32>> = blocks.iter().map(of).collect();
    match &parts[..] {
        [_] => parts.into_iter().next().expect("one block"),
        _ => {
            let n = members.queries.len();
            let row = |i: usize| {
                parts.iter().flat_map(move |part| &part[i * part.len() / n..(i + 1) * part.len() / n])
            };
            (0..n).flat_map(row).copied().collect()
        }
    }
}

impl Members<'_> {
    fn text(&self, row: usize) -> u32 {
        self.query_texts[self.queries[row] as usize]
    }
    /// The rows that are the first of their text.
    fn first_of_text(&self) -> Vec<bool> {
        let mut seen = HashSet::new();
        (0..self.queries.len()).map(|row| seen.insert(self.text(row))).collect()
    }
    /// A block whose columns are the rows: of those with one text the first counts, and for no row of that text, nor
    /// for one of which a label of that text is known or filtered.
    fn by_rows(&self, known: &Known<'_>, counts: impl Fn(usize, usize) -> bool) -> Vec<f32> {
        let (n, first) = (self.queries.len(), self.first_of_text());
        let texts_of = |row: &u32| -> HashSet<u32> {
            let barred = known.barred.iter().flat_map(|barred| barred.row(*row as usize));
            known.positives.row(*row as usize).iter().chain(barred).map(|&label| known.group(label)).collect()
        };
        let own: Vec<HashSet<u32>> = self.queries.iter().map(texts_of).collect();
        let keep = |i: usize, j: usize| {
            first[j] && self.text(i) != self.text(j) && !own[i].contains(&self.text(j)) && counts(i, j)
        };
        (0..n * n).map(|at| f32::from(keep(at / n, at % n))).collect()
    }
    fn share_a_label(&self, known: &Known<'_>, i: usize, j: usize) -> bool {
        let [here, there] = [i, j].map(|row| known.positives.row(self.queries[row] as usize));
        here.iter().any(|label| there.binary_search(label).is_ok())
    }
    /// Whether the positive of row `i`, or a label of its text, is known of the query of row `j`.
    fn knows_positive(&self, known: &Known<'_>, j: usize, i: usize) -> bool {
        let text = known.group(self.labels[self.target[i] as usize]);
        let row = self.queries[j] as usize;
        let barred = known.barred.iter().flat_map(|barred| barred.row(row));
        known.positives.row(row).iter().chain(barred).any(|&label| known.group(label) == text)
    }
    fn queue(&self, known: &Known<'_>) -> Vec<f32> {
        let positives: Vec<u32> = self.target.iter().map(|&column| self.labels[column as usize]).collect();
        no_positive(known, self.queries, self.queued, &positives)
    }
    /// A row whose every queued label is a positive has nothing to mix.
    fn mixtures(&self, queue: &[f32]) -> Vec<f32> {
        let any = |row: &[f32]| f32::from(row.contains(&1.0));
        queue.chunks(self.queued.len().max(1)).flat_map(|row| vec![any(row); self.mixed]).collect()
    }
    fn labels_of_labels(&self, known: &Known<'_>) -> Vec<f32> {
        let mut keep = known_positives(known, self.queries, self.labels, self.target);
        let positives: HashSet<u32> = self.target.iter().copied().collect();
        for (i, row) in keep.chunks_exact_mut(self.labels.len().max(1)).enumerate() {
            row[self.target[i] as usize] = 0.0;
            let strangers = (0..row.len()).filter(|&j| !positives.contains(&(j as u32)));
            strangers.for_each(|j| row[j] = 0.0);
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Csr;

    /// Queries 0 and 2 share label 1; query 3 has the text of query 0; label 4 has the text of label 0.
    const POSITIVES: Csr<'static> = Csr { starts: &[0, 2, 3, 5, 7], items: &[0, 1, 2, 1, 3, 0, 1] };
    const QUERY_TEXTS: [u32; 4] = [10, 11, 12, 10];
    const GROUPS: [u32; 6] = [0, 1, 2, 3, 0, 5];

    fn check(blocks: &[Block], want: &[&[u8]]) {
        let known = Known { positives: POSITIVES, barred: None, text_group: Some(&GROUPS) };
        // Row by row: label 0 for query 0, 2 for 1, 3 for 2, 1 for 3; labels 4 and 5 are nobody's positive.
        let members = Members {
            queries: &[0, 1, 2, 3],
            query_texts: &QUERY_TEXTS,
            labels: &[0, 1, 2, 3, 4, 5],
            target: &[0, 2, 3, 1],
            queued: &[5, 1, 4],
            mixed: 2,
        };
        let got = keep(blocks, &known, members);
        let want: Vec<f32> = want.concat().into_iter().map(f32::from).collect();
        assert_eq!(got, want, "{blocks:?}");
    }

    #[test]
    fn each_block_leaves_out_what_may_be_a_positive() {
        check(&[Block::QueryQuery], &[&[0, 1, 0, 0], &[1, 0, 1, 0], &[0, 1, 0, 0], &[0, 1, 0, 0]]);
        // The positive of row 0 is known of queries 0 and 3, that of row 3 of queries 0, 2 and 3.
        check(&[Block::LabelQuery], &[&[0, 1, 1, 0], &[1, 0, 1, 0], &[1, 1, 0, 0], &[0, 1, 0, 0]]);
        let labels: [&[u8]; 4] =
            [&[0, 0, 1, 1, 0, 0], &[1, 1, 0, 1, 0, 0], &[1, 0, 1, 0, 0, 0], &[0, 0, 1, 1, 0, 0]];
        check(&[Block::LabelLabel], &labels);
    }

    #[test]
    fn blocks_stand_side_by_side() {
        let rows: [&[u8]; 4] = [
            &[1, 0, 1, 1, 0, 1, 0, 1, 0, 0],
            &[1, 1, 1, 1, 1, 1, 1, 0, 1, 0],
            &[1, 0, 1, 1, 1, 1, 0, 1, 0, 0],
            &[0, 1, 1, 1, 0, 1, 0, 1, 0, 0],
        ];
        check(&[Block::QueryLabel, Block::QueryQuery], &rows);
    }

    #[test]
    fn a_queued_label_is_masked_as_a_fresh_one_is() {
        // Label 1 is known of queries 0, 2 and 3; label 4 has the text of label 0, which queries 0 and 3 know.
        check(&[Block::Queue], &[&[1, 0, 0], &[1, 1, 1], &[1, 0, 1], &[1, 0, 0]]);
        let both: [&[u8]; 4] = [&[1, 0, 0, 1, 1], &[1, 1, 1, 1, 1], &[1, 0, 1, 1, 1], &[1, 0, 0, 1, 1]];
        check(&[Block::Queue, Block::Mixed], &both);
        let known = Known { positives: POSITIVES, barred: None, text_group: Some(&GROUPS) };
        let members = Members {
            queries: &[0, 1],
            query_texts: &QUERY_TEXTS,
            labels: &[0, 2],
            target: &[0, 1],
            queued: &[1],
            mixed: 2,
        };
        let got = keep(&[Block::Queue, Block::Mixed], &known, members);
        assert_eq!(got, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "query 0 has nothing to mix");
    }

    #[test]
    fn a_query_that_is_a_known_label_of_a_row_or_filtered_is_none_of_its_negatives() {
        // Query 1 has the text of label 0, which is query 0's; label 1 is filtered for query 1, and query 0's positive.
        let positives = Csr { starts: &[0, 1, 2, 3], items: &[1, 2, 3] };
        let barred = Csr { starts: &[0, 1, 2, 2], items: &[0, 1] };
        let groups = [20, 21, 22, 23];
        let known = Known { positives, barred: Some(barred), text_group: Some(&groups) };
        let members = Members {
            queries: &[0, 1, 2],
            query_texts: &[9, 20, 22],
            labels: &[1, 2, 3],
            target: &[0, 1, 2],
            queued: &[],
            mixed: 0,
        };
        let row = |block| keep(&[block], &known, members)[..6].to_vec();
        assert_eq!(row(Block::QueryQuery), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(row(Block::LabelQuery), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn names_are_read_and_others_are_refused_with_those_that_there_are() {
        assert_eq!("label-label".parse(), Ok(Block::LabelLabel));
        assert!("ll".parse::<Block>().expect_err("none").contains("query-query"));
    }
}
