//! A run as its folder tells of it.

use crate::processes;
use data::{DataSet, Split, Verify};
use engine::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use train::{Settings, load};

/// Metrics by name, in the order in which they are shown.
pub(super) type Metrics = Vec<(String, f64)>;

/// A run.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) settings: Settings,
    /// Lines of steps.
    pub(super) steps: Vec<Step>,
    /// Measurements on validation queries, the final one among them.
    pub(super) measured: Vec<Measured>,
    /// Clusters, as they were made: before which step, how many, sizes (least, median, most), seconds.
    pub(super) clusters: Vec<(u64, u64, [u64; 3], f64)>,
    /// Ranked lists, as they were made: before which step, labels of a query in the mean, queries without one, seconds.
    pub(super) lists: Vec<(u64, f64, u64, f64)>,
    pub(super) finished: bool,
    /// Steps that were passed over.
    pub(super) skipped: Option<u64>,
    /// Processes, in order: what they said at their begin, and at their end where they had one.
    pub(super) processes: Vec<(Value, Option<Value>)>,
    /// Its data set, where it is still there.
    pub(super) data: Option<Data>,
    /// What could not be read.
    pub(super) warnings: Vec<String>,
}

/// A line of a step.
pub(super) struct Step {
    pub(super) step: u64,
    /// Seconds of training, those before a resume included.
    pub(super) seconds: f64,
    line: Value,
}

impl Step {
    /// A number of the line, where it has one.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.line[key].as_f64()
    }
}

/// A measurement.
pub(super) struct Measured {
    pub(super) step: u64,
    pub(super) seconds: f64,
    pub(super) queries: u64,
    pub(super) metrics: Metrics,
    /// Of labels of each frequency: name, queries, metrics.
    pub(super) by_frequency: Vec<(String, u64, Metrics)>,
}

impl Measured {
    /// A metric by its name.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(own, _)| own == name).map(|&(_, value)| value)
    }
}

/// What a data set holds.
pub(super) struct Data {
    pub(super) title: String,
    pub(super) fingerprint: u64,
    pub(super) queries: usize,
    pub(super) labels: usize,
}

impl Run {
    /// Reads what is there; a run under way as well.
    ///
    /// # Errors
    /// If it is no run.
    pub(super) fn read(dir: &Path) -> Result<Run> {
        let (files, settings) = load::run_settings(dir)?;
        let mut run = Run {
            name: dir.display().to_string(),
            dir: dir.to_owned(),
            data: None,
            settings,
            steps: vec![],
            measured: vec![],
            clusters: vec![],
            lists: vec![],
            finished: false,
            skipped: None,
            processes: vec![],
            warnings: vec![],
        };
        match DataSet::open(&run.settings.config()?.data.path, Verify::Header) {
            Ok(data) => {
                run.data = Some(Data {
                    title: data.source().to_owned(),
                    fingerprint: data.fingerprint(),
                    queries: data.queries(Split::Train).len(),
                    labels: data.labels().len(),
                });
            }
            Err(e) => run.warnings.push(format!("nothing is said of its data set: {e}")),
        }
        run.hear_log(&files.log());
        run.hear_processes(dir);
        Ok(run)
    }
    /// Seconds of training in all.
    pub(super) fn seconds(&self) -> f64 {
        let ends = [self.steps.last().map(|s| s.seconds), self.measured.last().map(|m| m.seconds)];
        ends.into_iter().flatten().fold(0.0, f64::max)
    }
    /// The number that the last process gave for `key` at its begin.
    pub(super) fn begun(&self, key: &str) -> Option<f64> {
        self.processes.last()?.0[key].as_f64()
    }
    /// The largest number that a process gave for `key` at its end.
    pub(super) fn ended(&self, key: &str) -> Option<f64> {
        self.processes.iter().filter_map(|(_, end)| end.as_ref()?[key].as_f64()).reduce(f64::max)
    }
    fn hear_log(&mut self, path: &Path) {
        // Seconds begin anew in each process.
        let (mut before, mut last) = (0.0, 0.0);
        for line in lines(path, &mut self.warnings) {
            let step = line["step"].as_u64().unwrap_or(0);
            if let Some(told) = line["clusters"].as_object() {
                let number = |key: &str| told.get(key).and_then(Value::as_u64).unwrap_or(0);
                let sizes = ["least", "median", "most"].map(number);
                self.clusters.push((step, number("count"), sizes, line["took_s"].as_f64().unwrap_or(0.0)));
                continue;
            }
            if let Some(told) = line["lists"].as_object() {
                let number = |key: &str| told.get(key).and_then(Value::as_f64).unwrap_or(0.0);
                let took = line["took_s"].as_f64().unwrap_or(0.0);
                self.lists.push((step, number("labels"), number("empty") as u64, took));
                continue;
            }
            let told = line["seconds"].as_f64().unwrap_or(0.0);
            if told < last {
                before += last;
            }
            last = told;
            let seconds = before + told;
            self.finished |= line["final"] == true;
            self.skipped = line["skipped"].as_u64().or(self.skipped);
            let metrics = metrics_of(&line["metrics"]);
            if !metrics.is_empty() {
                let by_frequency = ["head", "torso", "tail"].map(|name| {
                    let told = &line["by_frequency"][name];
                    (name.to_owned(), told["queries"].as_u64().unwrap_or(0), metrics_of(&told["metrics"]))
                });
                let by_frequency = by_frequency.into_iter().filter(|(_, _, m)| !m.is_empty()).collect();
                let queries = line["queries"].as_u64().unwrap_or(0);
                self.measured.push(Measured { step, seconds, queries, metrics, by_frequency });
            } else if line["loss"].is_number() || line["rate"].is_number() {
                self.steps.push(Step { step, seconds, line });
            }
        }
    }
    fn hear_processes(&mut self, dir: &Path) {
        let path = processes::path(dir);
        if !path.exists() {
            return;
        }
        for line in lines(&path, &mut self.warnings) {
            match (line["begins_at_step"].is_u64(), self.processes.last_mut()) {
                (true, _) => self.processes.push((line, None)),
                (false, Some((_, end))) => *end = Some(line),
                (false, None) => {}
            }
        }
    }
}

/// Metrics in the order of their names as people list them: P@1, P@3, P@5, nDCG@5, R@10.
fn metrics_of(object: &Value) -> Metrics {
    let all = object.as_object().into_iter().flatten();
    let mut all: Metrics = all.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect();
    let place = |name: &str| ["P@", "nDCG@", "R@"].iter().position(|start| name.starts_with(start));
    all.sort_by_key(|(name, _)| (place(name).unwrap_or(usize::MAX), name.len(), name.clone()));
    all
}

/// The objects of a file of JSON lines; the last line may be in the making.
fn lines(path: &Path, warnings: &mut Vec<String>) -> Vec<Value> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            warnings.push(Error::io(path, e).to_string());
            return vec![];
        }
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let read: Vec<Option<Value>> = whole.map(|line| serde_json::from_str(line).ok()).collect();
    let broken = read.iter().filter(|line| line.is_none()).count();
    if broken > 0 {
        warnings.push(format!("{broken} lines of {} are no JSON and were passed over", path.display()));
    }
    read.into_iter().flatten().collect()
}
