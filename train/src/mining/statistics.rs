//! What came of a mining.

use super::Mined;
use super::subjects::Subjects;
use samplers::mining::{Reason, Rules};

/// What came of a mining: counts, and sums of scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Query texts that were mined for.
    pub queries: usize,
    /// Queries that have the text of an earlier one.
    pub queries_repeated: usize,
    /// Query texts without a positive, which are left out.
    pub queries_without: usize,
    /// Distinct texts in the corpus.
    pub corpus: usize,
    /// Labels of each query that are considered after the rules.
    pub range_max: usize,
    /// Why candidates were left out, and how many, each once; for rules that were asked for.
    pub skipped: Vec<(Reason, u64)>,
    /// Candidates to choose from, over all queries.
    pub survivors: u64,
    /// Positives, over all queries.
    pub positives: u64,
    /// Negatives that were kept, over all queries.
    pub negatives: u64,
    /// Queries with fewer negatives than wanted, those with none among them.
    pub fewer: usize,
    /// Queries without a negative.
    pub none: usize,
    /// Suspected false negatives: kept, and above the lowest positive of their query.
    pub suspects: u64,
    /// Queries with a suspect.
    pub suspected: usize,
    sums: [f64; 2],
    wanted: usize,
}

impl Statistics {
    pub(super) fn of(subjects: &Subjects, rules: &Rules, range_max: usize) -> Statistics {
        let is_on = |reason: &Reason| match reason {
            Reason::Positive => !rules.include_positives,
            Reason::AbsoluteMargin => rules.absolute_margin.is_some(),
            Reason::RelativeMargin => rules.relative_margin.is_some(),
            Reason::MaxScore => rules.max_score.is_some(),
            Reason::MinScore => rules.min_score.is_some(),
            Reason::RangeMin => rules.range_min > 0,
        };
        Statistics {
            queries_repeated: subjects.queries_repeated,
            queries_without: subjects.queries_without,
            corpus: subjects.corpus.len(),
            range_max,
            skipped: Reason::ALL.into_iter().filter(is_on).map(|reason| (reason, 0)).collect(),
            wanted: rules.num_negatives,
            ..Statistics::default()
        }
    }
    /// What was left out for a block of queries, in the order of [`Reason::ALL`].
    pub(super) fn skipped(&mut self, counts: &[u64]) {
        for (reason, sum) in &mut self.skipped {
            *sum += counts[*reason as usize];
        }
    }
    pub(super) fn add(&mut self, mined: &Mined, survivors: u64) {
        let is_positive = |label: u32| mined.positives.binary_search_by_key(&label, |p| p.0).is_ok();
        let lowest = mined.positives.iter().map(|p| p.1).fold(f32::INFINITY, f32::min);
        let negatives = || mined.negatives.iter().filter(|label| !is_positive(label.0));
        let suspects = negatives().filter(|label| label.1 > lowest).count();
        self.queries += 1;
        self.survivors += survivors;
        self.positives += mined.positives.len() as u64;
        self.negatives += negatives().count() as u64;
        self.fewer += usize::from(mined.negatives.len() < self.wanted);
        self.none += usize::from(mined.negatives.is_empty());
        self.suspects += suspects as u64;
        self.suspected += usize::from(suspects > 0);
        self.sums[0] += mined.positives.iter().map(|p| f64::from(p.1)).sum::<f64>();
        self.sums[1] += negatives().map(|n| f64::from(n.1)).sum::<f64>();
    }
    /// The mean score of all positives.
    pub fn positive_mean(&self) -> f64 {
        self.sums[0] / self.positives.max(1) as f64
    }
    /// The mean score of all negatives that were kept; 0 of none.
    pub fn negative_mean(&self) -> f64 {
        self.sums[1] / self.negatives.max(1) as f64
    }
}
