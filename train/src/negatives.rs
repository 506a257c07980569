//! The ranked lists that a miner asks for, made by BM25, by a model, or before.
//!
//! ```text
//! bm25     words of the labels' texts                             once: texts do not change
//! model    embeddings of all training queries and all labels     N + L texts encoded, then an exact search
//! tree     the same, and labels cut into leaves                  the same, and a search among leaves
//! file     what `lode mine` wrote, or somebody else              nothing
//! ```
//! Known labels of a query, by any query of its text, labels that are filtered for it, and labels of the text of one of
//! these are never in its list. Where rules may leave labels out, ten times as many are looked at; then the best so
//! many go, and `depth` labels stay. A cross-encoder may judge what was found before rules are asked
//! (`negatives.rescore`); then no more is looked at than `depth`. Where it is that of the run itself, lists that nobody
//! judged serve while it learns, and are made again when it has. A run waits for its lists, so no race decides a bit.

use crate::config::{NegativesConfig, OWN};
use crate::embed::{all_labels, embed, embed_labels};
use crate::guide;
use crate::head::labels::AllLabels;
use crate::judge::Judge;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::text_ids::place;
use crate::trainer::Trainer;
use engine::profile::Way;
use engine::{Error, Kind, Packed, Result, Stream};
use samplers::bm25::Bm25;
use samplers::search::{Hits, Limits, NO_HIT, search};
use samplers::{LabelTree, Lists, Matrix, Ranked};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

impl Trainer {
    /// Gives the miner the lists that it wants before the step at hand.
    ///
    /// # Errors
    /// If the observer wants to stop while texts are embedded, or a model cannot be read; nothing has changed then.
    pub(crate) fn refresh_lists(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if !self.parts.miner.wants_lists(self.progress.step) && !self.wants_judged_lists() {
            return Ok(());
        }
        let engine = self.engine.clone();
        let since = observer.seconds();
        let lists = engine.span("lists", Way::Beside, || self.ranked(observer))?;
        // Lists of those who do not learn are made once.
        self.ranker = None;
        if self.config.negatives.refresh_steps == 0 {
            self.judge = None;
        }
        let kept: Vec<usize> = self.train_rows.iter().map(|&q| lists.row(q as usize).0.len()).collect();
        self.parts.miner.install(lists);
        let (step, seconds) = (self.progress.step, observer.seconds() - since);
        let empty = kept.iter().filter(|&&labels| labels == 0).count();
        let kept = kept.iter().sum::<usize>() as f64 / kept.len() as f64;
        observer.event(&Event::Ranked { step, kept, empty, seconds });
        Ok(())
    }
    fn ranked(&self, observer: &mut dyn Observer) -> Result<Ranked> {
        let config = &self.config.negatives;
        if let (true, Some(cross), Some(found)) =
            (self.wants_judged_lists(), &self.cross, self.parts.miner.lists())
        {
            // The encoder has rested since: it would find the same. What is skipped is not in them any more.
            let lists = Ranked { made_at_step: self.progress.step, ..found.clone() };
            let mut lists = self.rescored(lists, &cross.judge, observer)?;
            lists.retain(|positive, score| config.may_be_negative(positive, score));
            return Ok(lists);
        }
        let mut lists = match (&*config.from, &*config.model, &self.ranker) {
            ("bm25", ..) => self.by_words(config),
            ("file", ..) => self.by_file(config)?,
            (_, "", _) => self.by_model(config, &self.network, observer)?,
            (_, _, Some(ranker)) => self.by_model(config, ranker, observer)?,
            // A run that was stopped before it had any.
            (_, path, None) => {
                self.by_model(config, &guide::named(Path::new(path), &self.data)?, observer)?
            }
        };
        if config.rescore == OWN {
            let own = self.cross.as_ref().filter(|_| self.judges_itself());
            let Some(cross) = own else { return Ok(ruled(lists, config, false)) };
            lists = self.rescored(lists, &cross.judge, observer)?;
        } else if let Some(judge) = &self.judge {
            lists = self.rescored(lists, judge, observer)?;
        } else if !config.rescore.is_empty() {
            // A run that was stopped before it had any.
            lists = self.rescored(lists, &Judge::read(Path::new(&config.rescore))?, observer)?;
        }
        Ok(ruled(lists, config, true))
    }
    /// The lists with the scores of a judge, and their order. Each label that is looked at is read with its query once.
    fn rescored(&self, lists: Ranked, judge: &Judge, observer: &mut dyn Observer) -> Result<Ranked> {
        let labels = self.data.labels();
        let of = self.text_ids.positives(&self.data);
        let Ranked { width, ids, scores, mut positive, made_at_step } = lists;
        let mut hits = Hits { ids, scores, k: width };
        self.engine.trim();
        // Nobody draws for queries that are held out.
        let rows = self.train_rows.iter().map(|&q| q as usize).filter(|&q| !hits.row(q).0.is_empty());
        let rows: Vec<usize> = rows.collect();
        let (mut done, total) = (0, rows.iter().map(|&q| hits.row(q).0.len() + of.row(q).len()).sum());
        for q in rows {
            if observer.stop() {
                let what = format!("stopped after {done} of {total} pairs for the cross-encoder");
                return Err(Error::new(Kind::Interrupted, what));
            }
            let listed = hits.row(q).0;
            let (texts, i) = place(&self.data, q as u32);
            let read: Vec<Cow<'_, str>> =
                listed.iter().chain(of.row(q)).map(|&label| labels.text(label as usize)).collect();
            let scores = judge.scores(&self.engine, &texts.text(i), read.iter().map(|text| &**text))?;
            let (of_labels, of_positives) = scores.split_at(listed.len());
            positive[q] = lowest(of_positives.to_vec());
            done += scores.len();
            hits.rescore(q, of_labels);
            observer.event(&Event::Embedding { what: "pairs", done, total });
        }
        self.engine.trim();
        Ok(Ranked::new(hits, positive, made_at_step))
    }
    /// Row `i`: the labels that must not be negatives of query `rows[i]`.
    pub(crate) fn barred(&self, rows: &[u32]) -> Lists {
        let (data, ids) = (&self.data, &self.text_ids);
        AllLabels::new(data, ids).barred(data, ids, rows)
    }
    fn barred_of_all(&self) -> Lists {
        self.barred(&(0..self.text_ids.queries.len() as u32).collect::<Vec<_>>())
    }
    fn by_words(&self, config: &NegativesConfig) -> Ranked {
        let labels = self.data.labels();
        let index = Bm25::new((0..labels.len()).map(|l| labels.text(l)), config.bm25());
        let (barred, total) = (self.barred_of_all(), self.text_ids.queries.len());
        let queries: Vec<Cow<'_, str>> = (0..total as u32)
            .map(|q| {
                let (texts, i) = place(&self.data, q);
                texts.text(i)
            })
            .collect();
        let queries: Vec<&str> = queries.iter().map(|text| &**text).collect();
        let hits = index.search(&self.engine, &queries, looked_at(config), Some(barred.csr()));
        let of = self.text_ids.positives(&self.data);
        let lowest = index.lowest(&self.engine, &queries, of);
        Ranked::new(hits, lowest, self.progress.step)
    }
    /// # Errors
    /// If the file cannot be read, is of other data, or lacks the scores that a rule or a pick wants.
    fn by_file(&self, config: &NegativesConfig) -> Result<Ranked> {
        let (path, barred) = (Path::new(&config.file), self.barred_of_all());
        // A file may name one query of several with the same text: those without a line have its list.
        let (mut own, mut of_text) = (HashMap::new(), HashMap::new());
        let (mut unscored, mut widest) = (false, 0);
        data::read_negatives(path, &self.data, |row| {
            unscored |= row.scores.is_none() || row.lowest_positive.is_none();
            let scores = row.scores.unwrap_or_else(|| vec![0.0; row.labels.len()]);
            let bars = barred.row(row.query as usize);
            let mut list: Vec<(u32, f32)> = row.labels.into_iter().zip(scores).collect();
            list.retain(|(label, _)| bars.binary_search(label).is_err());
            list.truncate(looked_at(config));
            widest = widest.max(list.len());
            of_text.entry(self.text_ids.queries[row.query as usize]).or_insert(row.query);
            own.insert(row.query, (list, row.lowest_positive.unwrap_or(f32::NEG_INFINITY)));
        })?;
        let by_scores = has_rules(config) || ["window", "bins"].contains(&&*config.pick);
        if unscored && by_scores && config.rescore.is_empty() {
            let e = Error::input(
                "negatives.pick=window or bins and the rules of lists need `scores` and `positive_scores`",
            );
            return Err(e.at(path).help("`lode mine --format lode` writes them"));
        }
        let mut hits = Hits { ids: vec![], scores: vec![], k: widest };
        let (none, mut lowest) = ((vec![], f32::NEG_INFINITY), vec![]);
        for (query, text) in (0u32..).zip(&self.text_ids.queries) {
            let of_twin = || of_text.get(text).and_then(|twin| own.get(twin));
            let (list, positive) = own.get(&query).or_else(of_twin).unwrap_or(&none);
            let end = hits.ids.len() + widest;
            hits.ids.extend(list.iter().map(|&(label, _)| label));
            hits.scores.extend(list.iter().map(|&(_, score)| score));
            hits.ids.resize(end, NO_HIT);
            hits.scores.resize(end, f32::NEG_INFINITY);
            lowest.push(*positive);
        }
        Ok(Ranked::new(hits, lowest, self.progress.step))
    }
    fn by_model(
        &self,
        config: &NegativesConfig,
        network: &Network,
        observer: &mut dyn Observer,
    ) -> Result<Ranked> {
        let (total, labels) = (self.text_ids.queries.len(), self.data.labels());
        let query = |i: usize, packed: &mut Packed| {
            let (texts, at) = place(&self.data, i as u32);
            texts.push_to(at, packed);
        };
        // Its buffers fit no step, which takes larger or smaller ones.
        self.engine.trim();
        let queries = embed(&self.engine, network, total, query, "queries", observer)?;
        let all = all_labels(&self.data);
        let items = embed_labels((&self.engine, network), &self.data, &all, "labels", observer)?;
        let (queries, items) = (Matrix::new(&queries, network.width()), Matrix::new(&items, network.width()));
        let (barred, of) = (self.barred_of_all(), self.text_ids.positives(&self.data));
        let hits = match &*config.from {
            "tree" => {
                let stream = Stream::new(self.config.train.seed, 0).at_step(self.progress.step);
                let tree = LabelTree::new(&self.engine, items, config.leaf, stream);
                let sizes = (config.beam, looked_at(config).min(labels.len()));
                tree.search(&self.engine, (queries, items), (of, barred.csr()), sizes)
            }
            _ => {
                let limits = Limits { exclude: Some(barred.csr()), only: None };
                search(&self.engine, queries, items, looked_at(config), limits)
            }
        };
        self.engine.trim();
        let cosine =
            |q: usize, l: u32| queries.row(q).iter().zip(items.row(l as usize)).map(|(a, b)| a * b).sum();
        let lowest = self.engine.map(total, |q| lowest(of.row(q).iter().map(|&l| cosine(q, l)).collect()));
        Ok(Ranked::new(hits, lowest, self.progress.step))
    }
}

/// The lists after the rules for scores, where these are the scores that rules are for.
fn ruled(mut lists: Ranked, config: &NegativesConfig, by_scores: bool) -> Ranked {
    if by_scores {
        lists.retain(|positive, score| config.may_be_negative(positive, score));
    }
    lists.skip(config.skip);
    lists.shorten(config.depth);
    lists
}

/// Labels of each query that are looked at.
pub(crate) fn looked_at(config: &NegativesConfig) -> usize {
    // What is read by a cross-encoder is dear: no more than is asked for.
    let spare = if has_rules(config) && config.rescore.is_empty() { 10 } else { 1 };
    config.depth * spare + config.skip
}

/// Whether labels may leave their lists for their scores.
fn has_rules(config: &NegativesConfig) -> bool {
    config.absolute_margin >= 0.0 || config.relative_margin >= 0.0 || config.max_score < f64::INFINITY
}

/// −∞ of none.
fn lowest(scores: Vec<f32>) -> f32 {
    scores.into_iter().reduce(f32::min).unwrap_or(f32::NEG_INFINITY)
}
