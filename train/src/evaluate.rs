//! Measures a model on the queries of a data set.

use crate::embed::{Part, embed};
use crate::index::{Index, Ranking, Search};
use crate::judge::Judge;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::scoring::{Score, Scoring};
use crate::text_ids::filtered;
use crate::vocabulary;
use data::metrics::{Bin, Evaluator, FrequencyBins, Metric, Propensities, Ties};
use data::{DataSet, Split};
use engine::cuda::attempt;
use engine::{Engine, Error, Kind, Result};
use samplers::fusion::{Candidate, Weights};
use samplers::{Csr, Matrix};
use std::sync::Arc;

/// Queries that are embedded and ranked at once: their embeddings and scores are all that grows with it.
const BLOCK: usize = 4096;
/// Rankings whose equal scores are cut off are searched again for so many times as many labels.
const DEEPER: usize = 8;
/// Labels times queries that are held at once then.
const PAIRS: usize = 1 << 22;

/// Which labels may be ranked, and count as truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LabelSet {
    /// All.
    #[default]
    All,
    /// Those with at least one training query.
    Seen,
    /// Those without one: only their text speaks for them.
    Unseen,
    /// These, ascending.
    These(Vec<u32>),
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// What.
    pub metrics: Vec<Metric>,
    /// Training titles that vote; 0 for none.
    pub knn: usize,
    /// What ranks; more than the text only where the index has a classifier.
    pub score: Score,
    /// Training queries on which the constants of the score are fitted; none for those of an untrained model. They must
    /// have been held out of training.
    pub held_out: Vec<u32>,
    /// Which labels.
    pub labels: LabelSet,
    /// The constants A and B of the propensity model.
    pub propensity: (f64, f64),
    /// Labels that are kept of each ranking, where the metrics want fewer.
    pub depth: usize,
    /// In how many bits labels and titles are searched.
    pub search: Search,
    /// Which of several labels with equal scores comes first; trec_eval's order only where the text alone ranks.
    pub ties: Ties,
    /// A cross-encoder that reads each query with so many of the labels that rank highest: these come first, in its
    /// order, and the others below them as they were.
    pub rescore: Option<(Arc<Judge>, usize)>,
}

impl Default for Options {
    fn default() -> Options {
        let metrics = Metric::list("P@1,P@3,P@5").expect("these metrics exist");
        Options {
            metrics,
            knn: 0,
            score: Score::Text,
            held_out: vec![],
            labels: LabelSet::All,
            propensity: (0.55, 1.5),
            depth: 5,
            search: Search::F32,
            ties: Ties::Number,
            rescore: None,
        }
    }
}

impl Options {
    /// Labels of each ranking.
    fn ranks(&self) -> usize {
        self.metrics.iter().map(|m| m.k).max().unwrap_or(1).max(self.depth)
    }
    /// Labels that are looked for.
    fn searched(&self) -> usize {
        self.rescore.as_ref().map_or(0, |(_, depth)| *depth).max(self.ranks())
    }
}

/// The queries to measure on.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Their split.
    pub split: Split,
    /// Which of them; `None` for all.
    pub rows: Option<&'a [u32]>,
}

/// A query and what was found for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The query's row in its split.
    pub query: u32,
    /// Labels and scores, best first.
    pub labels: Vec<(u32, f32)>,
    /// How far the best wrong label stands above the best right one, by label text alone; negative if it does not.
    pub confusion: f32,
}

/// Labels of some frequency, the metrics when they alone are true, and how many queries have one of them.
pub type OfBin = (Bin, Vec<(Metric, f64)>, usize);

/// The members of a fusion and their sum; the last where near titles vote.
const MEMBERS: [(&str, Weights); 4] = [
    ("text", Weights::TEXT),
    ("classifier", Weights::CLASSIFIER),
    ("sum", Weights::SUM),
    ("votes", Weights::VOTES),
];

/// A member of a fusion, and the metrics when it ranks alone.
pub type OfMember = (&'static str, Vec<(Metric, f64)>);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Fractions, in the order asked for.
    pub metrics: Vec<(Metric, f64)>,
    /// The same with the truth restricted to frequent, middling and rare labels.
    pub by_frequency: Vec<OfBin>,
    /// The ranking of every query that counts: where labels are restricted, those that have one of them.
    pub rankings: Vec<Ranked>,
    /// P@1 of every query that counts, for paired comparisons.
    pub hits: Vec<f64>,
    /// What ranked.
    pub scoring: Scoring,
    /// Of a fusion: the same metrics for each member alone, and for their plain sum.
    pub members: Vec<OfMember>,
}

/// Measures a network.
///
/// # Errors
/// If the split has no query, no label is left to rank, or the observer wants to stop.
pub fn evaluate(
    engine: &Engine,
    network: &Network,
    data: &DataSet,
    queries: Queries<'_>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    let index = Index::build(engine, network, data, options.knn > 0, observer)?.ready(engine, options.search);
    evaluate_with(engine, network, &index, data, queries, options, observer)
}

/// Measures a network whose index exists.
///
/// # Errors
/// As [`evaluate`], and [`Kind::Refused`] if a device has no memory left.
pub fn evaluate_with(
    engine: &Engine,
    network: &Network,
    index: &Index,
    data: &DataSet,
    queries: Queries<'_>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    attempt(|| measured((engine, network, index), data, queries, options, observer))
}

fn measured(
    (engine, network, index): (&Engine, &Network, &Index),
    data: &DataSet,
    queries: Queries<'_>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    vocabulary::check_ids(data, &network.model)?;
    let texts = data.queries(queries.split);
    let rows: Vec<u32> = queries.rows.map_or_else(|| (0..texts.len() as u32).collect(), <[u32]>::to_vec);
    if rows.is_empty() {
        return Err(Error::input(format!("the {:?} split has no query", queries.split).to_lowercase())
            .at(data.path()));
    }
    if options.ties == Ties::Trec && (options.score != Score::Text || options.knn > 0) {
        let message = "trec_eval's order of equal scores is there for label text alone";
        return Err(Error::input(message).help("--score text, without --knn; or --ties number"));
    }
    let truth = Truth::new(data, queries.split, options)?;
    let (wished, models) = ((options.score, options.knn), (engine, network, index));
    let scoring = Scoring::fit(wished, models, data, &options.held_out, observer)?;
    let mut sums = Sums::new(data, options);
    let mut rankings = Vec::with_capacity(rows.len());
    let (width, total) = (network.width(), rows.len());
    for (block, rows) in rows.chunks(BLOCK).enumerate() {
        let push = |i: usize, packed: &mut engine::Packed| texts.push_to(rows[i] as usize, packed);
        let mut part = Part { observer: &mut *observer, before: block * BLOCK, total };
        let embeddings = embed(engine, network, rows.len(), push, "queries", &mut part)?;
        let matrix = Matrix::new(&embeddings, width);
        let mut found = truth.rank(engine, index, matrix, rows, (options, &scoring));
        if let Some((judge, depth)) = &options.rescore {
            let mut done = block * BLOCK;
            for (&query, found) in rows.iter().zip(&mut found) {
                let read = found.labels.len().min(*depth);
                let (read, rest) = found.labels.split_at_mut(read);
                rescore(engine, judge, data, (queries.split, query), read)?;
                below(read, rest);
                done += 1;
                observer.event(&Event::Embedding { what: "rankings for the cross-encoder", done, total });
                if observer.stop() {
                    return Err(Error::new(
                        Kind::Interrupted,
                        format!("stopped after {done} of {total} queries"),
                    ));
                }
            }
        }
        for ((&query, found), x) in rows.iter().zip(found).zip(embeddings.chunks(width)) {
            let relevant = truth.relevant(query);
            if relevant.is_empty() && options.labels != LabelSet::All {
                continue;
            }
            sums.add(&found, &relevant);
            let labels = found.labels;
            let confusion = confusion(engine, index, x, &labels, &relevant);
            rankings.push(Ranked { query, labels, confusion });
        }
    }
    Ok(Evaluation { scoring, ..sums.finish(rankings) })
}

/// The labels of a query in the order, and with the scores, of a cross-encoder.
fn rescore(
    engine: &Engine,
    judge: &Judge,
    data: &DataSet,
    (split, query): (Split, u32),
    labels: &mut [(u32, f32)],
) -> Result<()> {
    let texts: Vec<_> = labels.iter().map(|&(label, _)| data.labels().text(label as usize)).collect();
    let query = data.queries(split).text(query as usize);
    let scores = judge.scores(engine, &query, texts.iter().map(|text| &**text))?;
    labels.iter_mut().zip(scores).for_each(|((_, score), of_judge)| *score = of_judge);
    labels.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(())
}

/// Gives labels that were not read scores below those of labels that were, a whole number apart: who sorts by score
/// finds the order that they have.
fn below(read: &[(u32, f32)], rest: &mut [(u32, f32)]) {
    let lowest = read.last().map_or(0.0, |&(_, score)| score.floor());
    rest.iter_mut().enumerate().for_each(|(i, (_, score))| *score = lowest - (i + 1) as f32);
}

/// What rankings of training or test queries are worth, that somebody else made.
pub(crate) fn of_rankings(data: &DataSet, split: Split, options: &Options, made: Vec<Ranked>) -> Evaluation {
    let mut sums = Sums::new(data, options);
    for Ranked { query, labels, .. } in &made {
        let found = Found { labels: labels.clone(), candidates: vec![] };
        sums.add(&found, &relevant(data, split, *query));
    }
    sums.finish(made)
}

/// The labels that are right for a query: its positives, less what the data set filters for it.
pub(crate) fn relevant(data: &DataSet, split: Split, query: u32) -> Vec<u32> {
    let filtered = data.filtered(split, query as usize);
    let positives = data.positives(split, query as usize).iter().copied();
    positives.filter(|l| filtered.binary_search(l).is_err()).collect()
}

/// What is right, what may be ranked, and how.
struct Truth<'a> {
    data: &'a DataSet,
    split: Split,
    only: Option<Vec<u32>>,
    ties: Ties,
}

impl<'a> Truth<'a> {
    fn new(data: &'a DataSet, split: Split, options: &Options) -> Result<Truth<'a>> {
        let frequency = data.label_frequency();
        let those = |seen: bool| {
            let all = (0..frequency.len() as u32).filter(|&label| (frequency[label as usize] > 0) == seen);
            all.collect::<Vec<u32>>()
        };
        let (only, which) = match &options.labels {
            LabelSet::All => (None, ""),
            LabelSet::Seen => (Some(those(true)), " with a training query"),
            LabelSet::Unseen => (Some(those(false)), " without a training query"),
            LabelSet::These(labels) => (Some(labels.clone()), ""),
        };
        if only.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::input(format!("there is no label{which}")).at(data.path()));
        }
        Ok(Truth { data, split, only, ties: options.ties })
    }
    fn relevant(&self, query: u32) -> Vec<u32> {
        let mut all = relevant(self.data, self.split, query);
        all.retain(|l| self.only.as_ref().is_none_or(|only| only.binary_search(l).is_ok()));
        all
    }
    fn rank(
        &self,
        engine: &Engine,
        index: &Index,
        queries: Matrix<'_>,
        rows: &[u32],
        (options, scoring): (&Options, &Scoring),
    ) -> Vec<Found> {
        let k = options.searched();
        if let Scoring::Members(members) = scoring {
            let search =
                |ranking: &Ranking<'_>| index.candidates(engine, self.data, queries, members, ranking);
            let found = self.limited(rows, k, search).into_iter();
            return found
                .map(|candidates| Found { labels: members.weights.rank(&candidates, k), candidates })
                .collect();
        }
        let search = |queries: Matrix<'_>, rows: &[u32], k| {
            self.limited(rows, k, |ranking| index.rank(engine, self.data, queries, scoring, ranking))
        };
        let found = match self.ties {
            Ties::Number => search(queries, rows, k),
            Ties::Trec => self.settled(queries, rows, k, search),
        };
        found.into_iter().map(|labels| Found { labels, candidates: vec![] }).collect()
    }
    /// Searches within the limits of these queries.
    fn limited<R>(&self, rows: &[u32], k: usize, search: impl FnOnce(&Ranking<'_>) -> R) -> R {
        let filtered = filtered(self.data, self.split, rows);
        // A training query must not vote for itself.
        let own: Vec<u64> = (0..=rows.len() as u64).collect();
        search(&Ranking {
            k,
            exclude: filtered.as_ref().map(samplers::Lists::csr),
            exclude_titles: (self.split == Split::Train).then_some(Csr { starts: &own, items: rows }),
            only: self.only.as_deref(),
        })
    }
    /// The first `k` of each ranking, equal scores in order. Where the k-th score goes on to the end of what was
    /// searched for, labels behind may belong into it: such queries are searched again, for more and more labels.
    fn settled(
        &self,
        queries: Matrix<'_>,
        rows: &[u32],
        k: usize,
        search: impl Fn(Matrix<'_>, &[u32], usize) -> Vec<Vec<(u32, f32)>>,
    ) -> Vec<Vec<(u32, f32)>> {
        // One more than is wanted tells whether its score is another.
        let (names, first) = (self.data.labels(), k + 1);
        let mut found = search(queries, rows, first);
        let is_cut = |labels: &Vec<(u32, f32)>, depth| labels.len() == depth && self.ties.are_cut(labels, k);
        let settle = |labels: &mut Vec<(u32, f32)>| {
            self.ties.settle(labels, |label| names.uid(label as usize));
            labels.truncate(k);
        };
        let open: Vec<usize> = (0..found.len()).filter(|&i| is_cut(&found[i], first)).collect();
        found.iter_mut().for_each(settle);
        // All labels of so many queries are no more than their scores in one search.
        for group in open.chunks((PAIRS / names.len().max(1)).clamp(1, 64)) {
            let x: Vec<f32> = group.iter().flat_map(|&i| queries.row(i).iter().copied()).collect();
            let of: Vec<u32> = group.iter().map(|&i| rows[i]).collect();
            let (mut depth, mut deeper) = (first, vec![]);
            while deeper.is_empty() || deeper.iter().any(|labels| is_cut(labels, depth)) {
                depth *= DEEPER;
                deeper = search(Matrix::new(&x, queries.width), &of, depth);
            }
            for (&i, mut labels) in group.iter().zip(deeper) {
                settle(&mut labels);
                found[i] = labels;
            }
        }
        found
    }
}

/// What was found for a query.
struct Found {
    /// Labels and scores, best first.
    labels: Vec<(u32, f32)>,
    /// What the members of a fusion say.
    candidates: Vec<Candidate>,
}

/// The sums over all queries, over all labels and by frequency, and of each member of a fusion.
struct Sums {
    ranks: usize,
    all: Evaluator,
    bins: FrequencyBins,
    by_bin: Vec<(Bin, Evaluator)>,
    members: Vec<(&'static str, Weights, Evaluator)>,
    hits: Vec<f64>,
}

impl Sums {
    fn new(data: &DataSet, options: &Options) -> Sums {
        let frequency = data.label_frequency();
        let (a, b) = options.propensity;
        let propensities = Propensities::with(&frequency, data.queries(Split::Train).len(), a, b);
        let evaluator = || Evaluator::new(&options.metrics, propensities.clone());
        let by_bin = [Bin::Head, Bin::Torso, Bin::Tail].map(|bin| (bin, evaluator().skip_empty()));
        let members: &[_] = match (options.score, options.knn) {
            (Score::Fusion, 0) => &MEMBERS[..3],
            (Score::Fusion, _) => &MEMBERS,
            _ => &[],
        };
        Sums {
            ranks: options.ranks(),
            all: evaluator(),
            bins: FrequencyBins::new(&frequency),
            by_bin: by_bin.into(),
            members: members.iter().map(|&(name, weights)| (name, weights, evaluator())).collect(),
            hits: vec![],
        }
    }
    fn add(&mut self, found: &Found, relevant: &[u32]) {
        let ids = |ranking: &[(u32, f32)]| ranking.iter().map(|&(l, _)| l).collect::<Vec<u32>>();
        let ranked = ids(&found.labels);
        for (_, weights, evaluator) in &mut self.members {
            evaluator.add(&ids(&weights.rank(&found.candidates, self.ranks)), relevant);
        }
        self.all.add(&ranked, relevant);
        for (bin, evaluator) in &mut self.by_bin {
            evaluator.add(&ranked, &self.bins.only(*bin, relevant));
        }
        self.hits.push(f64::from(u8::from(ranked.first().is_some_and(|l| relevant.contains(l)))));
    }
    fn finish(self, rankings: Vec<Ranked>) -> Evaluation {
        let by_frequency = self.by_bin.iter().map(|(bin, e)| (*bin, e.finish(), e.queries())).collect();
        let members = self.members.iter().map(|(name, _, evaluator)| (*name, evaluator.finish())).collect();
        let (metrics, hits, scoring) = (self.all.finish(), self.hits, Scoring::default());
        Evaluation { metrics, by_frequency, rankings, hits, scoring, members }
    }
}

fn confusion(engine: &Engine, index: &Index, query: &[f32], labels: &[(u32, f32)], relevant: &[u32]) -> f32 {
    let wrong: Vec<u32> = labels.iter().map(|&(l, _)| l).filter(|l| !relevant.contains(l)).collect();
    let best = |labels: &[u32]| {
        let cosines = index.labels().scores(engine, query, labels);
        cosines.into_iter().fold(f32::NEG_INFINITY, f32::max)
    };
    best(&wrong) - best(relevant)
}
