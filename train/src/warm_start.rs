//! Going on from a run with other rows and labels: what a new run takes from it, and whether it keeps what that knew.
//!
//! ```text
//! encoder   θ ← θ of the run's newest checkpoint                             (`load::source`)
//! w_l       ← w_l of the run, to the bit, where both data sets have label l  (the same id)
//! w_l       ← ẑ_l for a new label, from its text                             (`head/start.rs`)
//!
//! forgetting   P@1 among the labels that both have, before the first step and after the last
//! ```
//! Where a layout has no ids, they are the numbers of rows: labels are then the same if their texts are, too.
//! Optimizers begin anew: their moments are of other gradients. Forgetting is measured on test queries, from which
//! neither run has learned; on the validation queries where there are no others. Truth and ranking are restricted to
//! labels that both have, so that before and after answer one question.

use crate::checkpoint::{self, Chained, Trained};
use crate::config::Config;
use crate::load;
use crate::run_dir::RunDir;
use data::{DataSet, Verify};
use engine::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What a run takes from the one that it goes on from.
pub struct WarmStart {
    run: PathBuf,
    /// Whether both learn from one data set: there are no old and new labels then.
    same_data: bool,
    /// Labels that both data sets have, ascending, and their rows in that of the other run.
    shared: Vec<(u32, u32)>,
    /// How many labels the other run knows.
    known: usize,
    /// The label weights of the other run.
    weights: Option<Chained>,
}

/// How well the labels are found that a run knew from which this one went on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OldLabels {
    /// How many labels both know.
    pub labels: usize,
    /// Queries with one of them.
    pub queries: usize,
    /// P@1 before the first step.
    pub before: f64,
    /// P@1 after the last step.
    pub after: f64,
}

impl WarmStart {
    /// What a run with this configuration takes from its source; none if that is no run, or its data set has gone and
    /// nothing depends on it. `width` is that of an embedding; label weights are read only if `wants_weights`.
    ///
    /// # Errors
    /// If the label weights of the source are wanted and cannot be told apart: its data set has gone or changed.
    pub fn of(
        config: &Config,
        data: &DataSet,
        width: usize,
        wants_weights: bool,
    ) -> Result<Option<WarmStart>> {
        let run = Path::new(&config.model.source);
        if !RunDir::is_run(run) {
            return Ok(None);
        }
        let before = load::run_settings(run)?.1.config()?;
        let checkpoints = RunDir::at(run).checkpoints();
        let has_weights = before.head.is_on() && !checkpoint::list(&checkpoints).is_empty();
        let trained = match has_weights && wants_weights {
            true => Some(Trained::newest(&checkpoints)?),
            false => None,
        };
        let its = match (DataSet::open(&before.data.path, Verify::Header), &trained) {
            (Ok(its), _) => its,
            (Err(_), None) => return Ok(None),
            (Err(e), Some(_)) => return Err(e.note(WHOSE).help(MODEL_ALONE)),
        };
        let weights = match &trained {
            Some(trained) => weights(trained, &its, width)?,
            None => None,
        };
        Ok(Some(WarmStart {
            run: run.to_owned(),
            same_data: its.fingerprint() == data.fingerprint(),
            shared: shared(data, &its),
            known: its.labels().len(),
            weights,
        }))
    }
    /// The bytes that it holds, and takes while weights are handed on: pairs by label and by row, and the new labels.
    pub(crate) fn bytes(&self) -> usize {
        20 * self.shared.len()
    }
    /// The run.
    pub fn run(&self) -> &Path {
        &self.run
    }
    /// How many labels both know.
    pub fn shared(&self) -> usize {
        self.shared.len()
    }
    /// How many labels of the other run are not in this data set.
    pub fn gone(&self) -> usize {
        self.known.saturating_sub(self.shared.len())
    }
    /// Whether label weights go on from those of the run.
    pub fn has_weights(&self) -> bool {
        self.weights.is_some()
    }
    /// The labels that both know, where there are others beside them.
    pub(crate) fn old_labels(&self) -> Option<Vec<u32>> {
        let is_told = !self.same_data && !self.shared.is_empty();
        is_told.then(|| self.shared.iter().map(|&(label, _)| label).collect())
    }
    /// The labels whose weights go on, ascending.
    pub(crate) fn weighted(&self) -> &[(u32, u32)] {
        if self.has_weights() { &self.shared } else { &[] }
    }
    /// Labels whose weights go on, ascending and at most so many at a time, and the weights, row after row. A label
    /// comes again in a later piece where the other run wrote it again; the last ones are right.
    pub(crate) fn weights(&self, most: usize) -> impl Iterator<Item = (Vec<u32>, Vec<f32>)> {
        let mut by_row: Vec<(u32, u32)> = self.shared.iter().map(|&(label, row)| (row, label)).collect();
        by_row.sort_unstable();
        let pieces = self.weights.iter().flat_map(move |weights| {
            let width = weights.shape()[1].max(1);
            weights.pieces(most).map(move |(first, rows)| (first, rows, width))
        });
        pieces.map(move |(first, rows, width)| {
            let end = first + (rows.len() / width) as u32;
            let place = |row: u32| by_row.partition_point(|pair| pair.0 < row);
            let mut found = by_row[place(first)..place(end)].to_vec();
            found.sort_unstable_by_key(|&(_, label)| label);
            let row = |&(row, _): &(u32, u32)| &rows[(row - first) as usize * width..][..width];
            (found.iter().map(|pair| pair.1).collect(), found.iter().flat_map(row).copied().collect())
        })
    }
}

const WHOSE: &str =
    "the label weights of that run are in the order of its labels, which its data set alone knows";
const MODEL_ALONE: &str = "bring it back; or begin from the encoder alone, which RUN/model holds";

/// The label weights of a checkpoint, whose labels are those of `its`.
fn weights(trained: &Trained, its: &DataSet, width: usize) -> Result<Option<Chained>> {
    let Some(weights) = trained.weights()? else { return Ok(None) };
    if trained.data != its.fingerprint() || weights.shape() != [its.labels().len(), width] {
        let what = "the data set is not the one that the run was trained on";
        return Err(Error::input(what).at(its.path()).note(WHOSE).help(MODEL_ALONE));
    }
    Ok(Some(weights))
}

/// The labels of `data`, ascending, that `its` has too, and their rows there.
fn shared(data: &DataSet, its: &DataSet) -> Vec<(u32, u32)> {
    let (labels, others) = (data.labels(), its.labels());
    let rows: HashMap<&str, u32> =
        (0..others.len() as u32).map(|row| (others.uid(row as usize), row)).collect();
    let known = |label: u32| {
        let (uid, title) = (labels.uid(label as usize), labels.title(label as usize));
        let row = *rows.get(uid)?;
        // Where a layout has no ids, the number of a row is one; another row may have it in another data set.
        let is_same = uid != label.to_string() || title == others.title(row as usize);
        is_same.then_some((label, row))
    };
    (0..labels.len() as u32).filter_map(known).collect()
}
