//! What ranks labels, and the constants in it, fitted on queries that neither encoder nor classifier was trained on.
//!
//! ```text
//! text      cos(x, z_l), and the votes of near titles where they vote                          (`voting`)
//! members   a x·w_l + b cos(x, z_l) + c v_l + e p_l      for labels that a member put forward   (`samplers::fusion`)
//! ```
//! For a fusion a = 1, and b, c and e are chosen from a small grid by nDCG@5 on the validation queries; a tree has a
//! weight only where that gains more than two standard errors. A classifier is too sure of its own training queries, so
//! what its fellows should weigh cannot be learned there (the published code of NGAME does). The queries by which it
//! is done do not vote. The tree of p is fitted on the same queries: while the grid is searched each fifth of them
//! is judged by a tree that grew on the others.

use crate::embed::embed;
use crate::evaluate::relevant;
use crate::index::Index;
use crate::network::Network;
use crate::observer::Observer;
use crate::text_ids::filtered;
use crate::voting::{self, QUERIES_MAX, QUERIES_MIN};
use data::metrics::{Evaluator, Measure, Metric, Propensities};
use data::{DataSet, Split};
use engine::{Engine, Packed, Result};
use samplers::Matrix;
use samplers::fusion::{Candidate, Growth, Tree, Weights, candidates};
use samplers::knn::Voting;
use samplers::search::Limits;
use std::ops::Range;

/// What shall rank labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Score {
    /// The labels' texts, and near titles where they vote.
    #[default]
    Text,
    /// The learned label weights.
    Classifier,
    /// Both, and near titles where they vote.
    Fusion,
}

/// What ranks labels, its constants known.
#[derive(Clone, Debug, PartialEq)]
pub enum Scoring {
    /// The labels' texts, and how near titles vote, where they do.
    Text(Option<Voting>),
    /// The members of a fusion.
    Members(Members),
}

/// Who speaks in a fusion, and what their words weigh.
#[derive(Clone, Debug, PartialEq)]
pub struct Members {
    /// What each weighs.
    pub weights: Weights,
    /// How many near titles vote; 0 for none.
    pub nearest: usize,
    judge: Option<Judge>,
}

/// A tree, and the inverse propensity of each label among the queries that were trained on, which it looks at; behind
/// them that of a label without queries.
#[derive(Clone, Debug, PartialEq)]
struct Judge {
    tree: Tree,
    propensities: Vec<f32>,
}

/// Weights of text, votes and tree that are tried beside the classifier's 1, in this order; the first of equals wins.
const TEXT: [f32; 6] = [0.5, 0.0, 0.25, 1.0, 2.0, 4.0];
const VOTES: [f32; 7] = [0.1, 0.0, 0.05, 0.25, 0.5, 1.0, 2.0];
const TREE: [f32; 5] = [0.0, 0.25, 0.5, 1.0, 2.0];
/// NGAME's depth; and leaves that are not the accident of a few candidates.
const GROWTH: Growth = Growth { depth: 7, leaf: 50 };
/// Parts of the held-out queries, each judged by the tree of the others.
const PARTS: usize = 5;
/// The depth of the metric that decides.
const DEPTH: usize = 5;

impl Default for Scoring {
    fn default() -> Scoring {
        Scoring::Text(None)
    }
}

impl Members {
    fn of(weights: Weights, nearest: usize) -> Members {
        Members { weights, nearest, judge: None }
    }
    /// Notes of each candidate what the tree makes of it, where there is one.
    pub(crate) fn judge<'a>(&self, candidates: impl Iterator<Item = &'a mut Candidate>) {
        if let Some(judge) = &self.judge {
            candidates.for_each(|candidate| judge.judge(candidate));
        }
    }
}

impl Judge {
    /// Grows on the candidates of queries, right where the label is a positive of the query.
    fn grow(heard: &[(&[Candidate], &[u32])], propensities: &[f32]) -> Judge {
        let points = heard.iter().flat_map(|(candidates, _)| *candidates);
        let points: Vec<_> = points.map(|c| c.point(propensities[c.label as usize])).collect();
        let right: Vec<bool> = heard
            .iter()
            .flat_map(|(candidates, positives)| candidates.iter().map(|c| positives.contains(&c.label)))
            .collect();
        Judge { tree: Tree::fit(&points, &right, GROWTH), propensities: propensities.to_vec() }
    }
    fn judge(&self, candidate: &mut Candidate) {
        candidate.share = self.tree.share(&candidate.point(self.propensities[candidate.label as usize]));
    }
}

impl Scoring {
    /// A score whose constants rank the labels of `held_out` best, where so many of the nearest titles vote (0 for
    /// none). Too few queries decide nothing: the first constants of the grids are taken.
    ///
    /// # Errors
    /// As [`embed`].
    ///
    /// # Panics
    /// If the index has no classifier that could rank, or no titles that could vote.
    pub fn fit(
        (score, nearest): (Score, usize),
        (engine, network, index): (&Engine, &Network, &Index),
        data: &DataSet,
        held_out: &[u32],
        observer: &mut dyn Observer,
    ) -> Result<Scoring> {
        Ok(match score {
            Score::Text if nearest == 0 => Scoring::Text(None),
            Score::Text => Scoring::Text(Some(voting::fit(engine, index, data, held_out, nearest))),
            Score::Classifier => Scoring::Members(Members::of(Weights::CLASSIFIER, 0)),
            Score::Fusion => {
                let held_out = &held_out[..held_out.len().min(QUERIES_MAX)];
                let texts = data.queries(Split::Train);
                let push = |i: usize, packed: &mut Packed| texts.push_to(held_out[i] as usize, packed);
                let rows = embed(engine, network, held_out.len(), push, "held-out queries", observer)?;
                let queries = Matrix::new(&rows, network.width());
                Scoring::Members(members(engine, index, data, (held_out, queries), nearest))
            }
        })
    }
}

impl Scoring {
    /// The score of a label of which nothing is known but its text: no query was trained on that has it, so nobody
    /// votes for it, and what a classifier would say is told from the text.
    pub(crate) fn of_text_alone(&self, classifier: f32, text: f32) -> f32 {
        let Scoring::Members(members) = self else { return text };
        let mut alone = Candidate { label: 0, classifier, text, votes: 0.0, share: 0.0 };
        if let Some(judge) = &members.judge {
            alone.label = judge.propensities.len() as u32 - 1;
            judge.judge(&mut alone);
        }
        members.weights.rank(&[alone], 1)[0].1
    }
}

/// What the members put forward for held-out queries, while those do not vote, and the members chosen by it.
fn members(
    engine: &Engine,
    index: &Index,
    data: &DataSet,
    (held_out, queries): (&[u32], Matrix<'_>),
    nearest: usize,
) -> Members {
    if held_out.len() < QUERIES_MIN {
        return Members::of(grid(nearest)[0], nearest);
    }
    let all = 0..data.queries(Split::Train).len() as u32;
    let voters: Vec<u32> = all.filter(|row| held_out.binary_search(row).is_err()).collect();
    let panel = index.panel(data, nearest, None, Some(&voters));
    let filtered = filtered(data, Split::Train, held_out);
    let limits = Limits { exclude: filtered.as_ref().map(samplers::Lists::csr), only: None };
    let found = candidates(engine, queries, panel, DEPTH, limits);
    let positives: Vec<Vec<u32>> = held_out.iter().map(|&row| relevant(data, Split::Train, row)).collect();
    let positives: Vec<&[u32]> = positives.iter().map(Vec::as_slice).collect();
    let frequency = [learned(data, &voters), vec![0]].concat();
    let model = Propensities::new(&frequency, voters.len());
    let propensities = (0..model.labels() as u32).map(|label| model.inverse(label) as f32).collect();
    chosen(engine, found, &positives, propensities, nearest)
}

/// How many of these training queries have each label. A held-out query must not count for its own labels: the tree
/// would see that a label without any query is never right, and one with a query of which nothing was learned always.
fn learned(data: &DataSet, rows: &[u32]) -> Vec<u32> {
    let mut counts = vec![0; data.labels().len()];
    for &row in rows {
        data.positives(Split::Train, row as usize).iter().for_each(|&label| counts[label as usize] += 1);
    }
    counts
}

/// Weights that are tried, the simplest sums first.
fn grid(nearest: usize) -> Vec<Weights> {
    let votes = if nearest > 0 { &VOTES[..] } else { &[0.0] };
    let sums = votes.iter().flat_map(|&votes| TEXT.map(|text| (text, votes)));
    let with = |(share, (text, votes))| Weights { classifier: 1.0, text, votes, share };
    TREE.iter().flat_map(|&share| sums.clone().map(move |sum| (share, sum))).map(with).collect()
}

/// The sum with the best nDCG; or one with a tree, if that is better by more than two standard errors of the
/// difference: a tree has many more constants than a sum, and the best of many weights beside one is often better by
/// one standard error where none is better.
fn chosen(
    engine: &Engine,
    mut found: Vec<Vec<Candidate>>,
    positives: &[&[u32]],
    propensities: Vec<f32>,
    nearest: usize,
) -> Members {
    let judge_without = |part: usize, found: &[Vec<Candidate>]| {
        let heard = found.iter().zip(positives).enumerate().filter(|(i, _)| i % PARTS != part);
        let heard: Vec<_> = heard.map(|(_, (found, positives))| (found.as_slice(), *positives)).collect();
        Judge::grow(&heard, &propensities)
    };
    let judges = engine.map(PARTS, |part| judge_without(part, &found));
    for (i, row) in found.iter_mut().enumerate() {
        row.iter_mut().for_each(|candidate| judges[i % PARTS].judge(candidate));
    }
    let (grid, labels) = (grid(nearest), propensities.len());
    let qualities = engine.map(grid.len(), |i| ndcg(&found, positives, labels, grid[i]));
    let best = |among: Range<usize>| {
        among.reduce(|best, i| if mean(&qualities[i]) > mean(&qualities[best]) { i } else { best })
    };
    let sums = grid.partition_point(|weights| weights.share == 0.0);
    let (sum, with_tree) = (best(0..sums).expect("a sum"), best(sums..grid.len()).expect("a tree"));
    if !is_better(&qualities[with_tree], &qualities[sum]) {
        return Members::of(grid[sum], nearest);
    }
    // None of the parts is left out.
    let judge = Some(judge_without(PARTS, &found));
    Members { judge, ..Members::of(grid[with_tree], nearest) }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Whether the mean difference is more than two of its standard errors.
fn is_better(a: &[f64], b: &[f64]) -> bool {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let (gain, n) = (mean(&differences), differences.len() as f64);
    let squares: Vec<f64> = differences.iter().map(|d| (d - gain).powi(2)).collect();
    gain > 2.0 * (mean(&squares) / (n - 1.0)).sqrt()
}

/// nDCG of each query, in which every one of so many labels counts alike.
fn ndcg(found: &[Vec<Candidate>], positives: &[&[u32]], labels: usize, weights: Weights) -> Vec<f64> {
    let (alike, metric) = (Propensities::new(&vec![0; labels], 0), Metric::new(Measure::Ndcg, DEPTH));
    let mut sums = Evaluator::new(&[metric], alike).recorded();
    for (candidates, positives) in found.iter().zip(positives) {
        let ranked: Vec<u32> = weights.rank(candidates, DEPTH).into_iter().map(|(label, _)| label).collect();
        sums.add(&ranked, positives);
    }
    sums.rows(metric).expect("recorded").to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Stream;

    /// Queries for which the classifier is right about labels of propensity 1, the text about those of 9.
    fn world(queries: u64, seed: u64) -> (Vec<Vec<Candidate>>, Vec<Vec<u32>>) {
        let number = |query: u64, label: u32, tag| {
            Stream::new(seed, tag).uniform(query * 40 + u64::from(label)) as f32
        };
        let candidate = |query| {
            move |label| {
                let (classifier, text) = (number(query, label, 1), number(query, label, 2));
                Candidate { label, classifier, text, votes: 0.0, share: 0.0 }
            }
        };
        let found: Vec<Vec<Candidate>> = (0..queries).map(|q| (0..40).map(candidate(q)).collect()).collect();
        let right = |c: &&Candidate| if c.label < 20 { c.classifier > 0.9 } else { c.text > 0.9 };
        let positives = found.iter().map(|row| row.iter().filter(right).map(|c| c.label).collect()).collect();
        (found, positives)
    }

    fn rows(positives: &[Vec<u32>]) -> Vec<&[u32]> {
        positives.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn a_tree_learns_whom_to_believe_about_which_labels_where_no_sum_can() {
        let propensities: Vec<f32> = (0..40).map(|label| if label < 20 { 1.0 } else { 9.0 }).collect();
        let engine = Engine::new(2);
        let (found, positives) = world(300, 1);
        let members = chosen(&engine, found, &rows(&positives), propensities, 0);
        let (mut fresh, positives) = world(300, 2);
        let of = |found: &[Vec<Candidate>], weights| mean(&ndcg(found, &rows(&positives), 40, weights));
        let of_sums = grid(0).into_iter().filter(|w| w.share == 0.0).map(|w| of(&fresh, w));
        let best_sum = of_sums.fold(0.0, f64::max);
        members.judge(fresh.iter_mut().flatten());
        let with_tree = of(&fresh, members.weights);
        assert!(
            members.weights.share > 0.0 && with_tree > best_sum + 0.1,
            "{members:?}: {with_tree}, {best_sum}"
        );
    }

    #[test]
    fn a_tree_has_no_weight_where_the_classifier_says_all_that_is_known() {
        let engine = Engine::new(2);
        let with_tree = (0..20).filter(|&seed| {
            let (found, _) = world(150, 100 + seed);
            // A label is right with a probability that rises with the classifier's score.
            let luck = Stream::new(seed, 3);
            let right = |(i, c): (usize, &Candidate)| {
                (luck.uniform(i as u64) < f64::from(c.classifier).powi(16)).then_some((i / 40, c.label))
            };
            let mut positives = vec![vec![]; found.len()];
            let pairs = found.iter().flatten().enumerate().filter_map(right);
            pairs.for_each(|(query, label)| positives[query].push(label));
            chosen(&engine, found, &rows(&positives), vec![1.0; 40], 0).weights.share > 0.0
        });
        assert_eq!(with_tree.count(), 0);
    }

    #[test]
    fn a_held_out_query_does_not_count_for_its_own_labels() {
        let (_dir, data) = crate::fixture::csv("red shoe,shoes\nblue shoe,shoes\nred boot,boots\n");
        let mut counts = learned(&data, &[0, 1]);
        counts.sort_unstable();
        assert_eq!(counts, [0, 2], "nobody learned of boots");
        counts = learned(&data, &[0, 1, 2]);
        counts.sort_unstable();
        assert_eq!(counts, [1, 2]);
    }
}
