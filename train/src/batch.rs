//! A batch: which queries, which labels they are scored against, what each pair may count for, and the packed tokens
//! of every distinct text.
//!
//! ```text
//! rows     [n]        training queries, as the composer chose them; once for each positive drawn
//! labels   [m]        distinct labels: the positives drawn for the rows, and what the miner adds
//! targets  [n]        the column of each row's own positive
//! keep     [n · C]    0 where the pair must not count as a negative; C = m, and more where further blocks are scored
//! texts               every distinct text once; query_texts [n] and label_texts [m] say which
//! key_texts           those of the labels, where another encoder embeds them; label_texts then counts these
//! queued              labels of batches before, with their embeddings: further columns
//! ```
//! A known positive of a row, or of a query with the same text, is never its negative, by id and by text; nor is a
//! label that the data set filters for it. This is done here for every strategy, so that no strategy can forget it.

use crate::auxiliary::Auxiliary;
use crate::memory::Memory;
use crate::text_ids::{TextIds, place};
use autograd::Var;
use data::DataSet;
use engine::{Packed, Stream, Tensor};
use samplers::block::{Members, keep};
use samplers::mask::Known;
use samplers::miner::{Candidates, Miner, Pairs, draw_positives, draw_queries};
use samplers::{Block, Lists, Matrix, Mix};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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
    /// The columns that the miner drew for each row, `[n]` rows; none where it drew for none.
    pub own: Option<Lists>,
    /// The probability with which each label is a column, `[m]`, where it is known.
    pub chance: Option<Vec<f64>>,
    /// Whether it was composed of labels, and queries drawn for them.
    pub of_labels: bool,
    /// What is scored, side by side.
    pub blocks: Vec<Block>,
    /// 1 where a pair counts, 0 where it must not, row-major, `[n · C]`.
    pub keep: Vec<f32>,
    /// Every distinct text once.
    pub texts: Packed,
    /// The text of each row, `[n]`.
    pub query_texts: Arc<[u32]>,
    /// The text of each column, `[m]`.
    pub label_texts: Arc<[u32]>,
    /// The texts of the columns, where labels are embedded by another encoder than queries; else they are in `texts`.
    pub key_texts: Option<Packed>,
    /// Labels of batches before, and their embeddings; none where none is remembered.
    pub queued: Option<Queued>,
}

/// How near a query and a label are, where a batch is scored. Predictions and ranked lists go by the cosine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// q · l.
    Cosine,
    /// |q · l + q · J l|, J (a, b) = (−b, a) for the halves a, b of an embedding, which are real and imaginary parts of
    /// complex numbers: Li, Li, "AnglE-optimized text embeddings", 2023, as in its code and in sentence-transformers'
    /// `pairwise_angle_sim`. It is √2 times the cosine with l turned by 45°: equal embeddings have 1, and √2 is the
    /// most.
    Angle,
}

/// Labels of batches before that a batch is scored against.
pub struct Queued {
    /// Which, `[K]`.
    pub labels: Vec<u32>,
    /// Their embeddings, `[K, d]`.
    pub values: Tensor,
    /// What is mixed of them for each row, and the randomness of it.
    pub mix: Option<(Mix, Stream)>,
}

impl Queued {
    /// Those of a memory that may stand beside `columns`; none where there is none.
    fn beside(memory: &Memory, columns: &[u32], ids: &TextIds, stream: Stream) -> Option<Queued> {
        let queue = memory.queue.as_ref()?;
        let places = queue.beside(columns, |label| ids.labels[label as usize]);
        if places.is_empty() {
            return None;
        }
        let labels: Vec<u32> = places.iter().map(|&place| queue.label(place)).collect();
        let values: Vec<f32> = places.iter().flat_map(|&place| queue.value(place)).copied().collect();
        let width = values.len() / labels.len();
        let values = Tensor::from_vec([labels.len(), width], values);
        Some(Queued { labels, values, mix: memory.mix.map(|mix| (mix, stream)) })
    }
    fn mixed(&self) -> usize {
        self.mix.map_or(0, |(mix, _)| mix.columns())
    }
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
    /// What is scored.
    pub blocks: &'a [Block],
    /// Row `l`: the queries that may be drawn for label `l`, where batches are composed of labels.
    pub queries_of: Option<&'a Lists>,
    /// What is remembered of batches before.
    pub(crate) memory: &'a Memory,
}

impl Batch {
    /// Draws up to `positives` labels for each query (0: all), or a query for each label where `composed` are labels;
    /// asks the miner for further columns, masks what must not be a negative, packs the texts.
    ///
    /// # Panics
    /// If a query has no label, or a label no query: such are never composed.
    pub fn compose(source: Source<'_>, composed: &[u32], stream: Stream) -> Batch {
        let Source { data, ids, miner, positives, blocks, queries_of, memory } = source;
        let Pairs { queries: rows, positives: drawn, weight } = match queries_of {
            Some(queries) => draw_queries(composed, queries.csr(), stream),
            None => draw_positives(composed, ids.positives(data), positives, stream),
        };
        let pairs = samplers::miner::Batch { queries: &rows, positives: &drawn };
        let Candidates { columns, target, own, chance } = Candidates::of(miner, &pairs, stream);
        let known =
            Known { positives: ids.known(data), barred: ids.filtered(data), text_group: Some(&ids.labels) };
        let queued = Queued::beside(memory, &columns, ids, stream);
        let blocks = with_queue(blocks, queued.as_ref());
        let members = Members {
            queries: &rows,
            query_texts: &ids.queries,
            labels: &columns,
            target: &target,
            queued: queued.as_ref().map_or(&[], |queued| &queued.labels),
            mixed: queued.as_ref().map_or(0, Queued::mixed),
        };
        let keep = keep(&blocks, &known, members);

        let mut texts = TextTable::default();
        let labels = data.labels();
        let query = |&q: &u32| {
            let (texts_of, i) = place(data, q);
            texts.slot(ids.queries[q as usize], |packed| texts_of.push_to(i, packed))
        };
        let query_texts = rows.iter().map(query).collect();
        let mut keys = memory.has_keys().then(TextTable::default);
        let of_labels = keys.as_mut().unwrap_or(&mut texts);
        let label =
            |&l: &u32| of_labels.slot(ids.labels[l as usize], |packed| labels.push_to(l as usize, packed));
        let label_texts = columns.iter().map(label).collect();
        Batch {
            row_weight: weight.iter().any(|&w| w != weight[0]).then_some(weight),
            rows,
            labels: columns,
            targets: target.into(),
            own,
            chance,
            of_labels: queries_of.is_some(),
            blocks,
            keep,
            texts: texts.texts,
            query_texts,
            label_texts,
            key_texts: keys.map(|keys| keys.texts),
            queued,
        }
    }
    /// A batch that no real one of `size` of these queries exceeds: the longest queries against the longest labels,
    /// each text another, as many pairs as the queries with the most labels give, and the most columns.
    pub fn largest(source: Source<'_>, queries: &[u32], size: usize) -> Batch {
        let Source { data, ids, miner, positives: most, blocks, queries_of, memory } = source;
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
        let m = (pairs + miner.most(pairs)).min(labels.len());
        let all = (0..labels.len() as u32).collect();
        let columns = longest(&|l| labels.token_count(l as usize), &ids.labels, all, m);
        let mut packed = Packed::default();
        queries.iter().map(|&q| place(data, q)).for_each(|(texts, i)| texts.push_to(i, &mut packed));
        let mut keys = memory.has_keys().then(Packed::default);
        let of_labels = keys.as_mut().unwrap_or(&mut packed);
        columns.iter().for_each(|&l| labels.push_to(l as usize, of_labels));
        let (n, distinct) = (queries.len() as u32, columns.len() as u32);
        let first = if keys.is_some() { 0 } else { n };
        let queued = memory.queue.as_ref().map(|queue| Queued {
            labels: vec![0; queue.capacity()],
            values: Tensor::from_vec(
                [queue.capacity(), queue.width()],
                vec![0.0f32; queue.capacity() * queue.width()],
            ),
            mix: memory.mix.map(|mix| (mix, Stream::new(0, 0))),
        });
        let blocks = with_queue(blocks, queued.as_ref());
        let sizes = queued.as_ref().map_or((0, 0), |queued| (queued.labels.len(), queued.mixed()));
        let entries = blocks.iter().map(|block| pairs * block.columns(pairs, m, sizes)).sum();
        let (pairs, m) = (pairs as u32, m as u32);
        Batch {
            targets: (0..pairs).map(|i| i % m.max(1)).collect(),
            own: None,
            chance: None,
            of_labels: queries_of.is_some(),
            blocks,
            keep: vec![1.0; entries],
            texts: packed,
            query_texts: (0..pairs).map(|i| i % n.max(1)).collect(),
            label_texts: (0..m).map(|j| first + j % distinct).collect(),
            key_texts: keys,
            queued,
            rows: (0..pairs).map(|i| queries[(i % n) as usize]).collect(),
            row_weight: None,
            labels: (0..m).map(|j| columns[(j % distinct) as usize]).collect(),
        }
    }
    /// The embeddings `[m, d]` of its columns, from those `[T, d]` of its texts, or from `keys`, those of its labels'
    /// texts where another encoder made them; with auxiliary vectors where there are such.
    pub fn columns<'t>(
        &self,
        embeddings: Var<'t>,
        keys: Option<&Tensor>,
        auxiliary: Option<&Auxiliary>,
    ) -> Var<'t> {
        let texts = keys.map_or(embeddings, |keys| embeddings.tape().constant(keys.clone()));
        let rows = texts.gather(self.label_texts.clone());
        auxiliary.map_or(rows, |own| own.beside(rows, &self.labels))
    }
    /// The scores `[n, C]` of the embeddings `[T, d]` of its texts against those of its columns
    /// ([`Batch::columns`]): its blocks side by side. Angles are for one block, queries against labels.
    ///
    /// # Panics
    /// If angles are asked for of an odd width.
    pub fn scores<'t>(&self, embeddings: Var<'t>, labels: Var<'t>, similarity: Similarity) -> Var<'t> {
        let tape = embeddings.tape();
        let queries = embeddings.gather(self.query_texts.clone());
        if similarity == Similarity::Angle {
            debug_assert_eq!(self.blocks, [Block::QueryLabel], "the configuration allows no other");
            let sums = queries.matmul_nt(turned(labels));
            // |x|
            return sums.relu() + (-sums).relu();
        }
        let positives = || labels.gather(self.targets.clone());
        let queue =
            self.queued.as_ref().map(|queued| queries.matmul_nt(tape.constant(queued.values.clone())));
        let block = |block: &Block| match block {
            Block::QueryLabel => queries.matmul_nt(labels),
            Block::QueryQuery => queries.matmul_nt(queries),
            Block::LabelQuery => positives().matmul_nt(queries),
            Block::LabelLabel => positives().matmul_nt(labels),
            Block::Queue => queue.expect("a batch with this block has a queue"),
            Block::Mixed => self.mixed(queries, queue.expect("there is nothing else to mix")),
        };
        match &self.blocks[..] {
            [one] => block(one),
            many => Var::concat(&many.iter().map(block).collect::<Vec<_>>(), 1),
        }
    }
    /// The scores of queries `[n, d]` against what is mixed for each of the queue, of which the scores are `queue`.
    fn mixed<'t>(&self, queries: Var<'t>, queue: Var<'t>) -> Var<'t> {
        let queued = self.queued.as_ref().expect("mixed of a queue");
        let (mix, stream) = queued.mix.expect("a batch with this block mixes");
        let (n, width, entries) = (self.rows.len(), queries.shape().last(), queued.labels.len());
        // The queue stands before the mixtures, and both at the end.
        let columns = self.keep.len() / n;
        let first = columns - mix.columns() - entries;
        let keep: Vec<f32> =
            self.keep.chunks(columns).flat_map(|row| &row[first..first + entries]).copied().collect();
        let (values, scores) = (queries.value().to_cpu(), queue.value().to_cpu());
        let [of, from] = [&values, &queued.values].map(|tensor| Matrix::new(tensor.data(), width));
        let mixtures = mix.mixtures(of, from, Matrix::new(scores.data(), entries), &keep, stream);
        let mixtures = queries.tape().constant(Tensor::from_vec([n, mix.columns(), width], mixtures));
        queries.reshape([n, 1, width]).matmul_nt(mixtures).reshape([n, mix.columns()])
    }
    /// Of the embeddings `[T, d]` of its texts and `[m, d]` of its columns those of what it was composed of: ids, and
    /// their numbers one after another.
    pub fn composed(&self, embeddings: &Tensor, columns: &Tensor) -> (&[u32], Vec<f32>) {
        if self.of_labels {
            return (&self.labels, columns.data::<f32>().to_vec());
        }
        let width = embeddings.shape().last();
        let row = |&text: &u32| &embeddings.data::<f32>()[text as usize * width..][..width];
        (&self.rows, self.query_texts.iter().flat_map(row).copied().collect())
    }
    /// The columns in which a query meets a label, with the label: those of the batch, then those of batches before.
    pub fn label_columns(&self) -> Vec<(usize, u32)> {
        let width = self.keep.len() / self.rows.len().max(1);
        let queued = self.queued.as_ref().map_or(&[][..], |queued| &queued.labels);
        let mixed = self.queued.as_ref().map_or(0, Queued::mixed);
        let fresh = self.labels.iter().copied().enumerate();
        fresh.chain((width - mixed - queued.len()..).zip(queued.iter().copied())).collect()
    }
    /// Tokens of all its texts.
    pub fn tokens(&self) -> usize {
        self.texts.tokens.len() + self.key_texts.as_ref().map_or(0, |keys| keys.tokens.len())
    }
    /// Pairs that were masked.
    pub fn masked(&self) -> usize {
        self.keep.iter().filter(|&&k| k == 0.0).count()
    }
}

/// l + J l = (a − b, a + b) of rows l = (a, b).
fn turned(rows: Var<'_>) -> Var<'_> {
    let width = rows.shape().last();
    assert!(width.is_multiple_of(2), "angles are between halves of an embedding, and {width} is odd");
    let (a, b) = (rows.slice(1, 0..width / 2), rows.slice(1, width / 2..width));
    Var::concat(&[a - b, a + b], 1)
}

/// The blocks of a batch beside which labels of batches before stand, and what is mixed of them.
fn with_queue(blocks: &[Block], queued: Option<&Queued>) -> Vec<Block> {
    let queue = queued.map(|_| Block::Queue);
    let mixed = queued.filter(|queued| queued.mixed() > 0).map(|_| Block::Mixed);
    blocks.iter().copied().chain(queue).chain(mixed).collect()
}

/// Packs a text when it is met for the first time.
#[derive(Default)]
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
    use crate::fixture;
    use samplers::miner::in_batch::InBatch;

    fn source<'a>(data: &'a DataSet, ids: &'a TextIds, positives: usize, memory: &'a Memory) -> Source<'a> {
        let blocks = &[Block::QueryLabel];
        Source { data, ids, miner: &InBatch, positives, blocks, queries_of: None, memory }
    }

    #[test]
    fn a_query_with_several_positives_is_encoded_once_and_weighs_as_much_as_any_other() {
        let (_dir, data) = fixture::csv("red shoe,shoes|red things\nblue boot,boots\n");
        let ids = TextIds::of(&data, false);
        let memory = Memory::default();
        let source = source(&data, &ids, 0, &memory);
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

    #[test]
    fn what_is_known_of_a_text_counts_for_all_queries_with_that_text() {
        let (_dir, data) = fixture::csv("red shoe,shoes\nRed  shoe,red things\nblue boot,boots\n");
        let ids = TextIds::of(&data, false);
        let memory = Memory::default();
        let source = source(&data, &ids, 1, &memory);
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
