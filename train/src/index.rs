//! Ranking labels for queries: inner products with all label embeddings, and, if wished, votes of near training titles.
//!
//! ```text
//! score(x, l) = cos(x, z_l)  +  Σ over the k nearest training titles t with label l of max(cos(x, t), 0)⁴
//! ```
//! With a classifier, its weights rank, or the sum of all members ([`samplers::fusion`]).
//!
//! Search is exact. The embeddings are kept in a mapped file beside a run, under the fingerprints of the model and of
//! the data, so that the next start is a matter of milliseconds.

use crate::classifier::Classifier;
use crate::embed::{all_labels, embed, embed_labels};
use crate::network::Network;
use crate::observer::Observer;
use crate::scoring::{Members, Scoring};
use crate::text_ids::csr;
use data::{DataSet, Split};
use engine::container::{Container, Verify, View, Writer};
use engine::{Engine, Error, Packed, Precision, Result};
use samplers::fusion::{self, Candidate, Panel};
use samplers::knn::{Titles, search_with_votes};
use samplers::search::Limits;
use samplers::{Csr, Int8Rows, Items, Matrix, Resident, TableRows};
use std::path::{Path, PathBuf};

const KIND: &str = "index";

/// Of what a device has free, an index may take one part in so many: the model and the scores want memory, too.
const SHARE: usize = 2;

/// Embeddings of all labels, and of the training titles where they vote; and label weights where they were learned.
pub struct Index<'a> {
    labels: Rows<'a>,
    titles: Option<Rows<'a>>,
    classifier: Option<Rows<'a>>,
    width: usize,
}

/// In how many bits an index is kept and searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// f32.
    #[default]
    F32,
    /// Bytes alone: a quarter of the memory.
    Int8,
    /// Bytes, then the best again by f32, whose rows stay.
    Rescored,
}

/// f32 on the heap or mapped; or bytes, with or without them; or weights where they are learned; or f32 that lie on a
/// device, too.
enum Rows<'a> {
    Heap(Vec<f32>),
    Mapped(View<f32>),
    Int8(Int8Rows),
    Rescored(Int8Rows, Box<Rows<'a>>),
    Table(TableRows<'a>),
    Resident(Resident, Box<Rows<'a>>),
}

impl<'a> Rows<'a> {
    /// # Panics
    /// If there are only bytes, or a table.
    fn matrix(&self, width: usize) -> Matrix<'_> {
        match self {
            Rows::Heap(values) => Matrix::new(values, width),
            Rows::Mapped(view) => Matrix::new(view, width),
            Rows::Rescored(_, rows) | Rows::Resident(_, rows) => rows.matrix(width),
            Rows::Int8(_) => unreachable!("an index is written before its rows are rounded"),
            Rows::Table(_) => unreachable!("what is being learned is neither written nor rounded"),
        }
    }
    fn items(&self, width: usize) -> Items<'_> {
        match self {
            Rows::Int8(bytes) => Items::Int8(bytes),
            Rows::Rescored(bytes, rows) => Items::Rescored(bytes, rows.matrix(width)),
            Rows::Table(rows) => Items::Table(*rows),
            Rows::Resident(on_device, rows) => Items::Resident(on_device, rows.matrix(width)),
            rows => Items::F32(rows.matrix(width)),
        }
    }
    fn ready(self, (engine, budget): (&Engine, &mut usize), width: usize, search: Search) -> Rows<'a> {
        let bytes = || Int8Rows::new(engine, self.matrix(width));
        match search {
            Search::F32 => {
                let stays = |cuda| Resident::within(budget, cuda, self.matrix(width));
                match engine.cuda().filter(|_| !matches!(self, Rows::Table(_))).and_then(stays) {
                    Some(on_device) => Rows::Resident(on_device, Box::new(self)),
                    None => self,
                }
            }
            Search::Int8 => Rows::Int8(bytes()),
            Search::Rescored => Rows::Rescored(bytes(), Box::new(self)),
        }
    }
}

/// How many labels of which are ranked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ranking<'a> {
    /// Labels wanted.
    pub k: usize,
    /// Row `i`: labels that query `i` must not get.
    pub exclude: Option<Csr<'a>>,
    /// Row `i`: training titles that must not vote for query `i`.
    pub exclude_titles: Option<Csr<'a>>,
    /// Ascending ids of the labels that may be ranked; `None` for all.
    pub only: Option<&'a [u32]>,
}

impl<'r> Index<'r> {
    /// Embeds the labels of a data set, and its training titles if they are to vote.
    ///
    /// # Errors
    /// As [`embed`].
    pub fn build(
        engine: &Engine,
        network: &Network,
        data: &DataSet,
        with_titles: bool,
        observer: &mut dyn Observer,
    ) -> Result<Index<'r>> {
        network.warn_of_other_labels(data, observer);
        network.warn_of_other_prompts(data.prompts().both(), observer);
        let labels = embed_labels((engine, network), data, &all_labels(data), "labels", observer)?;
        let texts = data.queries(Split::Train);
        let push = |i: usize, packed: &mut Packed| texts.push_to(i, packed);
        let titles = match with_titles {
            true => Some(embed(engine, network, texts.len(), push, "training titles", observer)?),
            false => None,
        };
        let (labels, titles) = (Rows::Heap(labels), titles.map(Rows::Heap));
        Ok(Index { labels, titles, classifier: None, width: network.width() })
    }
    /// Label weights that are being learned where label embeddings are otherwise: they alone rank.
    pub(crate) fn of_weights(weights: TableRows<'r>) -> Index<'r> {
        Index { labels: Rows::Table(weights), titles: None, classifier: None, width: weights.table.width() }
    }
    /// The index of a file if it is there and belongs to this model and data; otherwise a new one, written there. That
    /// the file cannot be written is no error: the index is then in memory alone.
    ///
    /// # Errors
    /// As [`embed`].
    pub fn load_or_build(
        path: &Path,
        engine: &Engine,
        network: &Network,
        data: &DataSet,
        with_titles: bool,
        observer: &mut dyn Observer,
    ) -> Result<Index<'r>> {
        if let Some(index) = Index::load(path, network, data, with_titles) {
            return Ok(index);
        }
        let index = Index::build(engine, network, data, with_titles, observer)?;
        if let Err(error) = index.write(path, [network.fingerprint(), data.fingerprint()]) {
            observer.event(&crate::observer::Event::Warning(&format!("the index is not kept: {error}")));
        }
        Ok(index)
    }
    /// The index of a file, if it is there and belongs to this model and data.
    pub(crate) fn load(
        path: &Path,
        network: &Network,
        data: &DataSet,
        with_titles: bool,
    ) -> Option<Index<'r>> {
        let fingerprints = [network.fingerprint(), data.fingerprint()];
        Index::open(path, fingerprints, network.width(), data, with_titles).ok()
    }
    /// The file beside a run in which the index of an encoder is kept; in f32 where no precision is named.
    pub fn path_beside(run: &Path, precision: Option<Precision>) -> PathBuf {
        run.join(precision.map_or("index.lode".to_owned(), |p| format!("index-{}.lode", p.name())))
    }
    /// Whether a file holds the labels of this data set, embedded by this model.
    pub fn is_current(path: &Path, network: &Network, data: &DataSet) -> bool {
        Index::load(path, network, data, false).is_some()
    }
    /// Verified are the fingerprints and the embeddings that will be read: not the titles' where none shall vote.
    fn open(
        path: &Path,
        fingerprints: [u64; 2],
        width: usize,
        data: &DataSet,
        with_titles: bool,
    ) -> Result<Index<'r>> {
        let file = Container::open(path, KIND, Verify::Header)?;
        file.check("fingerprints")?;
        let fits = file.slice::<u64>("fingerprints")? == fingerprints && (!with_titles || file.has("titles"));
        if !fits {
            return Err(Error::damaged(path, "fingerprints", "the index is of another model or data set"));
        }
        let rows = |name: &str, texts: data::Texts<'_>| {
            file.check(name)?;
            let view: View<f32> = file.view(name)?;
            match texts.len().checked_mul(width) == Some(view.len()) {
                true => Ok(Rows::Mapped(view)),
                false => Err(Error::damaged(path, name, "has not a row for each text of the data set")),
            }
        };
        let titles = if with_titles { Some(rows("titles", data.queries(Split::Train))?) } else { None };
        Ok(Index { labels: rows("labels", data.labels())?, titles, classifier: None, width })
    }
    fn write(&self, path: &Path, fingerprints: [u64; 2]) -> Result<()> {
        let mut writer = Writer::create(path, KIND)?;
        writer.section("fingerprints", &fingerprints)?;
        writer.section("labels", self.labels.matrix(self.width).data)?;
        if let Some(titles) = &self.titles {
            writer.section("titles", titles.matrix(self.width).data)?;
        }
        writer.commit()
    }
    /// The same index, as it will be searched: in fewer bits, or in f32 on the device of the engine, as far as half of
    /// what that has free has room: for labels, then for label weights, then for titles.
    ///
    /// # Panics
    /// If it is rounded already.
    #[must_use]
    pub fn ready(self, engine: &Engine, search: Search) -> Index<'r> {
        let mut budget = engine.cuda().map_or(0, |cuda| cuda.memory_free() / SHARE);
        let mut rows = |rows: Rows<'r>| rows.ready((engine, &mut budget), self.width, search);
        let (labels, classifier, titles) =
            (rows(self.labels), self.classifier.map(&mut rows), self.titles.map(&mut rows));
        Index { labels, titles, classifier, width: self.width }
    }
    /// With learned label weights.
    ///
    /// # Errors
    /// If their width is not that of the embeddings.
    pub fn with_classifier(self, classifier: Option<Classifier>) -> Result<Index<'r>> {
        if let Some(found) = classifier.as_ref().filter(|found| found.width != self.width) {
            let (learned, here) = (found.width, self.width);
            let what = format!("the classifier has weights of {learned} numbers, the encoder gives {here}");
            return Err(Error::input(what));
        }
        Ok(Index { classifier: classifier.map(|found| Rows::Heap(found.rows)), ..self })
    }
    /// Whether it has learned label weights.
    pub fn has_classifier(&self) -> bool {
        self.classifier.is_some()
    }
    /// The embedding of each label, `[L, width]`.
    pub fn labels(&self) -> Items<'_> {
        self.labels.items(self.width)
    }
    /// The embedding of each training title, `[N, width]`.
    ///
    /// # Panics
    /// If the index was built without them.
    pub fn titles(&self) -> Items<'_> {
        self.titles.as_ref().expect("the index was built with titles").items(self.width)
    }
    /// The members of a fusion; so many of the nearest titles vote, of those in `only` and not in `exclude`.
    ///
    /// # Panics
    /// If there is no classifier, or titles are to vote and the index holds none.
    pub(crate) fn panel<'a>(
        &'a self,
        data: &'a DataSet,
        nearest: usize,
        exclude: Option<Csr<'a>>,
        only: Option<&'a [u32]>,
    ) -> Panel<'a> {
        let titles = |n| (self.voters(data, exclude, only), n);
        let classifier = self.classifier.as_ref().expect("the index has a classifier").items(self.width);
        Panel { classifier, text: self.labels(), titles: (nearest > 0).then(|| titles(nearest)) }
    }
    fn voters<'a>(
        &'a self,
        data: &'a DataSet,
        exclude: Option<Csr<'a>>,
        only: Option<&'a [u32]>,
    ) -> Titles<'a> {
        Titles { embeddings: self.titles(), labels: csr(data.positive_rows(Split::Train)), exclude, only }
    }
    /// The labels that the members of a fusion put forward for each query, and what each says of them.
    ///
    /// # Panics
    /// If there is no classifier, or titles are to vote and the index holds none.
    pub fn candidates(
        &self,
        engine: &Engine,
        data: &DataSet,
        queries: Matrix<'_>,
        members: &Members,
        ranking: &Ranking<'_>,
    ) -> Vec<Vec<Candidate>> {
        let limits = Limits { exclude: ranking.exclude, only: ranking.only };
        let panel = self.panel(data, members.nearest, ranking.exclude_titles, None);
        let mut found = fusion::candidates(engine, queries, panel, ranking.k, limits);
        members.judge(found.iter_mut().flatten());
        found
    }
    /// The best labels of each query, best first, ties by label id.
    ///
    /// # Panics
    /// If titles are to vote and the index holds none, or label weights are to rank and there are none.
    pub fn rank(
        &self,
        engine: &Engine,
        data: &DataSet,
        queries: Matrix<'_>,
        scoring: &Scoring,
        ranking: &Ranking<'_>,
    ) -> Vec<Vec<(u32, f32)>> {
        let limits = Limits { exclude: ranking.exclude, only: ranking.only };
        let hits = match scoring {
            Scoring::Text(None) => self.labels().search(engine, queries, ranking.k, limits),
            Scoring::Text(Some(voting)) => {
                let titles = self.voters(data, ranking.exclude_titles, None);
                search_with_votes(engine, queries, self.labels(), titles, *voting, ranking.k, limits)
            }
            Scoring::Members(members) => {
                let found = self.candidates(engine, data, queries, members, ranking);
                return found.iter().map(|row| members.weights.rank(row, ranking.k)).collect();
            }
        };
        let pairs =
            |(ids, scores): (&[u32], &[f32])| ids.iter().copied().zip(scores.iter().copied()).collect();
        (0..queries.rows()).map(|i| pairs(hits.row(i))).collect()
    }
}
