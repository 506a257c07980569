//! Hard negatives for every query of a data set, as [`samplers::mining`] has the rules, in bounded memory.
//!
//! ```text
//! corpus     PART texts at a time: embed, write            4·C·d bytes on the disk, none of which stays in memory
//! queries    a block at a time: embed; for each part of the corpus search, merge the best W; judge; rules; write
//! rows       block by block: read, give away
//! ```
//! What is written is whole or absent ([`folder`]), so a mining that was stopped goes on from the last part or block,
//! and ends with the same bits. Embeddings have length 1, whatever the model says.

mod folder;
mod memory;
mod side;
mod statistics;
mod subjects;

pub use statistics::Statistics;

use crate::judge::Judge;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::vocabulary;
use data::{DataSet, Split};
use engine::container::{Container, Scalar, checksum};
use engine::cuda::attempt;
use engine::{Engine, Error, Kind, Result, Stream};
use folder::{Folder, Work};
use memory::Sizes;
use samplers::mining::{Kept, Rules};
use samplers::search::{Limits, search_part};
use samplers::{Hits, Items, Lists, Matrix};
use side::Side;
use std::ops::Range;
use std::path::{Path, PathBuf};
use subjects::Subjects;

/// Texts of the corpus in one file: enough for every thread to have tiles of its own.
const PART: usize = 1 << 14;
/// Texts that are embedded before they are written.
const LOT: usize = 1 << 10;

/// What to mine, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queries; all labels are the corpus.
    pub split: Split,
    /// What may be a negative.
    pub rules: Rules,
    /// For [`samplers::mining::Sampling::Random`].
    pub seed: u64,
    /// Put before each query, in the place of the prompt of the data set; empty for that.
    pub query_prompt: String,
    /// The same for each text of the corpus.
    pub corpus_prompt: String,
    /// Bytes that mining may hold.
    pub memory: usize,
    /// Where the embeddings of the corpus stay, for other rules and the other split; none where they go when all is
    /// done.
    pub cache: Option<PathBuf>,
}

/// Who finds candidates, and who says how good they are where it is another.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// Embeds queries and corpus.
    pub network: &'a Network,
    /// Judges what was found, and the positives, before any rule; none where their cosines stand.
    pub judge: Option<&'a Judge>,
}

/// A query and what was mined for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// The query; of several with one text the first.
    pub query: u32,
    /// Its labels and their scores, ascending; of several with one text the first.
    pub positives: Vec<(u32, f32)>,
    /// Its hard negatives and their scores, best first. Where positives are included, they stand among them.
    pub negatives: Vec<(u32, f32)>,
}

impl<'a> From<&'a Network> for Models<'a> {
    fn from(network: &'a Network) -> Models<'a> {
        Models { network, judge: None }
    }
}

/// A mining that is planned.
pub struct Mining<'a> {
    engine: &'a Engine,
    data: &'a DataSet,
    network: &'a Network,
    judge: Option<&'a Judge>,
    options: Options,
    subjects: Subjects,
    queries: Side<'a>,
    corpus: Side<'a>,
    range_max: usize,
    /// Candidates of each query.
    looked_at: usize,
    /// Queries that are searched at once.
    block: usize,
    folder: Folder,
}

impl<'a> Mining<'a> {
    /// Plans one, with a work folder of its own.
    ///
    /// # Errors
    /// If nothing can be mined, a prompt cannot be put before texts that the data set does not have, memory does not
    /// suffice, or another process works in the folder or in the cache.
    pub fn new(
        engine: &'a Engine,
        models: impl Into<Models<'a>>,
        data: &'a DataSet,
        options: Options,
        folder: &Path,
    ) -> Result<Mining<'a>> {
        let Models { network, judge } = models.into();
        vocabulary::check_ids(data, &network.model)?;
        let subjects = Subjects::of(data, options.split);
        let total = subjects.corpus.len();
        if subjects.queries.is_empty() {
            let split = if options.split == Split::Train { "train" } else { "test" };
            let what = format!("no query of the {split} split has a label: nothing to mine for");
            return Err(Error::input(what).at(data.path()).help("--split names the other queries"));
        }
        let range_max = options.rules.range(subjects.positives_max)?;
        let looked_at = range_max.saturating_add(subjects.positives_max).min(total);
        let ids = subjects.bytes() + judge.map_or(0, Judge::bytes);
        let sizes = Sizes { engine, network, queries: subjects.queries.len(), corpus: total, looked_at, ids };
        let block = sizes.block(options.memory)?;
        let queries = Side::new(data, network, data.queries(options.split), &options.query_prompt)?;
        let corpus = Side::of_labels(data, network, &options.corpus_prompt)?;
        let facts = [network.fingerprint(), data.fingerprint(), PART as u64];
        let of_corpus = format!("{facts:x?} {} {}", network.kernel_class(engine), options.corpus_prompt);
        let Options { split, rules, seed, query_prompt, cache, .. } = &options;
        let of_queries =
            format!("{of_corpus} {split:?} {rules:?} {seed} {block} {query_prompt}{}", judged(judge));
        let keys = [of_corpus, of_queries].map(|text| checksum(text.as_bytes()));
        let folder = Folder::open(folder, cache.as_deref(), keys)?;
        Ok(Mining {
            engine,
            data,
            network,
            judge,
            options,
            subjects,
            queries,
            corpus,
            range_max,
            looked_at,
            block,
            folder,
        })
    }
    /// What stands before each query and each label.
    fn prompts(&self) -> [&str; 2] {
        let asked = [&*self.options.query_prompt, &self.options.corpus_prompt];
        let own = self.data.prompts().both();
        [0, 1].map(|side| if asked[side].is_empty() { own[side] } else { asked[side] })
    }
    /// Labels of each query that are considered after the rules.
    pub fn range_max(&self) -> usize {
        self.range_max
    }
    /// Does what is not done yet.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when the observer wants to stop: what is whole by then stays.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<()> {
        let blocks = self.blocks();
        if (0..blocks.len()).all(|block| self.folder.read(Work::Queries, block).is_some()) {
            return Ok(());
        }
        self.network.warn_of_other_labels(self.data, observer);
        self.network.warn_of_other_prompts(self.prompts(), observer);
        for part in 0..self.parts() {
            if self.folder.read(Work::Corpus, part).is_none() {
                self.embed_part(part, observer)?;
            }
        }
        for (number, block) in blocks.into_iter().enumerate() {
            if self.folder.read(Work::Queries, number).is_none() {
                attempt(|| self.mine_block(number, block, observer))?;
            }
        }
        Ok(())
    }
    /// Gives every query and what was mined for it to `sink`, in the order of the data set, and says what came of it
    /// all. [`Mining::run`] must have ended well.
    ///
    /// # Errors
    /// The first one of `sink`, or if a file of the work folder has gone.
    pub fn rows(&self, sink: &mut dyn FnMut(&Mined) -> Result<()>) -> Result<Statistics> {
        let mut statistics = Statistics::of(&self.subjects, &self.options.rules, self.range_max);
        for (number, block) in self.blocks().into_iter().enumerate() {
            let file = self.folder.read(Work::Queries, number).ok_or_else(gone)?;
            let done = Block::of(&file)?;
            statistics.skipped(done.skipped);
            let (mut positive, mut label) = (0, 0);
            for (i, q) in block.enumerate() {
                let named = |(&place, &score): (&u32, &f32)| (self.subjects.corpus[place as usize], score);
                let row = self.subjects.positives.row(q);
                let scores = &done.positives[positive..positive + row.len()];
                let kept = label..done.ends[i] as usize;
                (positive, label) = (positive + row.len(), kept.end);
                let mined = Mined {
                    query: self.subjects.queries[q],
                    positives: row.iter().zip(scores).map(named).collect(),
                    negatives: done.labels[kept.clone()].iter().zip(&done.scores[kept]).map(named).collect(),
                };
                statistics.add(&mined, done.survivors[i]);
                sink(&mined)?;
            }
        }
        Ok(statistics)
    }
    /// Removes the work folder.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn finish(self) -> Result<()> {
        self.folder.remove()
    }
    fn parts(&self) -> usize {
        self.subjects.corpus.len().div_ceil(PART)
    }
    fn blocks(&self) -> Vec<Range<usize>> {
        let total = self.subjects.queries.len();
        (0..total).step_by(self.block).map(|first| first..total.min(first + self.block)).collect()
    }
    fn embed_part(&self, part: usize, observer: &mut dyn Observer) -> Result<()> {
        let labels = &self.subjects.corpus;
        let mut writer = self.folder.write(Work::Corpus, part)?;
        writer.begin("rows", Scalar::F32)?;
        for first in (part * PART..labels.len().min((part + 1) * PART)).step_by(LOT) {
            let lot = first..labels.len().min(first + LOT).min((part + 1) * PART);
            let rows = self.corpus.embed((self.engine, self.network), labels, lot, "corpus", observer)?;
            writer.append(&rows)?;
        }
        writer.end()?;
        writer.commit()
    }
    fn mine_block(&self, number: usize, block: Range<usize>, observer: &mut dyn Observer) -> Result<()> {
        let (queries, total) = (&self.subjects.queries, self.subjects.queries.len());
        let embedded =
            self.queries.embed((self.engine, self.network), queries, block.clone(), "queries", observer)?;
        let embedded = Matrix::new(&embedded, self.network.width());
        // Buffers of the encoder fit no search.
        self.engine.trim();
        let mut found = self.search(block.clone(), embedded, observer)?;
        if let Some(judge) = self.judge {
            self.rescore(judge, block.clone(), &mut found, observer)?;
        }
        let kept = self.engine.map(block.len(), |i| self.keep(block.start + i, i, &found));
        let mut writer = self.folder.write(Work::Queries, number)?;
        let mut skipped = Kept::default().skipped;
        kept.iter().for_each(|kept| skipped.iter_mut().zip(kept.skipped).for_each(|(sum, n)| *sum += n));
        let ends = kept.iter().scan(0, |end, kept| {
            *end += kept.labels.len() as u64;
            Some(*end)
        });
        let (labels, scores): (Vec<u32>, Vec<f32>) =
            kept.iter().flat_map(|kept| &kept.labels).copied().unzip();
        writer.section("ends", &ends.collect::<Vec<u64>>())?;
        writer.section("labels", &labels)?;
        writer.section("scores", &scores)?;
        writer.section("positives", &found.positives)?;
        writer.section("survivors", &kept.iter().map(|kept| kept.survivors as u64).collect::<Vec<u64>>())?;
        writer.section("skipped", &skipped)?;
        writer.commit()?;
        observer.event(&Event::Mined { done: block.end, total });
        Ok(())
    }
    /// The best of the corpus for a block of queries, part by part, and the scores of their positives.
    fn search(&self, block: Range<usize>, queries: Matrix<'_>, observer: &mut dyn Observer) -> Result<Found> {
        let of = |lists: &Lists| block.clone().map(|q| lists.row(q).to_vec()).collect::<Lists>();
        let (positives, barred) = (of(&self.subjects.positives), self.subjects.barred.as_ref().map(of));
        let limits = Limits { exclude: barred.as_ref().map(Lists::csr), only: None };
        let mut found = Found {
            hits: Hits::none(queries.rows(), self.looked_at),
            positives: vec![0.0; positives.items().len()],
            starts: positives.csr().starts.to_vec(),
        };
        for part in 0..self.parts() {
            if observer.stop() {
                let what = format!("stopped after {} queries", block.start);
                return Err(Error::new(Kind::Interrupted, what));
            }
            let file = self.folder.read(Work::Corpus, part).ok_or_else(gone)?;
            let (items, first) = (Matrix::new(file.slice("rows")?, queries.width), part * PART);
            let hits = search_part(self.engine, queries, (items, first), self.looked_at, limits);
            found.hits.add(self.engine, &hits);
            for q in 0..queries.rows() {
                let row = positives.row(q);
                let here = |place: usize| row.partition_point(|&id| (id as usize) < place);
                let span = here(first)..here(first + items.rows());
                let ids: Vec<u32> = row[span.clone()].iter().map(|id| id - first as u32).collect();
                let scores = Items::F32(items).scores(self.engine, queries.row(q), &ids);
                let start = found.starts[q] as usize;
                found.positives[start + span.start..start + span.end].copy_from_slice(&scores);
            }
            let (done, total) =
                (block.start + block.len() * (part + 1) / self.parts(), self.subjects.queries.len());
            observer.event(&Event::Mined { done, total });
        }
        Ok(found)
    }
    /// Gives candidates and positives of a block of queries the scores of a judge.
    fn rescore(
        &self,
        judge: &Judge,
        block: Range<usize>,
        found: &mut Found,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (labels, queries) = (self.data.labels(), self.data.queries(self.options.split));
        for (i, q) in block.clone().enumerate() {
            if observer.stop() {
                let what = format!("stopped after {} queries", block.start);
                return Err(Error::new(Kind::Interrupted, what));
            }
            let positives = self.subjects.positives.row(q);
            let (candidates, _) = found.hits.row(i);
            let places = candidates.iter().chain(positives);
            // Prompts are the encoder's; a cross-encoder reads the texts.
            let text = |&place: &u32| labels.text(self.subjects.corpus[place as usize] as usize);
            let texts: Vec<_> = places.map(text).collect();
            let query = queries.text(self.subjects.queries[q] as usize);
            let scores = judge.scores(self.engine, &query, texts.iter().map(|text| &**text))?;
            let (of_candidates, of_positives) = scores.split_at(candidates.len());
            found.hits.rescore(i, of_candidates);
            found.positives[found.starts[i] as usize..found.starts[i + 1] as usize]
                .copy_from_slice(of_positives);
            observer.event(&Event::Mined { done: q + 1, total: self.subjects.queries.len() });
        }
        Ok(())
    }
    /// What is kept of what was found for query `q`, row `i` of its block.
    fn keep(&self, q: usize, i: usize, found: &Found) -> Kept {
        let of_positives = &found.positives[found.starts[i] as usize..found.starts[i + 1] as usize];
        let lowest = of_positives.iter().copied().fold(f32::INFINITY, f32::min);
        let stream = Stream::new(self.options.seed, 0).at_step(u64::from(self.subjects.queries[q]));
        let positives = self.subjects.positives.row(q);
        self.options.rules.keep(found.hits.row(i), (positives, lowest), self.range_max, stream)
    }
}

/// What was found for a block of queries.
struct Found {
    hits: Hits,
    /// The scores of all positives, and where those of each query start.
    positives: Vec<f32>,
    starts: Vec<u64>,
}

/// What was kept for a block of queries, as it lies in its file.
struct Block<'a> {
    ends: &'a [u64],
    labels: &'a [u32],
    scores: &'a [f32],
    positives: &'a [f32],
    survivors: &'a [u64],
    skipped: &'a [u64],
}

impl<'a> Block<'a> {
    fn of(file: &'a Container) -> Result<Block<'a>> {
        Ok(Block {
            ends: file.slice("ends")?,
            labels: file.slice("labels")?,
            scores: file.slice("scores")?,
            positives: file.slice("positives")?,
            survivors: file.slice("survivors")?,
            skipped: file.slice("skipped")?,
        })
    }
}

/// What a work folder knows of a judge.
fn judged(judge: Option<&Judge>) -> String {
    judge.map_or_else(String::new, |judge| format!(" {:x}", judge.fingerprint()))
}

fn gone() -> Error {
    Error::new(Kind::Damaged, "a file of the work folder has gone or was changed")
        .help("run the command again")
}
