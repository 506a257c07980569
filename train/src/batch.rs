//! A batch: which queries, which labels they are scored against, what each pair may count for, and the packed tokens
//! of every distinct text.
//!
//! ```text
//! rows     [n]        training queries, as the composer chose them; once for each positive drawn
//! labels   [m]        distinct labels: the positives drawn for the rows
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
use samplers::miner::{Miner, Pairs, draw_positives};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Texts whose numbers are found at once, about: what is known of them takes 64 bytes each.
const TEXTS_AT_ONCE: usize = 1 << 18;

/// Equal texts have equal numbers: one number for each training query and each label; and what is known of each query.
///
/// Where label texts are data (Jain et al., "Renée", MLSys 2023) L queries stand behind the N of the data set: query
/// N + l has the text of label l, and l is all that it is about. Only training sees them; frequencies, and with them
/// propensities, are those of the data set.
pub struct TextIds {
    /// Of each training query, `[N]` or `[N + L]`.
    pub queries: Vec<u32>,
    /// Of each label, `[L]`.
    pub labels: Vec<u32>,
    /// The labels of any training query with the same text, `[N]`, where some texts are equal; none where all differ,
    /// since each query's own labels are then all that is known.
    together: Option<Lists>,
    /// What the data set says of queries, longer by the labels; none where it is not.
    longer: Option<Longer>,
}

/// Positives and filters of N + L queries.
struct Longer {
    positives: Lists,
    filtered: Option<Lists>,
}

/// Lists of ascending ids: where each starts, and the ids.
pub(crate) struct Lists {
    starts: Vec<u64>,
    items: Vec<u32>,
}

impl TextIds {
    /// Numbers the distinct texts (as token ids) of a data set. `label_texts` makes the text of every label a query,
    /// too.
    pub fn of(data: &DataSet, label_texts: bool) -> TextIds {
        let (queries, labels) = (data.queries(Split::Train), data.labels());
        let total = queries.len() + labels.len();
        let mut bytes = Vec::new();
        let mut hash = |i: usize| {
            let (texts, i) = if i < queries.len() { (queries, i) } else { (labels, i - queries.len()) };
            bytes.clear();
            texts.tokens(i).for_each(|t| bytes.extend(t.to_le_bytes()));
            checksum_wide(&bytes)
        };
        // A table of all texts would be larger than all else that a run with mapped label weights holds.
        let passes = total.div_ceil(TEXTS_AT_ONCE).clamp(1, 256);
        let pass: Vec<u8> = (0..total).map(|i| (hash(i) % passes as u128) as u8).collect();
        let (mut numbers, mut next) = (vec![0; total], 0);
        for now in 0..passes {
            let mut known: HashMap<u128, u32> = HashMap::new();
            for i in (0..total).filter(|&i| usize::from(pass[i]) == now) {
                numbers[i] = *known.entry(hash(i)).or_insert_with(|| {
                    next += 1;
                    next - 1
                });
            }
        }
        let labels = numbers.split_off(queries.len());
        let mut queries = numbers;
        let longer = label_texts.then(|| {
            // Labels without a text are not equal to each other: none of them is trained on.
            let own = |label: usize| total as u32 + label as u32;
            let named = |label: usize| !data.labels().title(label).trim().is_empty();
            queries.extend((0..labels.len()).map(|l| if named(l) { labels[l] } else { own(l) }));
            Longer::of(data)
        });
        let mut ids = TextIds { queries, labels, together: None, longer };
        ids.together = labels_together(&ids.queries, ids.positives(data));
        ids
    }
    /// Row `q`: the labels of training query `q`.
    pub(crate) fn positives<'a>(&'a self, data: &'a DataSet) -> Csr<'a> {
        match &self.longer {
            Some(longer) => longer.positives.csr(),
            None => csr(data.positive_rows(Split::Train)),
        }
    }
    /// Row `q`: the labels that the data set filters for training query `q`.
    pub(crate) fn filtered<'a>(&'a self, data: &'a DataSet) -> Option<Csr<'a>> {
        match &self.longer {
            Some(longer) => longer.filtered.as_ref().map(Lists::csr),
            None => data.filtered_rows(Split::Train).map(csr),
        }
    }
    /// Row `q`: all labels that are known for the text of training query `q`.
    pub(crate) fn known<'a>(&'a self, data: &'a DataSet) -> Csr<'a> {
        match &self.together {
            Some(lists) => lists.csr(),
            None => self.positives(data),
        }
    }
    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let longer = self.longer.iter().flat_map(|l| [Some(&l.positives), l.filtered.as_ref()]);
        let lists = longer.chain([self.together.as_ref()]).flatten();
        let lists: usize = lists.map(|l| 8 * l.starts.len() + 4 * l.items.len()).sum();
        4 * (self.queries.len() + self.labels.len()) + lists
    }
}

impl Lists {
    /// Row `i`: the labels that are filtered for query `rows[i]`; none if there is none in all.
    pub(crate) fn filtered(data: &DataSet, split: Split, rows: &[u32]) -> Option<Lists> {
        let (mut starts, mut items) = (vec![0], vec![]);
        for &row in rows {
            items.extend_from_slice(data.filtered(split, row as usize));
            starts.push(items.len() as u64);
        }
        (!items.is_empty()).then_some(Lists { starts, items })
    }
    pub(crate) fn csr(&self) -> Csr<'_> {
        csr((&self.starts, &self.items))
    }
}

impl Longer {
    fn of(data: &DataSet) -> Longer {
        let labels = data.labels().len();
        let (starts, items) = data.positive_rows(Split::Train);
        let end = items.len() as u64;
        let positives = Lists {
            starts: starts.iter().copied().chain((1..=labels as u64).map(|l| end + l)).collect(),
            items: items.iter().copied().chain(0..labels as u32).collect(),
        };
        let filtered = data.filtered_rows(Split::Train).map(|(starts, items)| Lists {
            starts: starts.iter().copied().chain(std::iter::repeat_n(items.len() as u64, labels)).collect(),
            items: items.to_vec(),
        });
        Longer { positives, filtered }
    }
}

/// Where training query `q` has its text: among the queries of the data set, or among its labels.
pub(crate) fn place(data: &DataSet, q: u32) -> (data::Texts<'_>, usize) {
    let queries = data.queries(Split::Train);
    match (q as usize).checked_sub(queries.len()) {
        Some(label) => (data.labels(), label),
        None => (queries, q as usize),
    }
}

fn labels_together(queries: &[u32], positives: Csr<'_>) -> Option<Lists> {
    let mut rows: Vec<u32> = (0..queries.len() as u32).collect();
    rows.sort_unstable_by_key(|&row| (queries[row as usize], row));
    let same: Vec<&[u32]> = rows.chunk_by(|&a, &b| queries[a as usize] == queries[b as usize]).collect();
    if same.iter().all(|group| group.len() == 1) {
        return None;
    }
    let mut lists: Vec<Vec<u32>> = vec![vec![]; queries.len()];
    for group in same {
        let mut labels: Vec<u32> = vec![];
        group.iter().for_each(|&row| labels.extend(positives.row(row as usize)));
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
    /// Training queries, `[n]`; a query stands here once for each positive drawn for it.
    pub rows: Vec<u32>,
    /// What each row weighs in the loss, `[n]`, so that all queries weigh the same; none where all rows do.
    pub row_weight: Option<Vec<f32>>,
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

/// Where batches are composed from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Queries, labels, and which belong together.
    pub data: &'a DataSet,
    /// Which texts are equal.
    pub ids: &'a TextIds,
    /// Names the columns.
    pub miner: &'a dyn Miner,
    /// Positives drawn for a query, at most; 0 for all.
    pub positives: usize,
}

impl Batch {
    /// Draws up to `positives` labels for each query (0: all), asks the miner for the columns, masks what must not be a
    /// negative, packs the texts.
    ///
    /// # Panics
    /// If a query has no label: `prepare` keeps such queries out of training.
    pub fn compose(source: Source<'_>, queries: &[u32], stream: Stream) -> Batch {
        let Source { data, ids, miner, positives } = source;
        let Pairs { queries: rows, positives: drawn, weight } =
            draw_positives(queries, ids.positives(data), positives, stream);
        let found = miner.candidates(&samplers::miner::Batch { queries: &rows, positives: &drawn }, stream);
        let known =
            Known { positives: ids.known(data), barred: ids.filtered(data), text_group: Some(&ids.labels) };
        let keep = known_positives(&known, &rows, &found.shared, &found.target);

        let mut texts = TextTable { texts: Packed::default(), slots: HashMap::new() };
        let labels = data.labels();
        let query = |&q: &u32| {
            let (texts_of, i) = place(data, q);
            texts.slot(ids.queries[q as usize], |packed| texts_of.push_to(i, packed))
        };
        let query_texts = rows.iter().map(query).collect();
        let label =
            |&l: &u32| texts.slot(ids.labels[l as usize], |packed| labels.push_to(l as usize, packed));
        let label_texts = found.shared.iter().map(label).collect();
        Batch {
            row_weight: weight.iter().any(|&w| w != weight[0]).then_some(weight),
            rows,
            labels: found.shared,
            targets: found.target.into(),
            keep,
            texts: texts.texts,
            query_texts,
            label_texts,
        }
    }
    /// A batch that no real one of `size` of these queries exceeds: the longest queries against the longest labels,
    /// each text another, as many pairs as the queries with the most labels give, and the most columns.
    pub fn largest(source: Source<'_>, queries: &[u32], size: usize) -> Batch {
        let Source { data, ids, miner, positives: most } = source;
        let longest = |count: &dyn Fn(u32) -> usize, numbers: &[u32], mut of: Vec<u32>, size: usize| {
            of.sort_by_key(|&i| (std::cmp::Reverse(count(i)), i));
            let mut seen = HashSet::new();
            of.retain(|&i| seen.len() < size && seen.insert(numbers[i as usize]));
            of
        };
        let mut counts: Vec<usize> = queries
            .iter()
            .map(|&q| ids.positives(data).row(q as usize).len())
            .map(|all| if most == 0 { all } else { all.min(most) })
            .collect();
        counts.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
        let pairs: usize = counts.iter().take(size).sum();

        let labels = data.labels();
        let tokens = |q| {
            let (texts, i) = place(data, q);
            texts.token_count(i)
        };
        let queries = longest(&tokens, &ids.queries, queries.to_vec(), size);
        let m = miner.columns(pairs).min(labels.len());
        let all = (0..labels.len() as u32).collect();
        let columns = longest(&|l| labels.token_count(l as usize), &ids.labels, all, m);
        let mut packed = Packed::default();
        queries.iter().map(|&q| place(data, q)).for_each(|(texts, i)| texts.push_to(i, &mut packed));
        columns.iter().for_each(|&l| labels.push_to(l as usize, &mut packed));
        let (n, distinct) = (queries.len() as u32, columns.len() as u32);
        let (pairs, m) = (pairs as u32, m as u32);
        Batch {
            targets: (0..pairs).map(|i| i % m.max(1)).collect(),
            keep: vec![1.0; (pairs * m) as usize],
            texts: packed,
            query_texts: (0..pairs).map(|i| i % n.max(1)).collect(),
            label_texts: (0..m).map(|j| n + j % distinct).collect(),
            rows: (0..pairs).map(|i| queries[(i % n) as usize]).collect(),
            row_weight: None,
            labels: (0..m).map(|j| columns[(j % distinct) as usize]).collect(),
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
    use crate::evaluate::relevant;
    use data::{PrepareOptions, TokenizerChoice, Verify};
    use samplers::miner::in_batch::InBatch;

    /// A data set of these rows, all for training; several labels stand between bars.
    fn prepared(rows: &str) -> (tempfile::TempDir, DataSet) {
        let dir = tempfile::tempdir().expect("a directory");
        let (table, out) = (dir.path().join("t.csv"), dir.path().join("t.lode"));
        std::fs::write(&table, format!("title,label\n{rows}")).expect("written");
        let mut source = data::CsvSource::new(&table, "title", "label");
        source.split = "100/0".parse().expect("a ratio");
        source.label_separator = Some("|".into());
        let options = PrepareOptions::new(&out, TokenizerChoice::Train(100));
        data::prepare(&data::Source::Csv(source), &options, &mut |_| {}).expect("prepared");
        let data = DataSet::open(&out, Verify::Full).expect("opens");
        (dir, data)
    }

    #[test]
    fn a_query_with_several_positives_is_encoded_once_and_weighs_as_much_as_any_other() {
        let (_dir, data) = prepared("red shoe,shoes|red things\nblue boot,boots\n");
        let ids = TextIds::of(&data, false);
        let source = Source { data: &data, ids: &ids, miner: &InBatch, positives: 0 };
        let batch = Batch::compose(source, &[0, 1], Stream::new(0, 0));
        assert_eq!(
            (&batch.rows[..], batch.row_weight.as_deref()),
            (&[0, 0, 1][..], Some(&[0.5, 0.5, 1.0][..]))
        );
        assert_eq!(batch.query_texts[0], batch.query_texts[1]);
        assert_eq!((batch.labels.len(), batch.texts.len()), (3, 5), "two queries and three labels");
        // Neither positive of the first query is a negative of the other.
        assert_eq!(batch.masked(), 2);
        let one = Batch::compose(Source { positives: 1, ..source }, &[0, 1], Stream::new(0, 0));
        assert_eq!((one.rows.len(), one.row_weight), (2, None));
        let largest = Batch::largest(source, &[0, 1], 2);
        assert_eq!((largest.rows.len(), largest.labels.len(), largest.texts.len()), (3, 3, 5));
    }

    /// Two queries and five labels, of which two have one text and two have none; the second query must not get its own
    /// label 4.
    fn named() -> (tempfile::TempDir, DataSet) {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("Y.txt", "red\nred\nblue\n");
        for split in ["trn", "tst"] {
            write(&format!("{split}_X.txt"), "a red shoe\na blue boot\n");
            write(&format!("{split}_X_Y.txt"), "2 5\n0:1\n2:1 4:1\n");
        }
        write("filter_labels_train.txt", "1 4\n1 0\n");
        let out = dir.path().join("t.lode");
        let options = PrepareOptions::new(&out, TokenizerChoice::Train(100));
        data::prepare(&data::Source::Xc(dir.path().into()), &options, &mut |_| {}).expect("prepared");
        let data = DataSet::open(&out, Verify::Full).expect("opens");
        (dir, data)
    }

    #[test]
    fn what_is_filtered_for_a_query_is_neither_ranked_nor_right() {
        let (_dir, data) = named();
        let filtered = Lists::filtered(&data, Split::Train, &[1, 0, 1]).expect("some");
        let rows: Vec<&[u32]> = (0..3).map(|row| filtered.csr().row(row)).collect();
        assert_eq!(rows, [&[0, 4][..], &[], &[0, 4]]);
        assert!(Lists::filtered(&data, Split::Train, &[0]).is_none());
        assert_eq!([0, 1].map(|query| relevant(&data, Split::Train, query)), [vec![0], vec![2]]);
    }

    /// Of labels without a text there can be many: a list of all of them for each would grow with the square.
    #[test]
    fn labels_without_a_text_are_not_equal_queries() {
        let (_dir, data) = named();
        let ids = TextIds::of(&data, true);
        let known = ids.known(&data);
        // Two queries, then the texts of five labels, of which two are equal and two are missing.
        let rows: Vec<&[u32]> = (0..7).map(|row| known.row(row)).collect();
        assert_eq!(rows, [&[0][..], &[2, 4], &[0, 1], &[0, 1], &[2], &[3], &[4]]);
    }

    #[test]
    fn what_is_known_of_a_text_counts_for_all_queries_with_that_text() {
        let (_dir, data) = prepared("red shoe,shoes\nRed  shoe,red things\nblue boot,boots\n");
        let ids = TextIds::of(&data, false);
        let source = Source { data: &data, ids: &ids, miner: &InBatch, positives: 1 };
        let batch = Batch::compose(source, &[0, 1, 2], Stream::new(0, 0));
        let counts = |row: usize, label: &str| {
            let column = batch.labels.iter().position(|&l| data.labels().title(l as usize) == label);
            batch.keep[3 * row + column.expect("a column")] > 0.0
        };
        assert!(counts(0, "shoes") && counts(0, "boots") && counts(2, "shoes") && counts(2, "red things"));
        assert!(!counts(0, "red things") && !counts(1, "shoes"), "the twin's label is a known positive");
        assert_eq!(batch.texts.len(), 5, "two queries share a text");
    }
}
