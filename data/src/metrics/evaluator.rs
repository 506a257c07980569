//! Sums the metrics over queries. Each metric is a ratio of two sums: gain ÷ ideal.

use super::{Measure, Metric, Propensities};

/// What one query adds to a metric: the metric is Σ gain ÷ Σ ideal. For means `ideal` is 1 and `gain` is the
/// query's own value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Term {
    /// What the ranking earned.
    pub gain: f64,
    /// What could have been earned, or 1.
    pub ideal: f64,
}

/// Adds up metrics query by query; the sums are taken in the order of the calls.
#[derive(Clone, Debug)]
pub struct Evaluator {
    metrics: Vec<Metric>,
    propensities: Propensities,
    skip_empty: bool,
    /// The sums of each metric.
    sums: Vec<Term>,
    /// The gain of each query, of each metric that is recorded.
    rows: Vec<Vec<f64>>,
    recorded: bool,
    queries: usize,
    /// For each label the best rank (from 0) at which it was found, [`MISSED`] or [`NEVER_RELEVANT`]; where coverage is
    /// measured.
    best_rank: Vec<u32>,
}

const MISSED: u32 = u32::MAX - 1;
const NEVER_RELEVANT: u32 = u32::MAX;

impl Evaluator {
    /// An evaluator that has seen no query. `propensities` has an entry for every label.
    pub fn new(metrics: &[Metric], propensities: Propensities) -> Evaluator {
        let covers = metrics.iter().any(|metric| metric.measure == Measure::Coverage);
        let best_rank = vec![NEVER_RELEVANT; if covers { propensities.labels() } else { 0 }];
        Evaluator {
            metrics: metrics.to_vec(),
            sums: vec![Term::default(); metrics.len()],
            rows: vec![Vec::new(); metrics.len()],
            propensities,
            skip_empty: false,
            recorded: false,
            queries: 0,
            best_rank,
        }
    }

    /// Leaves queries without relevant labels out of the means.
    #[must_use]
    pub fn skip_empty(mut self) -> Evaluator {
        self.skip_empty = true;
        self
    }

    /// Keeps the gain of every query, for [`Evaluator::rows`]: 8 bytes a query and metric.
    #[must_use]
    pub fn recorded(mut self) -> Evaluator {
        self.recorded = true;
        self
    }

    /// The longest ranking that any of the metrics looks at.
    pub fn depth(&self) -> usize {
        self.metrics.iter().map(|m| m.k).max().unwrap_or(0)
    }

    /// Adds one query: its ranking, best first, labels distinct, filtered; and its relevant labels in any
    /// order.
    ///
    /// # Panics
    /// If a relevant label is outside the table of propensities.
    pub fn add(&mut self, ranked: &[u32], relevant: &[u32]) {
        if self.skip_empty && relevant.is_empty() {
            return;
        }
        let ranked = &ranked[..ranked.len().min(self.depth())];
        let query = Query::new(ranked, relevant, &self.propensities);
        for (i, metric) in self.metrics.iter().enumerate() {
            let term = query.term(*metric);
            self.sums[i].gain += term.gain;
            self.sums[i].ideal += term.ideal;
            if self.recorded {
                self.rows[i].push(term.gain);
            }
        }
        if !self.best_rank.is_empty() {
            for &label in relevant {
                let best = &mut self.best_rank[label as usize];
                *best = if *best == NEVER_RELEVANT { MISSED } else { *best };
            }
            for (rank, &label) in ranked.iter().enumerate().filter(|(rank, _)| query.hits[*rank]) {
                let best = &mut self.best_rank[label as usize];
                *best = (*best).min(rank as u32);
            }
        }
        self.queries += 1;
    }

    /// What one query adds to `metric`, without adding it. Coverage has no such term: both parts are 0.
    pub fn row(&self, metric: Metric, ranked: &[u32], relevant: &[u32]) -> Term {
        Query::new(&ranked[..ranked.len().min(metric.k)], relevant, &self.propensities).term(metric)
    }

    /// The gains of the queries added so far, in order, if `metric` is one of ours and
    /// [`Evaluator::recorded`] was asked for. For means they are the queries' values; what skip_empty left
    /// out has none.
    pub fn rows(&self, metric: Metric) -> Option<&[f64]> {
        let i = self.metrics.iter().position(|m| *m == metric)?;
        self.recorded.then(|| &self.rows[i][..])
    }

    /// The number of queries that count.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// The metrics in the order asked for, as fractions. 0 where nothing was to be found.
    pub fn finish(&self) -> Vec<(Metric, f64)> {
        let ratio = |(metric, sum): (&Metric, &Term)| match metric.measure {
            Measure::Coverage => (*metric, self.coverage(metric.k)),
            _ if sum.ideal == 0.0 => (*metric, 0.0),
            _ => (*metric, sum.gain / sum.ideal),
        };
        self.metrics.iter().zip(&self.sums).map(ratio).collect()
    }

    fn coverage(&self, k: usize) -> f64 {
        let relevant = self.best_rank.iter().filter(|&&r| r != NEVER_RELEVANT).count();
        let found = self.best_rank.iter().filter(|&&r| r < MISSED && (r as usize) < k).count();
        if relevant == 0 { 0.0 } else { found as f64 / relevant as f64 }
    }
}

/// One query, prepared for all metrics.
struct Query {
    /// Which places of the ranking hold a relevant label.
    hits: Vec<bool>,
    /// The inverse propensities of the ranking where it hits, else 0.
    weights: Vec<f64>,
    /// The inverse propensities of the relevant labels, largest first.
    best: Vec<f64>,
}

impl Query {
    fn new(ranked: &[u32], relevant: &[u32], propensities: &Propensities) -> Query {
        let mut truth = relevant.to_vec();
        truth.sort_unstable();
        truth.dedup();
        let hits: Vec<bool> = ranked.iter().map(|label| truth.binary_search(label).is_ok()).collect();
        let weigh = |(&label, &hit): (&u32, &bool)| if hit { propensities.inverse(label) } else { 0.0 };
        let weights = ranked.iter().zip(&hits).map(weigh).collect();
        let mut best: Vec<f64> = truth.iter().map(|&label| propensities.inverse(label)).collect();
        best.sort_unstable_by(|a, b| b.total_cmp(a));
        Query { hits, weights, best }
    }

    fn term(&self, metric: Metric) -> Term {
        let Metric { measure, k } = metric;
        let hits = self.hits.iter().take(k).map(|&hit| f64::from(u8::from(hit)));
        let weights = self.weights.iter().take(k).copied();
        let best = self.best.iter().take(k).copied();
        // Without relevant labels every gain is 0, and 0 ÷ 1 keeps it so.
        let perfect = if self.best.is_empty() { 1.0 } else { discounted(best.clone().map(|_| 1.0)) };
        let mean = |gain: f64| Term { gain, ideal: 1.0 };
        match measure {
            Measure::Precision => mean(hits.sum::<f64>() / k as f64),
            Measure::Ndcg => mean(discounted(hits) / perfect),
            Measure::Recall => mean(hits.sum::<f64>() / self.best.len().max(1) as f64),
            Measure::Mrr => mean(self.first_hit(k).map_or(0.0, |rank| 1.0 / (rank + 1) as f64)),
            Measure::Psp => {
                Term { gain: weights.sum::<f64>() / k as f64, ideal: best.sum::<f64>() / k as f64 }
            }
            Measure::PsNdcg => {
                Term { gain: discounted(weights) / perfect, ideal: discounted(best) / perfect }
            }
            Measure::Coverage => Term::default(),
        }
    }

    fn first_hit(&self, k: usize) -> Option<usize> {
        self.hits.iter().take(k).position(|&hit| hit)
    }
}

/// Σ_j gain_j / log2(j + 1), j from 1.
fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.enumerate().map(|(j, gain)| gain / ((j + 2) as f64).log2()).sum()
}
