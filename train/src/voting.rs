//! How much the votes of near training titles should count, fitted on queries that the model was not trained on.
//!
//! ```text
//! f_l = cos(x, z_l) + weight · Σ_{t near x, l ∈ Y_t} max(cos(x, t), 0)^power
//! ```
//! Training moves titles with a label together, so the cosines of near titles grow and a plain sum of votes drowns the
//! score of the label's own text. Both constants are chosen from a small grid by nDCG@5 on the validation queries of
//! the run, which were held out of training, and do not vote while this is done. The first
//! point of the grid is what an untrained model gets.

use crate::evaluate::relevant;
use crate::index::Index;
use crate::text_ids::{csr, filtered};
use data::metrics::{Evaluator, Measure, Metric, Propensities};
use data::{DataSet, Split};
use engine::Engine;
use samplers::Matrix;
use samplers::knn::{Titles, Voting, search_with_votes};
use samplers::search::Limits;

/// Powers and weights that are tried, in this order; the first of equals wins.
const POWERS: [i32; 2] = [4, 8];
const WEIGHTS: [f32; 5] = [1.0, 0.5, 0.25, 0.1, 0.05];
/// Fewer queries than this choose nothing: the standard error would be larger than what is at stake.
pub(crate) const QUERIES_MIN: usize = 100;
/// More than this decide no better.
pub(crate) const QUERIES_MAX: usize = 2000;

/// The constants that rank the labels of `held_out` best; those of an untrained model where there are too few of them.
///
/// # Panics
/// If the index holds no titles.
pub fn fit(engine: &Engine, index: &Index, data: &DataSet, held_out: &[u32], nearest: usize) -> Voting {
    let start = Voting { nearest, ..Voting::EMBEDDINGS };
    if held_out.len() < QUERIES_MIN {
        return start;
    }
    let voters: Vec<u32> = {
        let all = 0..data.queries(Split::Train).len() as u32;
        all.filter(|row| held_out.binary_search(row).is_err()).collect()
    };
    let embeddings = index.titles();
    let held_out = &held_out[..held_out.len().min(QUERIES_MAX)];
    let rows: Vec<f32> = held_out.iter().flat_map(|&row| embeddings.row(row as usize).into_owned()).collect();
    let queries = Matrix::new(&rows, embeddings.width());
    let labels = csr(data.positive_rows(Split::Train));
    let titles = Titles { embeddings, labels, exclude: None, only: Some(&voters) };
    let filtered = filtered(data, Split::Train, held_out);
    let limits = Limits { exclude: filtered.as_ref().map(samplers::Lists::csr), only: None };
    let mut best = (f64::NEG_INFINITY, start);
    for power in POWERS {
        for weight in WEIGHTS {
            let voting = Voting { nearest, power, weight };
            let hits = search_with_votes(engine, queries, index.labels(), titles, voting, 5, limits);
            let mut sums = Evaluator::new(
                &[Metric::new(Measure::Ndcg, 5)],
                Propensities::new(&data.label_frequency(), 1),
            );
            for (i, &row) in held_out.iter().enumerate() {
                sums.add(hits.row(i).0, &relevant(data, Split::Train, row));
            }
            let found = sums.finish()[0].1;
            if found > best.0 {
                best = (found, voting);
            }
        }
    }
    best.1
}
