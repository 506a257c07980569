//! The page of a race: one file that needs no network and runs no script.

use super::{METRICS, cells, is_truth_told, took};
use crate::quantity::count;
use crate::svg::{Interval, Series, escaped, intervals, lines};
use data::{DataSet, Split};
use std::path::Path;
use train::race::{Mark, Outcome, Standing};

const STYLE: &str = "\
body{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff}
body{max-width:1000px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
div.wide{overflow-x:auto}th,td{padding:3px 8px;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th:first-child,td:first-child{text-align:left}p.note{color:#555;font-size:13px}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text:not([fill]){fill:currentColor}
.grid{stroke:#e4e4e4}.zero{stroke:#555}.lead{stroke:#bbb;stroke-width:.7}.x{text-anchor:middle}.y{text-anchor:end}
.line path{fill:none;stroke-width:1.8}svg .line .lead{stroke:#bbb;stroke-width:.7}.seed{fill:none;stroke:#777}
svg:has(.line:hover) .line:not(:hover){opacity:.15}
@media(prefers-color-scheme:dark){body{background:#151515;color:#ddd}th,td{border-color:#333}.grid{stroke:#333}
p.note{color:#aaa}.zero{stroke:#aaa}svg text[fill]{fill:currentColor}}";

/// The page.
pub(super) fn html(outcome: &Outcome, data: &DataSet, out: &Path) -> String {
    let title = format!("{} strategies on {}", outcome.standings.len(), name(data.path()));
    let queries = count(data.queries(Split::Test).len() as u64);
    let first = escaped(&outcome.standings[0].name);
    let (budget, seeds) = (count(outcome.forwards), outcome.standings[0].finals.len());
    let longest = outcome.standings.iter().map(|s| s.mean(|heat| heat.seconds)).fold(0.0, f64::max);
    let size = (940.0, 420.0);
    let forwards =
        lines(&curves(outcome, |mark| mark.forwards as f64), "texts encoded", "validation nDCG@5, %", size);
    let seconds =
        lines(&curves(outcome, |mark| mark.seconds), "seconds of training", "validation nDCG@5, %", size);
    let differences = intervals(
        &versus(outcome),
        &format!("test nDCG@5 over {}, points", outcome.standings[0].name),
        940.0,
    );
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>{title}</h1><p>Every run had the same first weights, about {budget} texts to encode (those for \
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
         <p class=\"note\">Every heat stands in {}.</p></body></html>\n",
        took(longest),
        table(&cells(outcome)),
        escaped(&name(&out.join("race.jsonl"))),
        told = if is_truth_told(outcome) { " False: the share of them that answer their query." } else { "" },
        title = escaped(&title),
    )
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn table(rows: &[Vec<String>]) -> String {
    let row = |(i, cells): (usize, &Vec<String>)| {
        let tag = if i == 0 { "th" } else { "td" };
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    format!("<table>{}</table>", rows.iter().enumerate().map(row).collect::<String>())
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
