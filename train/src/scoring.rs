//! What ranks labels, and the constants in it, fitted on queries that neither encoder nor classifier was trained on.
//!
//! ```text
//! text      cos(x, z_l), and the votes of near titles where they vote                (`voting`)
//! members   a x·w_l + b cos(x, z_l) + c v_l      for labels that a member put forward (`samplers::fusion`)
//! ```
//! For a fusion a = 1, and b and c are chosen from a small grid by nDCG@5 on the validation queries. A classifier is
//! too sure of its own training queries, so what its fellows should weigh cannot be learned there (the published code
//! of NGAME does). Held-out queries do not vote while this is done.

use crate::embed::embed;
use crate::index::Index;
use crate::network::Network;
use crate::observer::Observer;
use crate::voting::{self, QUERIES_MAX, QUERIES_MIN};
use data::metrics::{Evaluator, Measure, Metric, Propensities};
use data::{DataSet, Split};
use engine::{Engine, Packed, Result};
use samplers::Matrix;
use samplers::fusion::{Candidate, Weights, candidates};
use samplers::knn::Voting;
use samplers::search::Limits;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scoring {
    /// The labels' texts, and how near titles vote, where they do.
    Text(Option<Voting>),
    /// The members of a fusion, and how many near titles vote.
    Members(Weights, usize),
}

impl Default for Scoring {
    fn default() -> Scoring {
        Scoring::Text(None)
    }
}

/// Weights of text and votes that are tried beside the classifier's 1, in this order; the first of equals wins.
const TEXT: [f32; 6] = [0.5, 0.0, 0.25, 1.0, 2.0, 4.0];
const VOTES: [f32; 7] = [0.1, 0.0, 0.05, 0.25, 0.5, 1.0, 2.0];
/// The depth of the metric that decides.
const DEPTH: usize = 5;

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
            Score::Classifier => Scoring::Members(Weights::CLASSIFIER, 0),
            Score::Fusion => {
                let held_out = &held_out[..held_out.len().min(QUERIES_MAX)];
                let texts = data.queries(Split::Train);
                let push = |i: usize, packed: &mut Packed| texts.push_to(held_out[i] as usize, packed);
                let rows = embed(engine, network, held_out.len(), push, "held-out queries", observer)?;
                let queries = Matrix::new(&rows, network.width());
                Scoring::Members(weights(engine, index, data, (held_out, queries), nearest), nearest)
            }
        })
    }
}

/// The point of the grid with the best nDCG.
fn weights(
    engine: &Engine,
    index: &Index,
    data: &DataSet,
    (held_out, queries): (&[u32], Matrix<'_>),
    nearest: usize,
) -> Weights {
    let votes = if nearest > 0 { &VOTES[..] } else { &[0.0] };
    let grid = votes.iter().flat_map(|&votes| TEXT.map(|text| Weights { classifier: 1.0, text, votes }));
    if held_out.len() < QUERIES_MIN {
        return grid.take(1).next().expect("the grid has a point");
    }
    let all = 0..data.queries(Split::Train).len() as u32;
    let voters: Vec<u32> = all.filter(|row| held_out.binary_search(row).is_err()).collect();
    let panel = index.panel(data, nearest, None, Some(&voters));
    let found = candidates(engine, queries, panel, DEPTH, Limits::default());
    let frequency = data.label_frequency();
    let mut best = (f64::NEG_INFINITY, Weights::SUM);
    for weights in grid {
        let quality = ndcg(data, &frequency, held_out, &found, weights);
        if quality > best.0 {
            best = (quality, weights);
        }
    }
    best.1
}

fn ndcg(data: &DataSet, frequency: &[u32], rows: &[u32], found: &[Vec<Candidate>], weights: Weights) -> f64 {
    let mut sums = Evaluator::new(&[Metric::new(Measure::Ndcg, DEPTH)], Propensities::new(frequency, 1));
    for (candidates, &row) in found.iter().zip(rows) {
        let ranked: Vec<u32> = weights.rank(candidates, DEPTH).into_iter().map(|(label, _)| label).collect();
        sums.add(&ranked, data.positives(Split::Train, row as usize));
    }
    sums.finish()[0].1
}
