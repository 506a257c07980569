//! The page of a race: one file that needs no network and runs no script.

use super::{METRICS, cells, is_truth_told, took};
use crate::html;
use crate::quantity::count;
use crate::svg::{Frame, Interval, Series, escaped, intervals, lines};
use data::{DataSet, Split};
use std::path::Path;
use train::race::{Mark, Outcome, Standing};

/// The page.
pub(super) fn html(outcome: &Outcome, data: &DataSet, out: &Path) -> String {
    let title = format!("{} strategies on {}", outcome.standings.len(), name(data.path()));
    let queries = count(data.queries(Split::Test).len() as u64);
    let first = escaped(&outcome.standings[0].name);
    let (budget, seeds) = (count(outcome.forwards), outcome.standings[0].finals.len());
    let longest = outcome.standings.iter().map(|s| s.mean(|heat| heat.seconds)).fold(0.0, f64::max);
    let frame = |x| Frame { axes: (x, "validation nDCG@5, %"), size: (940.0, 420.0), names: true };
    let forwards = lines(&curves(outcome, |mark| mark.forwards as f64), frame("texts encoded"));
    let seconds = lines(&curves(outcome, |mark| mark.seconds), frame("seconds of training"));
    let processor =
        lines(&curves(outcome, |mark| mark.processor_seconds), frame("processor seconds of training"));
    let differences = intervals(
        &versus(outcome),
        &format!("test nDCG@5 over {}, points", outcome.standings[0].name),
        940.0,
    );
    let body = format!(
        "<p>Every run had the same first weights, about {budget} texts to encode (those for \
         lists, clusters and guides among them) and a choice of the same rates and temperatures, made on validation \
         queries of a seed that is not shown here. Measured once on {queries} test queries, {seeds} seeds each; the \
         longest took {}.</p>\
         <h2>Against {first}</h2><p class=\"note\">Differences paired by seed: each seed a small ring, the mean a \
         dot, its 95 % interval by Student's t a bar. Grey: the interval holds 0, so nothing is shown.</p>\
         {differences}\
         <h2>All figures</h2><div class=\"wide\">{}</div><p class=\"note\">Means over seeds, per cent; ± is the \
         standard deviation over seeds; a star where the interval of the difference leaves 0 out. Mined: the share of \
         texts that was encoded outside of training steps. Negatives: what the loss saw of a row, in the mean.{told}\
         </p>\
         <h2>By texts encoded</h2><p class=\"note\">Validation queries, means over seeds. Point at a line to see it \
         alone.</p>{forwards}<h2>By time</h2>{seconds}\
         <h2>By processor time</h2><p class=\"note\">What others did on the machine does not count.</p>{processor}\
         <p class=\"note\">Every heat stands in {}.</p>",
        took(longest),
        html::table(&cells(outcome)),
        escaped(&name(&out.join("race.jsonl"))),
        told = if is_truth_told(outcome) { " False: the share of them that answer their query." } else { "" },
    );
    html::page(&title, &body)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The means over seeds at each mark.
fn curves(outcome: &Outcome, x: impl Fn(&Mark) -> f64) -> Vec<Series> {
    let series = |standing: &Standing| {
        let marks = standing.finals.iter().map(|heat| heat.curve.len()).min().unwrap_or(0);
        let mean = |of: &dyn Fn(&Mark) -> f64, m: usize| standing.mean(|heat| of(&heat.curve[m]));
        let y = |mark: &Mark| 100.0 * mark.validation.get(METRICS[0]).copied().unwrap_or(f64::NAN);
        let points = (0..marks).map(|m| (mean(&x, m), mean(&y, m))).collect();
        Series { name: standing.name.clone(), points }
    };
    outcome.standings.iter().map(series).collect()
}

/// Differences to the first, in points.
fn versus(outcome: &Outcome) -> Vec<Interval> {
    let first = &outcome.standings[0];
    let interval = |standing: &Standing| {
        let found = standing.versus(first, METRICS[0]);
        let pairs = standing.test(METRICS[0]).into_iter().zip(first.test(METRICS[0]));
        let values = pairs.map(|(a, b)| 100.0 * (a - b)).collect();
        Interval { name: standing.name.clone(), values, middle: 100.0 * found.mean, half: 100.0 * found.half }
    };
    let mut rows: Vec<Interval> = outcome.standings[1..].iter().map(interval).collect();
    rows.sort_by(|a, b| b.middle.total_cmp(&a.middle));
    rows
}
