//! The page of `lode report`.

use super::read::{Measured, Run};
use crate::html;
use crate::quantity::{count, span};
use crate::render::percent;
use crate::svg::{Frame, Series, escaped, legend, lines};
use train::Settings;
use train::plan::bytes;

/// Points of a line: more are averaged, since nobody sees them.
const POINTS: usize = 160;
/// Width and height of a chart: small enough that its letters can be read on a phone.
const SIZE: (f64, f64) = (460.0, 260.0);

/// The page.
pub(super) fn html(runs: &[Run]) -> String {
    let title = match runs {
        [one] => one.name.clone(),
        several => format!("{} runs", several.len()),
    };
    let about: String = runs.iter().map(about).collect();
    let mut body = format!("{about}<h2>Results</h2>{}", results(runs));
    body += &section("Quality", &quality(runs), "On queries held out of training.");
    body += &frequency(runs);
    body += &section("Training", &training(runs), "");
    body += &section(
        "Negatives",
        &negatives(runs),
        "What a query's positive and the hardest of its negatives score, in the mean over a batch: the nearer the two, \
         the more a batch teaches.",
    );
    body += &refreshes(runs);
    body += &memory(runs);
    body += &reproduce(runs);
    html::page(&title, &body)
}

fn section(title: &str, charts: &str, note: &str) -> String {
    if charts.is_empty() {
        return String::new();
    }
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>") };
    format!("<h2>{title}</h2>{note}<div class=\"charts\">{charts}</div>")
}

/// A sentence about a run.
fn about(run: &Run) -> String {
    let text = |key: &str| run.settings.text(key).unwrap_or_default().to_owned();
    let model = text("model.source");
    let model = model.rsplit('/').next().unwrap_or_default();
    let size =
        run.begun("parameters").map_or_else(String::new, |n| format!(" ({:.1} M parameters)", n / 1e6));
    let (strategy, composer, head) = (text("strategy.name"), text("composer.name"), text("head.name"));
    let how = if strategy == composer { strategy } else { format!("{strategy}, {composer} batches") };
    let what = match head.as_str() {
        "none" | "" => format!("loss {}", text("loss.name")),
        _ => format!("a classifier, loss {}", text("head.loss")),
    };
    let data = run.data.as_ref().map_or_else(String::new, |d| {
        let (queries, labels) = (count(d.queries as u64), count(d.labels as u64));
        format!(" on {}: {queries} training titles, {labels} labels", d.title)
    });
    let steps = count(run.steps.last().map_or(0, |s| s.step));
    let state = if run.finished { "Finished" } else { "Not finished" };
    let skipped = match run.skipped {
        Some(n) if n > 0 => format!(" {} of the steps were passed over.", count(n)),
        _ => String::new(),
    };
    format!(
        "<p><b>{}</b>: {} with {}, {}{size}{}. {state}: {steps} steps in {}.{skipped}</p>",
        escaped(&run.name),
        escaped(model),
        escaped(&how),
        escaped(&what),
        escaped(&data),
        span(run.seconds()),
    )
}

/// The last measurement of every run, and what it took.
fn results(runs: &[Run]) -> String {
    let names = names(runs);
    let mut rows = vec![[vec![String::new()], names].concat()];
    let every = runs.iter().filter_map(|run| run.measured.last()).flat_map(|m| m.metrics.iter());
    let mut metrics: Vec<String> = vec![];
    every.for_each(|(name, _)| {
        if !metrics.contains(name) {
            metrics.push(name.clone());
        }
    });
    let mut row = |name: &str, of: &dyn Fn(&Run) -> Option<String>| {
        let cells: Vec<Option<String>> = runs.iter().map(of).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".into()));
            rows.push([name.to_owned()].into_iter().chain(cells).collect());
        }
    };
    for metric in &metrics {
        row(metric, &|run| run.measured.last()?.get(metric).map(percent));
    }
    row("validation queries", &|run| Some(count(run.measured.last()?.queries)));
    row("steps", &|run| Some(count(run.steps.last()?.step)));
    row("time", &|run| Some(span(run.seconds())));
    row("memory planned", &|run| run.begun("planned_bytes").map(|n| bytes(n as usize)));
    row("memory measured", &|run| run.ended("anonymous_peak_bytes").map(|n| bytes(n as usize)));
    format!("<div class=\"wide\">{}</div>", html::table(&rows))
}

/// The names of runs, as short as they are distinct.
fn names(runs: &[Run]) -> Vec<String> {
    let last = |run: &Run| run.dir.file_name().map_or(run.name.clone(), |n| n.to_string_lossy().into_owned());
    let short: Vec<String> = runs.iter().map(last).collect();
    let distinct = short.iter().enumerate().all(|(i, name)| !short[..i].contains(name));
    if distinct { short } else { runs.iter().map(|run| run.name.clone()).collect() }
}

/// A chart of lines, or nothing where no line has a point.
fn chart(title: &str, series: Vec<Series>, axes: (&str, &str)) -> String {
    let series: Vec<Series> = series
        .into_iter()
        .map(|mut s| {
            s.points.retain(|(x, y)| x.is_finite() && y.is_finite());
            Series { points: averaged(&s.points), ..s }
        })
        .filter(|s| !s.points.is_empty())
        .collect();
    if series.is_empty() {
        return String::new();
    }
    let names: Vec<String> = series.iter().map(|s| s.name.clone()).collect();
    let keys = if names.len() > 1 { legend(&names) } else { String::new() };
    let lines = lines(&series, Frame { axes, size: SIZE, names: false });
    format!("<figure><h3>{title}</h3>{keys}{lines}</figure>")
}

/// At most [`POINTS`] points: means of neighbours.
fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |some: &[(f64, f64)]| {
        let n = some.len() as f64;
        (some.iter().map(|p| p.0).sum::<f64>() / n, some.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(size).map(mean).collect()
}

/// A line for every run, from its log's lines of steps.
fn of_steps(runs: &[Run], key: &str, factor: f64) -> Vec<Series> {
    let one = |(run, name): (&Run, String)| {
        let point = |s: &super::read::Step| Some((s.step as f64, factor * s.number(key)?));
        Series { name, points: run.steps.iter().filter_map(point).collect() }
    };
    runs.iter().zip(names(runs)).map(one).collect()
}

fn quality(runs: &[Run]) -> String {
    let of = |metric: &str, x: &dyn Fn(&Measured) -> f64| -> Vec<Series> {
        let one = |(run, name): (&Run, String)| {
            let point = |m: &Measured| Some((x(m), 100.0 * m.get(metric)?));
            Series { name, points: run.measured.iter().filter_map(point).collect() }
        };
        runs.iter().zip(names(runs)).map(one).collect()
    };
    let (steps, seconds) = (|m: &Measured| m.step as f64, |m: &Measured| m.seconds);
    chart("P@1 by steps", of("P@1", &steps), ("step", "P@1, %"))
        + &chart("P@1 by time", of("P@1", &seconds), ("seconds", "P@1, %"))
        + &chart("nDCG@5 by steps", of("nDCG@5", &steps), ("step", "nDCG@5, %"))
        + &chart("R@10 by steps", of("R@10", &steps), ("step", "R@10, %"))
}

fn training(runs: &[Run]) -> String {
    chart("Loss", of_steps(runs, "loss", 1.0), ("step", "loss"))
        + &chart("Learning rate", of_steps(runs, "rate", 1e3), ("step", "rate × 1000"))
        + &chart("Norm of the gradient before clipping", of_steps(runs, "grad_norm", 1.0), ("step", "norm"))
        + &chart("Speed", of_steps(runs, "tokens_per_s", 1.0), ("step", "tokens a second"))
}

fn negatives(runs: &[Run]) -> String {
    let mut scores = vec![];
    for (key, what) in [("positive_score", "positive"), ("hardest_score", "hardest negative")] {
        let named = |mut s: Series| {
            s.name = if runs.len() == 1 { what.to_owned() } else { format!("{}, {what}", s.name) };
            s
        };
        scores.extend(of_steps(runs, key, 1.0).into_iter().map(named));
    }
    chart("Scores of positives and hardest negatives", scores, ("step", "score"))
        + &chart("Negatives of a query", of_steps(runs, "negatives", 1.0), ("step", "negatives"))
        + &chart("Pairs masked in a step", of_steps(runs, "masked", 1.0), ("step", "pairs"))
        + &chart("False negatives, by the truth", of_steps(runs, "false_negatives", 100.0), ("step", "%"))
}

/// The last measurement by the frequency of labels.
fn frequency(runs: &[Run]) -> String {
    let mut rows = vec![["run", "labels", "queries"].map(str::to_owned).to_vec()];
    for (run, name) in runs.iter().zip(names(runs)) {
        for (bin, queries, metrics) in run.measured.last().into_iter().flat_map(|m| &m.by_frequency) {
            if rows[0].len() == 3 {
                rows[0].extend(metrics.iter().map(|(name, _)| name.clone()));
            }
            let cells = metrics.iter().map(|&(_, value)| percent(value));
            rows.push([name.clone(), bin.clone(), count(*queries)].into_iter().chain(cells).collect());
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    format!(
        "<h2>Frequent and rare labels</h2><p class=\"note\">Each part holds a third of the training positives: a few \
         labels in the head, most of them in the tail. Only labels of a part count as right.</p>\
         <div class=\"wide\">{}</div>",
        html::table(&rows)
    )
}

/// Clusters and ranked lists, as they were made.
fn refreshes(runs: &[Run]) -> String {
    let mut clusters = vec![
        ["run", "before step", "clusters", "least", "median", "most", "took"].map(str::to_owned).to_vec(),
    ];
    let mut lists =
        vec![["run", "before step", "labels a query", "queries without", "took"].map(str::to_owned).to_vec()];
    for (run, name) in runs.iter().zip(names(runs)) {
        for &(step, number, [least, median, most], took) in &run.clusters {
            let numbers = [step, number, least, median, most].map(count);
            clusters.push([name.clone()].into_iter().chain(numbers).chain([span(took)]).collect());
        }
        for &(step, kept, empty, took) in &run.lists {
            lists.push(vec![name.clone(), count(step), format!("{kept:.1}"), count(empty), span(took)]);
        }
    }
    let mut out = String::new();
    if clusters.len() > 1 {
        out += &format!(
            "<h2>Clusters</h2><p class=\"note\">Training queries that lie near each other share a batch: sizes in \
             queries.</p><div class=\"wide\">{}</div>",
            html::table(&clusters)
        );
    }
    if lists.len() > 1 {
        out += &format!("<h2>Lists of hard negatives</h2><div class=\"wide\">{}</div>", html::table(&lists));
    }
    out
}

/// What was planned, part by part, and what was measured.
fn memory(runs: &[Run]) -> String {
    let mut out = String::new();
    for (run, name) in runs.iter().zip(names(runs)) {
        let Some((begin, _)) = run.processes.last() else { continue };
        let all = begin["planned_parts"].as_object().into_iter().flatten();
        let mut parts: Vec<(&str, f64)> = all.filter_map(|(k, v)| Some((k.as_str(), v.as_f64()?))).collect();
        parts.retain(|&(_, size)| size > 0.0);
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let measured = run.ended("anonymous_peak_bytes");
        let planned = run.begun("planned_bytes").unwrap_or(0.0);
        let most = planned.max(measured.unwrap_or(0.0)).max(1.0);
        let row = |name: &str, size: f64| {
            format!(
                "<tr><td>{}</td><td>{}</td><td class=\"bar\"><span style=\"width:{:.1}%\"></span></td></tr>",
                escaped(name),
                bytes(size as usize),
                100.0 * size / most
            )
        };
        let rows: String = parts.iter().map(|&(name, size)| row(name, size)).collect();
        let measured = measured.map_or_else(String::new, |size| row("measured at most", size));
        let all = row("planned in all", planned);
        out += &format!("<h3>{}</h3><table>{rows}{all}{measured}</table>", escaped(&name));
    }
    if out.is_empty() {
        return out;
    }
    format!(
        "<h2>Memory</h2><p class=\"note\">The plan that was made before the first step, and the anonymous memory of \
         the process; mapped files belong to the system.</p>{out}"
    )
}

/// What is needed to do it again: settings, data, machine.
fn reproduce(runs: &[Run]) -> String {
    let default = Settings::default();
    let differs: Vec<Vec<(String, String, String)>> =
        runs.iter().map(|run| run.settings.differences(&default)).collect();
    let mut keys: Vec<&String> = differs.iter().flatten().map(|(key, ..)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let head = [vec!["setting".to_owned()], names(runs), vec!["default".to_owned()]].concat();
    let mut settings = html_row("th", &head);
    for key in keys {
        let own = differs.iter().map(|all| all.iter().find(|(k, ..)| k == key));
        let standard = differs.iter().flatten().find(|(k, ..)| k == key).map_or("", |(_, _, d)| d);
        let cells = own.map(|found| found.map_or(standard.to_owned(), |(_, ours, _)| ours.clone()));
        let row: Vec<String> = [key.clone()].into_iter().chain(cells).chain([standard.to_owned()]).collect();
        settings += &html_row("td", &row);
    }
    let head = ["run", "from step", "to step", "began", "version", "processor", "kernels", "threads", "data"];
    let mut processes = vec![head.map(str::to_owned).to_vec()];
    for (run, name) in runs.iter().zip(names(runs)) {
        let now = run.data.as_ref().map(|d| format!("{:016x}", d.fingerprint));
        for (begin, end) in &run.processes {
            let text = |key: &str| begin[key].as_str().unwrap_or("–").to_owned();
            let to = end.as_ref().and_then(|end| end["ends_at_step"].as_u64());
            let commit = begin["commit"].as_str().map_or_else(String::new, |c| format!(" ({c})"));
            let data = text("data_fingerprint");
            let changed = if now.as_ref().is_some_and(|now| *now != data) { ", changed since" } else { "" };
            processes.push(vec![
                name.clone(),
                count(begin["begins_at_step"].as_u64().unwrap_or(0)),
                to.map_or_else(|| "did not say".to_owned(), count),
                date(begin["unix_time"].as_u64().unwrap_or(0)),
                format!("{}{commit}", text("version")),
                text("processor"),
                text("kernels"),
                count(begin["threads"].as_u64().unwrap_or(0)),
                format!("{data}{changed}"),
            ]);
        }
    }
    let machines = match processes.len() {
        1 => String::new(),
        _ => format!("<h3>Processes</h3><div class=\"wide\">{}</div>", html::table(&processes)),
    };
    format!(
        "<h2>To do it again</h2><p class=\"note\">Settings that are not the defaults; <code>config.toml</code> of a \
         run has all, and <code>lode train --config</code> reads it. With the same data, binary and kernels the bits \
         are the same, whatever the number of threads.</p><div class=\"wide\"><table>{settings}</table></div>{machines}"
    )
}

fn html_row(tag: &str, cells: &[String]) -> String {
    let cells: String =
        cells.iter().map(|cell| format!("<{tag} class=\"text\">{}</{tag}>", escaped(cell))).collect();
    format!("<tr>{cells}</tr>")
}

/// A moment in UTC, to the minute. Civil date from days, after Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        // By `date -u -d @…`.
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_823_999), "2026-11-27 23:59 UTC");
    }

    #[test]
    fn many_points_become_means_of_neighbours() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(2 * i))).collect();
        let fewer = averaged(&points);
        assert!(fewer.len() <= POINTS && fewer[0] == (3.0, 6.0), "{} {:?}", fewer.len(), fewer[0]);
        assert_eq!(averaged(&points[..3]), points[..3]);
    }
}
