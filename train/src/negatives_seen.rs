//! What training queries meet as negatives, checkpoint by checkpoint: for a person to look at.
//!
//! ```text
//! negatives of q   the k labels that the model scores highest for q, less those that are known or excluded
//! met              the label may have stood against q in training: a batch-mate has it in the last epoch that q was
//!                  trained in, it is in the list that q draws from, or every label is met. Labels that are drawn by
//!                  chance, and those of batches before (`memory.*`), are not counted
//! margin           score of the label − lowest score of a positive of q
//! near             how many of the `NEAR` training titles nearest to q have the label
//! ```
//! A label that scores as high as a positive and that near titles have may well be right and never have been given: a
//! false negative ([`Negative::suspicion`]). The score alone is the rule of NV-Retriever (Moreira et al., 2024,
//! "TopK-PercPos": above 95 % of the positive); what near titles have does not come from the label's text at all.

use crate::checkpoint::{self, Checkpoint};
use crate::embed::{all_labels, embed, embed_labels};
use crate::head::Head;
use crate::held::Held;
use crate::observer::Observer;
use crate::run;
use crate::trainer::Trainer;
use data::{DataSet, Split};
use engine::{Engine, Error, Packed, Result, Stream};
use samplers::search::{Limits, search};
use samplers::{Lists, Matrix};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Titles that are asked what labels they have.
pub const NEAR: usize = 20;
/// What a negative must score of the lowest positive to be suspected.
const SHARE_OF_POSITIVE: f32 = 0.95;

mod tags {
    /// Which training queries are looked at.
    pub(super) const SAMPLE: u64 = u64::from_be_bytes(*b"t.sample");
}

/// A negative of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Negative {
    /// The label.
    pub label: u32,
    /// What the model scores.
    pub score: f32,
    /// Score less the lowest of a positive.
    pub margin: f32,
    /// Whether it stood against the query in training.
    pub met: bool,
    /// Near titles that have it, as the newest checkpoint sees them.
    pub near: u32,
}

impl Negative {
    /// How much speaks for a label that is right and was not given: 0, 1 or 2 of *scores as a positive does* and *two
    /// of the near titles have it*.
    pub fn suspicion(&self) -> u32 {
        let positive = self.score - self.margin;
        // 95 % of a positive that scores below zero would lie above it.
        let scores = self.score >= positive - (1.0 - SHARE_OF_POSITIVE) * positive.abs();
        u32::from(scores) + u32::from(self.near >= 2)
    }
}

/// A query in one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfQuery {
    /// Its positives and what they score, best first.
    pub positives: Vec<(u32, f32)>,
    /// Hardest first.
    pub negatives: Vec<Negative>,
}

/// What one checkpoint says.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Updates done.
    pub step: u64,
    /// The epoch at hand.
    pub epoch: u32,
    /// Of each query that is looked at.
    pub queries: Vec<OfQuery>,
}

impl Round {
    /// Of the negatives shown, the share that was met in training.
    pub fn met(&self) -> f64 {
        let all = || self.queries.iter().flat_map(|q| &q.negatives);
        all().filter(|n| n.met).count() as f64 / all().count().max(1) as f64
    }
}

/// A run's queries, some of them, and what they meet.
pub struct NegativesSeen {
    /// The data set.
    pub data: DataSet,
    /// Training queries that are looked at, ascending.
    pub queries: Vec<u32>,
    /// Oldest first.
    pub rounds: Vec<Round>,
    /// Damaged checkpoints that were passed over, in words.
    pub warnings: Vec<String>,
}

/// How much to look at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Queries, drawn by the run's seed where there are more.
    pub queries: usize,
    /// Negatives of each.
    pub negatives: usize,
    /// Checkpoints, the newest ones.
    pub rounds: usize,
}

impl NegativesSeen {
    /// Looks at a run.
    ///
    /// # Errors
    /// If it is no run, has no whole checkpoint, trains on label texts as queries, or the observer wants to stop or not
    /// to afford it.
    pub fn of(
        engine: &Engine,
        path: &Path,
        look: Look,
        observer: &mut dyn Observer,
    ) -> Result<NegativesSeen> {
        // Each round has a run of its own: what a newer checkpoint brought would stay where an older one has nothing.
        let (mut trainer, dir) = run::open_to_look(engine, path)?;
        let found = checkpoint::list(&dir.checkpoints());
        if found.is_empty() {
            let e = Error::input("there is no checkpoint yet").at(path);
            return Err(e.help("a run saves one every save.every_seconds, and at its end"));
        }
        let queries = sample(&trainer, look.queries);
        let look = Look { queries: queries.len(), ..look };
        let limit = observer.memory_limit();
        let is_mapped = limit.is_some_and(|limit| held(&trainer, look).total() > limit);
        let place = |trainer: &mut Trainer| {
            let head = trainer.head.iter_mut().filter(|_| is_mapped);
            head.for_each(|head| head.map_in(dir.root()));
        };
        place(&mut trainer);
        observer.afford(&held(&trainer, look))?;
        let mut fresh = Some(trainer);
        let mut data = None;
        let (mut rounds, mut warnings, mut near) = (vec![], vec![], None);
        // Newest first, since it says which titles are near.
        for file in &found {
            if rounds.len() == look.rounds {
                break;
            }
            let mut trainer = match fresh.take() {
                Some(trainer) => trainer,
                None => run::open_to_look(engine, path)?.0,
            };
            place(&mut trainer);
            match Checkpoint::read(file).and_then(|checkpoint| trainer.restore(checkpoint)) {
                Ok(()) => {}
                Err(damaged) => {
                    warnings.push(format!("passed over: {damaged}"));
                    continue;
                }
            }
            let seen = Seen::new(&trainer, &queries, observer)?;
            let near = match &near {
                Some(near) => near,
                None => near.insert(seen.near(observer)?),
            };
            rounds.push(seen.round(look.negatives, near));
            data = Some(trainer.data);
        }
        let Some(data) = data else {
            return Err(Error::damaged(&found[0], "checkpoints", warnings.join("\n")));
        };
        rounds.reverse();
        Ok(NegativesSeen { data, queries, rounds, warnings })
    }
}

/// What looking holds at its peak.
fn held(trainer: &Trainer, look: Look) -> Held {
    let (titles, labels) = (trainer.data.queries(Split::Train).len(), trainer.data.labels().len());
    let row = 4 * trainer.network.width();
    let found = look.queries * look.negatives.min(labels) * size_of::<Negative>();
    let mut parts = Held::resting(trainer);
    parts.extend([
        ("labels", row * labels),
        ("training titles", row * titles),
        ("queries", row * look.queries),
        ("found", (look.rounds + 1) * found),
    ]);
    let help = "fewer --queries or --rounds hold less, but all labels and training titles are embedded";
    Held { what: "a look at negatives", parts, help }
}

/// Some training queries of the data set, ascending.
fn sample(trainer: &Trainer, most: usize) -> Vec<u32> {
    let first_text = trainer.data.queries(Split::Train).len() as u32;
    let mut rows: Vec<u32> = trainer.train_rows.iter().copied().filter(|&q| q < first_text).collect();
    if rows.len() > most {
        Stream::new(trainer.config.train.seed, tags::SAMPLE).shuffle(&mut rows);
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}

/// Labels by the number of near titles that have them.
type Near = Vec<BTreeMap<u32, u32>>;

/// The embeddings of one checkpoint.
struct Seen<'a> {
    trainer: &'a Trainer,
    rows: &'a [u32],
    queries: Vec<f32>,
    labels: Vec<f32>,
    barred: Lists,
}

impl<'a> Seen<'a> {
    fn new(trainer: &'a Trainer, rows: &'a [u32], observer: &mut dyn Observer) -> Result<Seen<'a>> {
        let (engine, network, data) = (&trainer.engine, &trainer.network, &trainer.data);
        let texts = data.queries(Split::Train);
        let query = |i: usize, packed: &mut Packed| texts.push_to(rows[i] as usize, packed);
        let queries = embed(engine, network, rows.len(), query, "queries", observer)?;
        let labels = match trainer.classifier() {
            Some(weights) => weights.rows,
            None => embed_labels((engine, network), data, &all_labels(data), "labels", observer)?,
        };
        let barred = trainer.barred(rows);
        Ok(Seen { trainer, rows, queries, labels, barred })
    }
    fn width(&self) -> usize {
        self.trainer.network.width()
    }
    /// What near titles have. A title of the same text says nothing new.
    fn near(&self, observer: &mut dyn Observer) -> Result<Near> {
        let (trainer, width) = (self.trainer, self.width());
        let (engine, data) = (&trainer.engine, &trainer.data);
        let texts = data.queries(Split::Train);
        let push = |i: usize, packed: &mut Packed| texts.push_to(i, packed);
        let titles = embed(engine, &trainer.network, texts.len(), push, "training titles", observer)?;
        let number = |q: u32| trainer.text_ids.queries[q as usize];
        let numbers: HashSet<u32> = self.rows.iter().map(|&q| number(q)).collect();
        let mut same: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let titles_of_data = 0..texts.len() as u32;
        titles_of_data
            .filter(|&q| numbers.contains(&number(q)))
            .for_each(|q| same.entry(number(q)).or_default().push(q));
        let own: Lists = self.rows.iter().map(|&q| same[&number(q)].as_slice()).collect();
        let limits = Limits { exclude: Some(own.csr()), only: None };
        let (queries, titles) = (Matrix::new(&self.queries, width), Matrix::new(&titles, width));
        let hits = search(engine, queries, titles, NEAR, limits);
        let count = |i: usize| {
            let mut of = BTreeMap::new();
            let labels = hits.row(i).0.iter().flat_map(|&t| data.positives(Split::Train, t as usize));
            labels.for_each(|&label| *of.entry(label).or_insert(0) += 1);
            of
        };
        Ok((0..self.rows.len()).map(count).collect())
    }
    fn round(&self, k: usize, near: &Near) -> Round {
        let (trainer, width) = (self.trainer, self.width());
        let (queries, labels) = (Matrix::new(&self.queries, width), Matrix::new(&self.labels, width));
        let limits = Limits { exclude: Some(self.barred.csr()), only: None };
        let hits = search(&trainer.engine, queries, labels, k, limits);
        let met = Met::new(trainer);
        let one = |(i, &q): (usize, &u32)| {
            let score = |l: u32| queries.row(i).iter().zip(labels.row(l as usize)).map(|(a, b)| a * b).sum();
            let positives = trainer.data.positives(Split::Train, q as usize);
            let mut positives: Vec<(u32, f32)> = positives.iter().map(|&l| (l, score(l))).collect();
            positives.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let lowest = positives.last().map_or(0.0, |&(_, score)| score);
            let (ids, scores) = hits.row(i);
            let met = met.of(trainer, q);
            let live = trainer.head.as_ref().and_then(Head::live_depth);
            let negative = |(at, (&label, &score)): (usize, (&u32, &f32))| Negative {
                label,
                score,
                margin: score - lowest,
                met: match live {
                    // Positives that score higher have places among the nearest.
                    Some(depth) => at + positives.iter().take_while(|&&(_, s)| s > score).count() < depth,
                    None => met.as_ref().is_none_or(|met| met.contains(&label)),
                },
                near: near[i].get(&label).copied().unwrap_or(0),
            };
            let negatives = ids.iter().zip(scores).enumerate().map(negative).collect();
            OfQuery { positives, negatives }
        };
        let queries = self.rows.iter().enumerate().map(one).collect();
        let progress = trainer.progress();
        Round { step: progress.step, epoch: progress.epoch, queries }
    }
}

/// Who met whom.
struct Met {
    /// The epoch at hand, as far as it is done, and before it the one that is over: the ids of each batch.
    plans: Vec<samplers::composer::Plan>,
    /// The plan and the batch of each id, in the last epoch in which it was trained on.
    batch_of: HashMap<u32, (usize, usize)>,
}

impl Met {
    /// Clusters may have been made anew since the epoch before: then it is told by the new ones.
    fn new(trainer: &Trainer) -> Met {
        let (seed, progress) = (Stream::new(trainer.config.train.seed, 0), trainer.progress());
        let mut met = Met { plans: vec![], batch_of: HashMap::new() };
        let before = progress.epoch.checked_sub(1).map(|epoch| (epoch, usize::MAX));
        for (epoch, done) in before.into_iter().chain([(progress.epoch, progress.batch as usize)]) {
            let plan = trainer.parts.composer.plan(epoch, seed);
            for b in 0..plan.len().min(done) {
                met.batch_of.extend(plan.batch(b).iter().map(|&id| (id, (met.plans.len(), b))));
            }
            met.plans.push(plan);
        }
        met
    }
    fn mates(&self, id: u32) -> &[u32] {
        self.batch_of.get(&id).map_or(&[], |&(plan, batch)| self.plans[plan].batch(batch))
    }
    /// The labels that stand against a query; none where all do.
    fn of(&self, trainer: &Trainer, query: u32) -> Option<HashSet<u32>> {
        let (data, labels) = (&trainer.data, trainer.data.labels().len());
        let listed = match &trainer.head {
            Some(head) => head.listed(query)?,
            None if trainer.parts.miner.most(2) >= labels => return None,
            None => trainer.parts.miner.lists().map_or(&[][..], |lists| lists.row(query as usize).0),
        };
        let positives = |q: u32| trainer.text_ids.positives(data).row(q as usize);
        let mut met: HashSet<u32> = listed.iter().copied().collect();
        if trainer.config.composer.of == "labels" {
            // A query is drawn for each label: it may stand in the batch of any of its own.
            positives(query).iter().for_each(|&label| met.extend(self.mates(label)));
        } else {
            self.mates(query).iter().for_each(|&mate| met.extend(positives(mate)));
        }
        Some(met)
    }
}
