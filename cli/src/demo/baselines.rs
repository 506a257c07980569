//! What can be had without learning: TF-IDF to the label texts, and the votes of near training titles on top.

use data::metrics::{Evaluator, Metric, Propensities, top_k};
use data::{DataSet, Split};
use engine::Engine;
use samplers::Csr;
use samplers::knn::Voting;
use samplers::tfidf::Baselines;
use std::time::Instant;

/// Metrics, and the seconds that they took.
type Measured = (Vec<(Metric, f64)>, f64);

/// The two baselines on the test titles, by name: metrics and the seconds that they took.
pub(super) fn measure(engine: &Engine, data: &DataSet, metrics: &[Metric]) -> [(&'static str, Measured); 2] {
    let (train, labels) = (data.queries(Split::Train), data.labels());
    let titles: Vec<&str> = (0..train.len()).map(|i| train.title(i)).collect();
    let names: Vec<&str> = (0..labels.len()).map(|i| labels.title(i)).collect();
    let (starts, items) = data.positive_rows(Split::Train);
    let fitted = Baselines::fit(&titles, &names, Csr { starts, items });
    let by_label = |title: &str| fitted.label_cosines(title);
    let with_votes = |title: &str| fitted.with_neighbours(title, Voting::TFIDF);
    [
        ("TF-IDF to label text", ranked(engine, data, metrics, &by_label)),
        ("TF-IDF kNN + label text", ranked(engine, data, metrics, &with_votes)),
    ]
}

fn ranked(
    engine: &Engine,
    data: &DataSet,
    metrics: &[Metric],
    scores: &(dyn Fn(&str) -> Vec<f32> + Sync),
) -> (Vec<(Metric, f64)>, f64) {
    let since = Instant::now();
    let test = data.queries(Split::Test);
    let depth = metrics.iter().map(|m| m.k).max().unwrap_or(1);
    let best = |i: usize| {
        let scored: Vec<(u32, f32)> = (0..).zip(scores(test.title(i))).collect();
        top_k(&scored, depth)
    };
    let rankings = engine.map(test.len(), best);
    let propensities = Propensities::new(&data.label_frequency(), data.queries(Split::Train).len());
    let mut sums = Evaluator::new(metrics, propensities);
    for (i, ranking) in rankings.iter().enumerate() {
        sums.add(ranking, data.positives(Split::Test, i));
    }
    (sums.finish(), since.elapsed().as_secs_f64())
}
