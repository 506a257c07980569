//! Fills the summary: duplicates, leaks between training and test, how labels are spread.

use crate::source::PrepareOptions;
use crate::spooled::{Parts, QueryTable, TextTable};
use crate::summary::{Example, Spread, Summary};
use crate::title::folded;
use crate::tokenizer::Tokenizer;
use engine::Result;
use engine::container::checksum_wide;
use std::collections::{HashMap, HashSet};

/// How many rows are shown.
const EXAMPLES: usize = 3;

/// Training queries of each label: `queries[starts[l]..starts[l + 1]]`, ascending.
pub(crate) struct Transposed {
    pub(crate) starts: Vec<u64>,
    pub(crate) queries: Vec<u32>,
}

impl Transposed {
    /// A counting sort of the training pairs by label.
    pub(crate) fn new(train: &QueryTable, labels: usize) -> Transposed {
        let mut starts = vec![0u64; labels + 1];
        for &label in train.labels.iter() {
            starts[label as usize + 1] += 1;
        }
        for i in 0..labels {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut queries = vec![0u32; train.labels.len()];
        for query in 0..train.texts.len() {
            for &label in train.positives(query) {
                queries[next[label as usize] as usize] = query as u32;
                next[label as usize] += 1;
            }
        }
        Transposed { starts, queries }
    }
    fn of(&self, label: usize) -> &[u32] {
        &self.queries[crate::spooled::range(&self.starts, label)]
    }
}

fn key(text: &str) -> u128 {
    checksum_wide(folded(text).as_bytes())
}

fn lengths(starts: &[u64]) -> impl Iterator<Item = u32> {
    starts.windows(2).map(|w| (w[1] - w[0]) as u32)
}

/// Everything that can be counted without the tokenizer.
pub(crate) fn count(parts: &Parts, by_label: &Transposed) -> Summary {
    let (train, test, labels) = (&parts.train, &parts.test, &parts.labels);
    let mut titles = HashSet::with_capacity(train.texts.len());
    let fresh = (0..train.texts.len()).filter(|&i| titles.insert(key(train.texts.titles.get(i)))).count();
    let seen = (0..test.texts.len()).filter(|&i| titles.contains(&key(test.texts.titles.get(i)))).count();
    let empty = |t: &TextTable| (0..t.len()).filter(|&i| t.titles.get(i).is_empty()).count() as u64;
    let with = |n: u32| lengths(&by_label.starts).filter(|&l| l == n).count() as u64;
    let counts = &parts.counts;
    Summary {
        train: train.texts.len() as u64,
        test: test.texts.len() as u64,
        labels: labels.len() as u64,
        positives_train: Spread::of(lengths(&train.starts)),
        positives_test: Spread::of(lengths(&test.starts)),
        titles_per_label: Spread::of(lengths(&by_label.starts)),
        labels_with_one_title: with(1),
        labels_with_no_title: with(0),
        duplicate_titles_train: (train.texts.len() - fresh) as u64,
        test_titles_in_train: seen as u64,
        test_pairs: test.labels.len() as u64,
        test_pairs_reversed_in_train: reversed_pairs(parts, by_label),
        filtered_pairs: [train.filtered.len() as u64, test.filtered.len() as u64],
        empty_texts: empty(&train.texts) + empty(&test.texts),
        labels_without_text: empty(labels),
        dropped_without_labels: counts.dropped_without_labels,
        kept_without_labels: counts.kept_without_labels,
        zero_relevance: counts.zero_relevance,
        repeated_labels: counts.repeated_labels,
        rejected_lines: counts.rejected_lines,
        warnings: parts.warnings.clone(),
        ..Summary::default()
    }
}

/// Test pairs (A, B) for which training has a query with B's text under a label with A's text.
fn reversed_pairs(parts: &Parts, by_label: &Transposed) -> u64 {
    let mut label_of: HashMap<u128, Vec<u32>> = HashMap::new();
    let queries: HashSet<u128> =
        (0..parts.test.texts.len()).map(|i| key(parts.test.texts.titles.get(i))).collect();
    for label in 0..parts.labels.len() {
        let key = key(parts.labels.titles.get(label));
        if queries.contains(&key) {
            label_of.entry(key).or_default().push(label as u32);
        }
    }
    let mut reversed = 0;
    for query in 0..parts.test.texts.len() {
        let Some(same) = label_of.get(&key(parts.test.texts.titles.get(query))) else { continue };
        let known: HashSet<u128> = same
            .iter()
            .flat_map(|&label| by_label.of(label as usize))
            .map(|&q| key(parts.train.texts.titles.get(q as usize)))
            .collect();
        let positives = parts.test.positives(query).iter();
        reversed += positives.filter(|&&l| known.contains(&key(parts.labels.titles.get(l as usize)))).count();
    }
    reversed as u64
}

/// The first rows, of training if there are any, else of test.
pub(crate) fn examples(
    parts: &Parts,
    tokenizer: &Tokenizer,
    options: &PrepareOptions,
) -> Result<Vec<Example>> {
    let from = if parts.train.texts.len() > 0 { &parts.train } else { &parts.test };
    (0..from.texts.len().min(EXAMPLES))
        .map(|i| {
            let ids =
                tokenizer.encode(&options.prompts.before_query(&from.texts.text(i)), options.max_len)?;
            let labels = from.positives(i).iter().map(|&l| parts.labels.titles.get(l as usize).to_owned());
            let title = from.texts.titles.get(i).to_owned();
            Ok(Example { title, tokens: tokenizer.decode_tokens(&ids), labels: labels.take(8).collect() })
        })
        .collect()
}
