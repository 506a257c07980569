//! What a run measures of itself: on the queries that it holds out, and on labels that the run before it knew.

use crate::evaluate::{self, Evaluation, LabelSet, OfBin, Options, Queries};
use crate::head::Head;
use crate::index::Index;
use crate::observer::Observer;
use crate::trainer::Trainer;
use crate::warm_start::WarmStart;
use data::Split;
use data::metrics::Metric;
use engine::Result;
use engine::profile::Way;
use serde_json::{Map, Value, json};

/// What is measured on the queries held out of training; the first is shown.
const VALIDATION: &str = "P@1,P@3,P@5,nDCG@5,R@10";

/// Measures what learns on the queries held out of training.
pub(crate) fn measure_validation(trainer: &Trainer, observer: &mut dyn Observer) -> Result<Evaluation> {
    if trainer.config().cross.alone() {
        return trainer.measure_cross(&trainer.validation_rows, Metric::list(VALIDATION)?, observer);
    }
    let queries = Queries { split: Split::Train, rows: Some(&trainer.validation_rows) };
    measure(trainer, queries, Metric::list(VALIDATION)?, LabelSet::All, observer)
}

/// Of a run that went on from another: how many labels that one knew, how many queries have one of them, and P@1 among
/// them; none if there is no such query.
pub(crate) fn measure_old_labels(
    trainer: &Trainer,
    observer: &mut dyn Observer,
) -> Result<Option<(usize, usize, f64)>> {
    let Some(labels) = trainer.warm.as_ref().and_then(WarmStart::old_labels) else { return Ok(None) };
    let known = labels.len();
    let queries = match trainer.data().queries(Split::Test).is_empty() {
        false => Queries { split: Split::Test, rows: None },
        true if trainer.validation_rows.is_empty() => return Ok(None),
        true => Queries { split: Split::Train, rows: Some(&trainer.validation_rows) },
    };
    let found = measure(trainer, queries, Metric::list("P@1")?, LabelSet::These(labels), observer)?;
    Ok((!found.hits.is_empty()).then(|| (known, found.hits.len(), found.metrics[0].1)))
}

/// Measures the model: by its classifier, where it learns one. Their fusion is not measured here, since its weights are
/// fitted on the validation queries.
pub(crate) fn measure(
    trainer: &Trainer,
    queries: Queries<'_>,
    metrics: Vec<Metric>,
    labels: LabelSet,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    let (engine, network, data) = (&trainer.engine, &trainer.network, trainer.data());
    let options = Options { metrics, labels, ..Options::default() };
    // Buffers of a step and of an embedding are of different sizes: each gives back what it held.
    engine.trim();
    let found = engine.span("validation", Way::Beside, || {
        let index = match trainer.head.as_ref().and_then(Head::weights) {
            Some(weights) => Index::of_weights(weights),
            None => Index::build(engine, network, data, false, observer)?,
        };
        evaluate::evaluate_with(engine, network, &index, data, queries, &options, observer)
    })?;
    engine.trim();
    Ok(found)
}

/// Metrics as the log has them.
pub(crate) fn by_name(measured: &[(Metric, f64)]) -> Map<String, Value> {
    measured.iter().map(|(metric, value)| (metric.to_string(), json!(value))).collect()
}

/// Metrics by the frequency of labels, and how many queries have one of them.
pub(crate) fn by_frequency(measured: &Evaluation) -> Map<String, Value> {
    let one = |(bin, metrics, queries): &OfBin| {
        (bin.name().to_owned(), json!({"queries": queries, "metrics": by_name(metrics)}))
    };
    measured.by_frequency.iter().map(one).collect()
}
