//! Lode trains text encoders on mined hard negatives and predicts labels with them, in one process, from Rust alone.
//!
//! # A classifier in twenty lines
//!
//! Prepare a table, train, measure on the part held out, predict:
//!
//! ```
#![doc = include_str!("../examples/classify.rs")]
//! ```
//!
//! [`train()`] and [`resume()`] take an [`Observer`]: it hears of every step, gives the time, and may ask to stop.
//! [`Settings`] has every value that can be set, and knows where each came from.
//!
//! # The tape alone
//!
//! A linear regression, y = 2·x₀ − 3·x₁ + 1, found by gradient descent:
//!
//! ```
#![doc = include_str!("../examples/linear_regression.rs")]
//! ```
//!
//! # What lies below
//!
//! ```text
//! engine     tensors, threads, kernels, random numbers, mapped files
//! autograd   tape, operations, gradient checker, optimizers, schedules
//! data       readers, tokenizer, data sets, metrics
//! samplers   composers, miners, shapers, clusters, exact search
//! models     encoders, losses, model directories in and out
//! train      the step, the loop, recipes, checkpoints, evaluation
//! ```
//! Each is a crate of its own and stands here under its name. Who wants to learn how it works inside begins at
//! [`autograd`], goes on to [`autograd::tape`], [`samplers`] and [`samplers::composer::cluster`], and ends at
//! [`train::step`], where all of it meets. [`course`] goes the same way in eight chapters with exercises.
#![forbid(unsafe_code)]

pub mod course;

pub use ::{autograd, data, engine, models, samplers, train};

pub use autograd::{Optimizer, Params, Sgd, Tape, Var};
pub use data::metrics::Metric;
pub use data::prepare::prepare;
pub use data::{CsvSource, DataSet, PrepareOptions, Source, Split, Summary, TokenizerChoice, Verify};
pub use engine::{Engine, Error, Kind, Result, Stream, Tensor};
pub use train::predict::{How, Prediction, Predictor};
pub use train::{Evaluation, Event, Observer, Outcome, Settings, Silent};

use std::path::Path;
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::{load, run};

/// Trains on the data set `data` into the new directory `run`. `changes` are of the form `section.name=value`, such as
/// `model.source=bag` (needed) or `train.lr=1e-3`; all else has its default.
///
/// # Errors
/// If a change is unknown or out of range, `run` is not empty, data and model do not fit, a number runs away, or the
/// system refuses.
pub fn train(
    engine: &Engine,
    data: &Path,
    run: &Path,
    changes: &[&str],
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let mut settings = Settings::default();
    let name = data.to_str().ok_or_else(|| Error::input("the name of a data set must be UTF-8").at(data))?;
    settings.flag("data.path", name, "data")?;
    changes.iter().try_for_each(|change| settings.set(change))?;
    train::recipes::apply_defaults(&mut settings)?;
    let (mut trainer, dir) = run::begin(engine, &settings, run)?;
    run::run(&mut trainer, &dir, observer)
}

/// Goes on with a run that was stopped or killed, from its newest whole checkpoint: the bits are those of a run that
/// was never stopped.
///
/// # Errors
/// If there is no run or its data set has gone or changed; else as [`train()`].
pub fn resume(engine: &Engine, run: &Path, observer: &mut dyn Observer) -> Result<Outcome> {
    let (mut trainer, dir) = run::resume(engine, run, observer)?;
    run::run(&mut trainer, &dir, observer)
}

/// Measures a run, or an untrained model directory, on a split of `data`; a classifier ranks together with the labels'
/// texts. `metrics` is a list such as `P@1,R@10`.
///
/// # Errors
/// If a metric is unknown, model or data cannot be read, or the split is empty.
pub fn evaluate(
    engine: &Engine,
    model: &Path,
    (data, split): (&Path, Split),
    metrics: &str,
    observer: &mut dyn Observer,
) -> Result<Vec<(Metric, f64)>> {
    let data = DataSet::open(data, Verify::Header)?;
    let network = load::network(model)?;
    let index = Index::build(engine, &network, &data, false, observer)?;
    let index = index.with_classifier(load::classifier(model, &data)?)?;
    let (score, held_out) =
        (load::score(None, 0, index.has_classifier(), model)?, load::held_out(model, &data)?);
    let options = Options { metrics: Metric::list(metrics)?, score, held_out, ..Options::default() };
    let queries = Queries { split, rows: None };
    let found = evaluate_with(engine, &network, &index, &data, queries, &options, observer)?;
    Ok(found.metrics)
}
