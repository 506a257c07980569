//! A batch: which queries, which labels they are scored against, what each pair may count for, and the packed tokens
//! of every distinct text.
//!
//! ```text
//! rows     [n]        training queries, as the composer chose them
//! labels   [m]        distinct labels: the positives drawn for the rows, in the order of their first row
//! targets  [n]        the column of each row's own positive
//! keep     [n · m]    0 where the pair must not count as a negative
//! texts               every distinct text once; query_texts [n] and label_texts [m] say which
//! ```
//! A known positive of a row, or of a query with the same text, is never its negative, by id and by text; nor is a
//! label that the data set filters for it. This is done here for every strategy, so that no strategy can forget it.

use data::{DataSet, Split};
use engine::container::checksum_wide;
use engine::{Packed, Stream};
use samplers::Csr;
use samplers::mask::{Known, known_positives};
use samplers::miner::{Miner, draw_positives};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Equal texts have equal numbers: one number for each training query and each label.
pub struct TextIds {
    /// Of each training query, `[N]`.
    pub queries: Vec<u32>,
    /// Of each label, `[L]`.
    pub labels: Vec<u32>,
    /// The labels of any training query with the same text, `[N]`, where some texts are equal; none where all differ,
    /// since each query's own labels are then all that is known.
    together: Option<Lists>,
}

/// Lists of ascending ids: where each starts, and the ids.
struct Lists {
    starts: Vec<u64>,
    items: Vec<u32>,
}

impl TextIds {
    /// Numbers the distinct texts (as token ids) of a data set, in order of appearance.
    pub fn of(data: &DataSet) -> TextIds {
        let mut known: HashMap<u128, u32> = HashMap::new();
        let mut number = |texts: data::Texts<'_>| -> Vec<u32> {
            let mut bytes = Vec::new();
            let mut one = |i| {
                bytes.clear();
                texts.tokens(i).for_each(|t| bytes.extend(t.to_le_bytes()));
                let next = known.len() as u32;
                *known.entry(checksum_wide(&bytes)).or_insert(next)
            };
            (0..texts.len()).map(&mut one).collect()
        };
        let (queries, labels) = (number(data.queries(Split::Train)), number(data.labels()));
        let together = labels_together(data, &queries);
        TextIds { queries, labels, together }
    }
    /// Row `q`: all labels that are known for the text of training query `q`.
    fn known<'a>(&'a self, data: &'a DataSet) -> Csr<'a> {
        match &self.together {
            Some(lists) => csr((&lists.starts, &lists.items)),
            None => csr(data.positive_rows(Split::Train)),
        }
    }
    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let together = self.together.as_ref().map_or(0, |l| 8 * l.starts.len() + 4 * l.items.len());
        4 * (self.queries.len() + self.labels.len()) + together
    }
}

fn labels_together(data: &DataSet, queries: &[u32]) -> Option<Lists> {
    let mut rows: Vec<u32> = (0..queries.len() as u32).collect();
    rows.sort_unstable_by_key(|&row| (queries[row as usize], row));
    let same: Vec<&[u32]> = rows.chunk_by(|&a, &b| queries[a as usize] == queries[b as usize]).collect();
    if same.iter().all(|group| group.len() == 1) {
        return None;
    }
    let mut lists: Vec<Vec<u32>> = vec![vec![]; queries.len()];
    for group in same {
        let mut labels: Vec<u32> = vec![];
        group.iter().for_each(|&row| labels.extend(data.positives(Split::Train, row as usize)));
        labels.sort_unstable();
        labels.dedup();
        group.iter().for_each(|&row| lists[row as usize].clone_from(&labels));
    }
    let ends = lists.iter().scan(0, |end, list| {
        *end += list.len() as u64;
        Some(*end)
    });
    Some(Lists { starts: std::iter::once(0).chain(ends).collect(), items: lists.concat() })
}

/// The ids, masks and tokens of one step.
pub struct Batch {
    /// Training queries, `[n]`.
    pub rows: Vec<u32>,
    /// Labels, one a column, `[m]`.
    pub labels: Vec<u32>,
    /// The column of each row's positive, `[n]`.
    pub targets: Arc<[u32]>,
    /// 1 where a pair counts, 0 where it must not, row-major, `[n · m]`.
    pub keep: Vec<f32>,
    /// Every distinct text once.
    pub texts: Packed,
    /// The text of each row, `[n]`.
    pub query_texts: Arc<[u32]>,
    /// The text of each column, `[m]`.
    pub label_texts: Arc<[u32]>,
}

impl Batch {
    /// Draws a positive for each row (uniformly among its labels), asks the miner for the columns, masks what must not
    /// be a negative, packs the texts.
    ///
    /// # Panics
    /// If a row has no label: `prepare` keeps such queries out of training.
    pub fn compose(data: &DataSet, ids: &TextIds, miner: &dyn Miner, rows: &[u32], stream: Stream) -> Batch {
        let positives = csr(data.positive_rows(Split::Train));
        let drawn = draw_positives(rows, positives, stream);
        let found = miner.candidates(&samplers::miner::Batch { queries: rows, positives: &drawn }, stream);
        let known = Known {
            positives: ids.known(data),
            barred: data.filtered_rows(Split::Train).map(csr),
            text_group: Some(&ids.labels),
        };
        let keep = known_positives(&known, rows, &found.shared, &found.target);

        let mut texts = TextTable { texts: Packed::default(), slots: HashMap::new() };
        let (queries, labels) = (data.queries(Split::Train), data.labels());
        let query =
            |&q: &u32| texts.slot(ids.queries[q as usize], |packed| queries.push_to(q as usize, packed));
        let query_texts = rows.iter().map(query).collect();
        let label =
            |&l: &u32| texts.slot(ids.labels[l as usize], |packed| labels.push_to(l as usize, packed));
        let label_texts = found.shared.iter().map(label).collect();
        Batch {
            rows: rows.to_vec(),
            labels: found.shared,
            targets: found.target.into(),
            keep,
            texts: texts.texts,
            query_texts,
            label_texts,
        }
    }
    /// A batch that no real one exceeds: the longest queries of `rows` against the longest labels, each text another.
    pub fn largest(data: &DataSet, ids: &TextIds, rows: &[u32], size: usize) -> Batch {
        let longest = |texts: data::Texts<'_>, numbers: &[u32], mut of: Vec<u32>| {
            of.sort_by_key(|&i| (std::cmp::Reverse(texts.token_count(i as usize)), i));
            let mut seen = HashSet::new();
            of.retain(|&i| seen.len() < size && seen.insert(numbers[i as usize]));
            of
        };
        let (queries, labels) = (data.queries(Split::Train), data.labels());
        let rows = longest(queries, &ids.queries, rows.to_vec());
        let columns = longest(labels, &ids.labels, (0..labels.len() as u32).collect());
        let mut texts = Packed::default();
        rows.iter().for_each(|&q| queries.push_to(q as usize, &mut texts));
        columns.iter().for_each(|&l| labels.push_to(l as usize, &mut texts));
        let (n, m) = (rows.len() as u32, columns.len() as u32);
        Batch {
            targets: (0..n).map(|i| i % m.max(1)).collect(),
            keep: vec![1.0; (n * m) as usize],
            texts,
            query_texts: (0..n).collect(),
            label_texts: (n..n + m).collect(),
            rows,
            labels: columns,
        }
    }
    /// Pairs that were masked.
    pub fn masked(&self) -> usize {
        self.keep.iter().filter(|&&k| k == 0.0).count()
    }
}

/// The rows of a data set's relation, as `samplers` reads them.
pub(crate) fn csr<'a>((starts, items): (&'a [u64], &'a [u32])) -> Csr<'a> {
    Csr { starts, items }
}

/// Packs a text when it is met for the first time.
struct TextTable {
    texts: Packed,
    slots: HashMap<u32, u32>,
}

impl TextTable {
    fn slot(&mut self, text: u32, push: impl FnOnce(&mut Packed)) -> u32 {
        *self.slots.entry(text).or_insert_with(|| {
            push(&mut self.texts);
            self.texts.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{PrepareOptions, Source, TokenizerChoice, Verify};
    use samplers::miner::in_batch::InBatch;

    #[test]
    fn what_is_known_of_a_text_counts_for_all_queries_with_that_text() {
        let dir = tempfile::tempdir().expect("a directory");
        let (table, out) = (dir.path().join("t.csv"), dir.path().join("t.lode"));
        std::fs::write(&table, "title,label\nred shoe,shoes\nRed  shoe,red things\nblue boot,boots\n")
            .expect("written");
        let mut source = data::CsvSource::new(&table, "title", "label");
        source.split = "100/0".parse().expect("a ratio");
        let options = PrepareOptions::new(&out, TokenizerChoice::Train(100));
        data::prepare(&Source::Csv(source), &options, &mut |_| {}).expect("prepared");
        let data = DataSet::open(&out, Verify::Full).expect("opens");
        let ids = TextIds::of(&data);
        let batch = Batch::compose(&data, &ids, &InBatch, &[0, 1, 2], Stream::new(0, 0));
        let counts = |row: usize, label: &str| {
            let column = batch.labels.iter().position(|&l| data.labels().title(l as usize) == label);
            batch.keep[3 * row + column.expect("a column")] > 0.0
        };
        assert!(counts(0, "shoes") && counts(0, "boots") && counts(2, "shoes") && counts(2, "red things"));
        assert!(!counts(0, "red things") && !counts(1, "shoes"), "the twin's label is a known positive");
        assert_eq!(batch.texts.len(), 5, "two queries share a text");
    }
}
