//! Which texts are equal, and what is known of them.
//!
//! ```text
//! queries [N] (or [N + L])   labels [L]      equal texts have equal numbers
//! positives(q) ⊆ known(q)                    the labels of q; those of any query with the text of q
//! ```

use data::{DataSet, Split, Texts};
use engine::container::checksum_wide;
use samplers::{Csr, Lists};
use std::collections::HashMap;

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
    /// Row `q`: what the data set filters for a query and what the user excludes besides; none where nobody does.
    barred: Option<Lists>,
}

/// Positives and filters of N + L queries.
struct Longer {
    positives: Lists,
    filtered: Option<Lists>,
}

impl TextIds {
    /// Numbers the distinct texts (as token ids) of a data set. `label_texts` makes the text of every label a query,
    /// too.
    pub fn of(data: &DataSet, label_texts: bool) -> TextIds {
        let (queries, labels) = (data.queries(Split::Train), data.labels());
        let total = queries.len() + labels.len();
        let mut bytes = Vec::new();
        let hash = |i: usize| {
            let (texts, i) = if i < queries.len() { (queries, i) } else { (labels, i - queries.len()) };
            hash_of(texts, i, &mut bytes)
        };
        let mut numbers = numbered(total, hash);
        let labels = numbers.split_off(queries.len());
        let mut queries = numbers;
        let longer = label_texts.then(|| {
            // Labels without a text are not equal to each other: none of them is trained on.
            let own = |label: usize| total as u32 + label as u32;
            let number = |l: usize| if is_nameless(data, l as u32) { own(l) } else { labels[l] };
            queries.extend((0..labels.len()).map(number));
            Longer::of(data)
        });
        let mut ids = TextIds { queries, labels, together: None, longer, barred: None };
        ids.together = labels_together(&ids.queries, ids.positives(data));
        ids
    }
    /// For weights of labels, which a missing text does not make equal: each label without one has a number of its own.
    /// To an encoder they are one text.
    pub(crate) fn with_nameless_apart(mut self, data: &DataSet) -> TextIds {
        let first = data.queries(Split::Train).len() as u32 + 2 * self.labels.len() as u32;
        for (number, label) in self.labels.iter_mut().zip(0u32..) {
            if is_nameless(data, label) {
                *number = first + label;
            }
        }
        self
    }
    /// Besides what the data set filters, these labels of each query of the data set are no negatives of it, nor of any
    /// query with its text: to an encoder they are one.
    pub(crate) fn barring(mut self, data: &DataSet, excluded: &[Vec<u32>]) -> TextIds {
        self.barred = Some(self.barred_with(data, excluded));
        self
    }
    /// Whether [`TextIds::barring`] was told these.
    pub(crate) fn is_barring(&self, data: &DataSet, excluded: &[Vec<u32>]) -> bool {
        self.barred.as_ref() == Some(&self.barred_with(data, excluded))
    }
    fn barred_with(&self, data: &DataSet, excluded: &[Vec<u32>]) -> Lists {
        let mut of_text: HashMap<u32, Vec<u32>> = HashMap::new();
        for (labels, text) in excluded.iter().zip(&self.queries).filter(|(labels, _)| !labels.is_empty()) {
            of_text.entry(*text).or_default().extend(labels);
        }
        let filtered = self.filtered_by(data);
        let row = |q: usize| {
            let excluded = of_text.get(&self.queries[q]).into_iter().flatten();
            let mut row: Vec<u32> =
                filtered.iter().flat_map(|lists| lists.row(q)).chain(excluded).copied().collect();
            row.sort_unstable();
            row.dedup();
            row
        };
        (0..self.queries.len()).map(row).collect()
    }
    /// Row `q`: the labels of training query `q`.
    pub(crate) fn positives<'a>(&'a self, data: &'a DataSet) -> Csr<'a> {
        match &self.longer {
            Some(longer) => longer.positives.csr(),
            None => csr(data.positive_rows(Split::Train)),
        }
    }
    /// Row `q`: the labels that the data set filters for training query `q`, or that the user excludes.
    pub(crate) fn filtered<'a>(&'a self, data: &'a DataSet) -> Option<Csr<'a>> {
        self.barred.as_ref().map(Lists::csr).or_else(|| self.filtered_by(data))
    }
    /// Row `q`: those that the data set filters.
    fn filtered_by<'a>(&'a self, data: &'a DataSet) -> Option<Csr<'a>> {
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
        let lists = longer.chain([self.together.as_ref(), self.barred.as_ref()]).flatten();
        let lists: usize = lists.map(Lists::bytes).sum();
        4 * (self.queries.len() + self.labels.len()) + lists
    }
}

/// Row `i`: the labels that are filtered for query `rows[i]`; none if there is none in all.
pub(crate) fn filtered(data: &DataSet, split: Split, rows: &[u32]) -> Option<Lists> {
    let lists: Lists = rows.iter().map(|&row| data.filtered(split, row as usize)).collect();
    (!lists.items().is_empty()).then_some(lists)
}

impl Longer {
    fn of(data: &DataSet) -> Longer {
        let labels = data.labels().len();
        let (starts, items) = data.positive_rows(Split::Train);
        let end = items.len() as u64;
        let ends = starts[1..].iter().copied().chain((1..=labels as u64).map(|l| end + l));
        let positives = Lists::new(ends, items.iter().copied().chain(0..labels as u32).collect());
        let filtered = data.filtered_rows(Split::Train).map(|(starts, items)| {
            let none = std::iter::repeat_n(items.len() as u64, labels);
            Lists::new(starts[1..].iter().copied().chain(none), items.to_vec())
        });
        Longer { positives, filtered }
    }
}

/// Whether a label has no text.
pub(crate) fn is_nameless(data: &DataSet, label: u32) -> bool {
    data.labels().title(label as usize).trim().is_empty()
}

/// Where training query `q` has its text: among the queries of the data set, or among its labels.
pub(crate) fn place(data: &DataSet, q: u32) -> (Texts<'_>, usize) {
    let queries = data.queries(Split::Train);
    match (q as usize).checked_sub(queries.len()) {
        Some(label) => (data.labels(), label),
        None => (queries, q as usize),
    }
}

/// What stands for the tokens of a text. `bytes` is scratch.
fn hash_of(texts: Texts<'_>, i: usize, bytes: &mut Vec<u8>) -> u128 {
    bytes.clear();
    texts.tokens(i).for_each(|t| bytes.extend(t.to_le_bytes()));
    checksum_wide(bytes)
}

/// Equal hashes get equal numbers.
fn numbered(total: usize, mut hash: impl FnMut(usize) -> u128) -> Vec<u32> {
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
    numbers
}

/// The distinct texts (as token ids) of a table, in the order in which they first occur: the first row of each, and of
/// each row the place of its text.
pub(crate) fn distinct(texts: Texts<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut bytes = vec![];
    let mut places = numbered(texts.len(), |i| hash_of(texts, i, &mut bytes));
    let (mut first, mut place_of) = (vec![], vec![None; texts.len()]);
    for (row, number) in (0u32..).zip(&mut places) {
        *number = *place_of[*number as usize].get_or_insert_with(|| {
            first.push(row);
            first.len() as u32 - 1
        });
    }
    (first, places)
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
    Some(lists.into_iter().collect())
}

/// The rows of a data set's relation, as `samplers` reads them.
pub(crate) fn csr<'a>((starts, items): (&'a [u64], &'a [u32])) -> Csr<'a> {
    Csr { starts, items }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::relevant;
    use crate::fixture;

    /// Two queries and five labels, of which two have one text and two have none; the second query must not get its own
    /// label 4.
    fn named() -> (tempfile::TempDir, DataSet) {
        fixture::xc(
            "red\nred\nblue\n",
            "a red shoe\na blue boot\n",
            "2 5\n0:1\n2:1 4:1\n",
            &[("filter_labels_train.txt", "1 4\n1 0\n")],
        )
    }

    #[test]
    fn what_is_filtered_for_a_query_is_neither_ranked_nor_right() {
        let (_dir, data) = named();
        let lists = filtered(&data, Split::Train, &[1, 0, 1]).expect("some");
        let rows: Vec<&[u32]> = (0..3).map(|row| lists.row(row)).collect();
        assert_eq!(rows, [&[0, 4][..], &[], &[0, 4]]);
        assert!(filtered(&data, Split::Train, &[0]).is_none());
        assert_eq!([0, 1].map(|query| relevant(&data, Split::Train, query)), [vec![0], vec![2]]);
    }

    #[test]
    fn what_the_user_excludes_stands_beside_what_the_data_set_filters() {
        let (_dir, data) = named();
        let rows = |ids: &TextIds| -> Vec<Vec<u32>> {
            let lists = ids.filtered(&data).expect("some");
            (0..ids.queries.len()).map(|q| lists.row(q).to_vec()).collect()
        };
        let excluded = [vec![3], vec![2, 4]];
        let ids = TextIds::of(&data, false).barring(&data, &excluded);
        assert_eq!(rows(&ids), [vec![3], vec![0, 2, 4]]);
        let longer = TextIds::of(&data, true).barring(&data, &excluded);
        assert_eq!(rows(&longer)[..2], [vec![3], vec![0, 2, 4]]);
        assert!(rows(&longer).len() == 7 && rows(&longer)[2..].iter().all(Vec::is_empty));
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
        // One text for an encoder, two weights for a classifier.
        assert_eq!(ids.labels[3], ids.labels[4]);
        let apart = ids.with_nameless_apart(&data).labels;
        assert!(apart[0] == apart[1] && apart[3] != apart[4] && !apart[..3].contains(&apart[3]), "{apart:?}");
    }
}
