//! The field's measures of a ranking, exactly, in f64, summed in the order of the queries.
//!
//! ```text
//! r_1 … r_k  the ranking of a query, filtered;  Y  its relevant labels
//! h_j = 1 if r_j ∈ Y, else 0;  d_j = log2(j + 1)
//! q_l        inverse propensity of label l (see `Propensities`); q_(1) ≥ q_(2) ≥ … those of Y, sorted
//! I = Σ_{j ≤ min(k,|Y|)} 1/d_j
//!
//! P@k      mean of  Σ_{j≤k} h_j / k                  (k even where the list is shorter)
//! nDCG@k   mean of  Σ_{j≤k} h_j/d_j / I
//! R@k      mean of  Σ_{j≤k} h_j / |Y|
//! MRR@k    mean of  1/j for the first h_j = 1, j ≤ k
//! PSP@k    Σ_queries Σ_{j≤k} q_{r_j} h_j / k   ÷  Σ_queries Σ_{j ≤ min(k,|Y|)} q_(j) / k
//! PSnDCG@k Σ_queries Σ_{j≤k} q_{r_j} h_j/d_j/I ÷  Σ_queries Σ_{j ≤ min(k,|Y|)} q_(j)/d_j/I
//! C@k      labels hit in some top k ÷ labels relevant to some query
//! ```
//! PSP and PSnDCG (Jain, Prabhu, Varma, "Extreme multi-label loss functions", KDD 2016) are ratios of sums
//! over all queries, not means of ratios, hence at most 1. C@k is coverage as in Schultheis et al., "On
//! missing labels, long-tails and propensities in extreme multi-label classification" (KDD 2022). A query
//! without relevant labels counts as 0 in the means, unless [`Evaluator::skip_empty`] leaves it out.

mod bootstrap;
mod evaluator;
mod frequency;
mod propensity;
mod rank;

use engine::{Error, Result};
use std::fmt;
use std::str::FromStr;

pub use bootstrap::{Interval, paired_bootstrap};
pub use evaluator::{Evaluator, Term};
pub use frequency::{Bin, FrequencyBins};
pub use propensity::Propensities;
pub use rank::{Ties, rank, top_k};

/// What is measured, without the depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// P: precision.
    Precision,
    /// nDCG: normalised discounted cumulative gain, binary relevance.
    Ndcg,
    /// PSP: propensity-scored precision.
    Psp,
    /// PSnDCG: propensity-scored nDCG.
    PsNdcg,
    /// R: recall.
    Recall,
    /// MRR: mean reciprocal rank.
    Mrr,
    /// C: coverage of labels.
    Coverage,
}

/// Every measure with its name, as written before the `@`, and its meaning.
const NAMES: [(Measure, &str, &str); 7] = [
    (Measure::Precision, "P", "precision"),
    (Measure::Ndcg, "nDCG", "discounted cumulative gain"),
    (Measure::Psp, "PSP", "propensity-scored precision"),
    (Measure::PsNdcg, "PSnDCG", "propensity-scored nDCG"),
    (Measure::Recall, "R", "recall"),
    (Measure::Mrr, "MRR", "reciprocal rank"),
    (Measure::Coverage, "C", "coverage of labels"),
];

/// A measure at a depth, written `P@1`, `nDCG@5`, `R@10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric {
    /// What is measured.
    pub measure: Measure,
    /// How many of the first labels count: k ≥ 1.
    pub k: usize,
}

impl Metric {
    /// `measure` at depth `k`.
    ///
    /// # Panics
    /// If `k` is 0.
    pub fn new(measure: Measure, k: usize) -> Metric {
        assert!(k > 0, "a metric needs a depth of at least 1");
        Metric { measure, k }
    }

    /// Reads a list such as `P@1,P@3,nDCG@5`. Spaces around commas are ignored.
    ///
    /// # Errors
    /// `Input` with the known metrics, and a guess at what was meant.
    pub fn list(text: &str) -> Result<Vec<Metric>> {
        text.split(',').map(|part| part.trim().parse()).collect()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|n| n.0 == self.measure).map_or("", |n| n.1);
        write!(f, "{name}@{}", self.k)
    }
}

impl FromStr for Metric {
    type Err = Error;

    /// Reads `P@1` and the like; capitals do not matter.
    fn from_str(text: &str) -> Result<Metric> {
        let (name, depth) = text.split_once('@').unwrap_or((text, ""));
        let Some((measure, name, _)) = NAMES.iter().find(|n| n.1.eq_ignore_ascii_case(name)) else {
            return Err(unknown(text, name, depth));
        };
        match depth.parse() {
            Ok(k) if k > 0 => Ok(Metric::new(*measure, k)),
            _ => {
                let why = format!("the metric `{text}` needs a depth, a whole number of at least 1");
                Err(Error::input(why).help(format!("for example {name}@1 or {name}@5")))
            }
        }
    }
}

fn unknown(text: &str, name: &str, depth: &str) -> Error {
    let known: Vec<String> = NAMES.iter().map(|(_, name, meaning)| format!("{name}@k ({meaning})")).collect();
    let error =
        Error::input(format!("unknown metric `{text}`")).note(format!("known are {}", known.join(", ")));
    let name = name.to_lowercase();
    let close = NAMES.iter().map(|n| (edits(&name, &n.1.to_lowercase()), n)).min_by_key(|(edits, _)| *edits);
    match close {
        // Two edits turn any two letters into any other two: a guess must keep something of what was typed.
        Some((edits, (_, guess, _))) if edits <= 2 && edits < name.chars().count() => {
            let depth = if depth.is_empty() { "1" } else { depth };
            error.help(format!("did you mean {guess}@{depth}?"))
        }
        _ => error.help("for example P@1, nDCG@5 or R@10"),
    }
}

/// How many characters must be put in, taken out or replaced to turn `a` into `b` (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
