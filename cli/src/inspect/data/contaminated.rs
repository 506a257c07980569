//! `lode inspect data --overlap`: which test queries stand in training, and what a model owes to that.
//!
//! ```text
//! EPG(t) = P@1 of all test queries − P@1 of those whose score is at most t       (estimated performance gain)
//! z(t)   = (p_flagged − p_clean) / √(p (1 − p) (1/n_flagged + 1/n_clean)),  p over both
//! ```
//! after Singh et al. 2024 ("ConTAM"), who choose t for each model and set by the significance of the difference.

use super::{Args, demand_test, named};
use crate::context::Context;
use crate::early::Done;
use crate::evaluate;
use crate::quantity::count;
use crate::render::{percent, rounded, table};
use crate::whole::Whole;
use data::metrics::Metric;
use data::overlap::{Contamination, Grams, contamination};
use data::{DataSet, Split, main_title};
use engine::Result;
use serde_json::{Value, json};
use std::collections::HashSet;
use train::evaluate::Options;

/// A query is flagged whose score is above one of these.
const THRESHOLDS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 0.999];

/// Measures.
pub(super) fn run(args: &Args, data: &DataSet, context: &Context) -> Done {
    demand_test(data)?;
    let grams = Grams { n: args.n as usize, skip: args.skip as usize };
    let (test, train) = (data.queries(Split::Test), data.queries(Split::Train));
    let scores = contamination(test, train, grams);
    let near = near_duplicates(data);
    let hits = match &args.run {
        None => None,
        Some(run) => {
            let options = Options { metrics: Metric::list("P@1")?, depth: 1, ..Options::default() };
            let how = evaluate::Args::new(run, &args.data);
            Some(evaluate::measure(run, &how, data, Split::Test, &options, context)?.hits)
        }
    };
    if let Some(out) = &args.out {
        write(out, data, &scores, &near)?;
    }
    let all: Vec<Cut> = (0..Contamination::NAMES.len())
        .flat_map(|metric| THRESHOLDS.map(|t| Cut::at(metric, t, &scores, hits.as_deref())))
        .collect();
    let reversed = data.summary().test_pairs_reversed_in_train;
    let same_title = near.iter().filter(|&&one| one).count();
    if context.json {
        return context.print_json(&json!({
            "queries": test.len(),
            "n": grams.n,
            "skip": grams.skip,
            "test_titles_in_train": data.summary().test_titles_in_train,
            "near_duplicates": same_title,
            "test_pairs_reversed_in_train": reversed,
            "P@1": hits.as_ref().map(|hits| rounded(mean(hits))),
            "without_near_duplicates": hits.as_ref().map(|hits| rounded(mean_without(hits, &near))),
            "cuts": all.iter().map(Cut::object).collect::<Vec<_>>(),
        }));
    }
    let total = test.len() as u64;
    let of = |n: u64| format!("{} ({:.1} %)", count(n), 100.0 * n as f64 / total.max(1) as f64);
    let mut text = format!(
        "{} test queries, {} training queries, n-grams of {} words\n\
         {} have a title that stands in training, {} one that differs by a subtitle, edition or case\n\
         {} test pairs have their reverse in training\n",
        count(total),
        count(train.len() as u64),
        grams.n,
        of(data.summary().test_titles_in_train),
        of(same_title as u64),
        count(reversed),
    );
    if let Some(hits) = &hits {
        let without = percent(mean_without(hits, &near));
        text += &format!("P@1 {} of all, {without} without these titles\n", percent(mean(hits)));
    }
    let head = ["score", "above", "queries", "P@1 of them", "P@1 of the others", "gain", "z"];
    let columns = if hits.is_some() { head.len() } else { 3 };
    let mut rows = vec![head[..columns].iter().map(|&name| name.to_owned()).collect::<Vec<_>>()];
    rows.extend(all.iter().map(|cut| cut.cells(columns, total)));
    text += &format!("\n{}", table(&rows));
    if let Some(best) =
        all.iter().max_by(|a, b| a.z.abs().total_cmp(&b.z.abs())).filter(|cut| cut.z.abs() > 0.0)
    {
        text += &format!(
            "\nThe clearest cut: {} above {}. Without those queries P@1 is {:+.2} points (z {:.1}).\n",
            Contamination::NAMES[best.metric],
            best.threshold,
            -100.0 * best.gain,
            best.z
        );
    }
    context.print(&text)
}

/// Whether the title of each test query, without subtitle, edition and case, is that of a training query.
fn near_duplicates(data: &DataSet) -> Vec<bool> {
    let (test, train) = (data.queries(Split::Test), data.queries(Split::Train));
    let known: HashSet<String> = (0..train.len()).map(|i| main_title(train.title(i))).collect();
    (0..test.len()).map(|i| known.contains(&main_title(test.title(i)))).collect()
}

/// One score, cut at one threshold.
struct Cut {
    metric: usize,
    threshold: f64,
    flagged: usize,
    /// P@1 of the flagged and of the others; NaN of none.
    of_flagged: f64,
    of_clean: f64,
    /// P@1 of all less that of the others.
    gain: f64,
    /// 0 where one side is empty.
    z: f64,
}

impl Cut {
    fn at(metric: usize, threshold: f64, scores: &[Contamination], hits: Option<&[f64]>) -> Cut {
        let is_flagged: Vec<bool> = scores.iter().map(|one| one.scores()[metric] > threshold).collect();
        let flagged = is_flagged.iter().filter(|&&one| one).count();
        let (mut of_flagged, mut of_clean, mut gain, mut z) = (f64::NAN, f64::NAN, 0.0, 0.0);
        if let Some(hits) = hits {
            let of = |side: bool| {
                let own: Vec<f64> =
                    hits.iter().zip(&is_flagged).filter(|(_, f)| **f == side).map(|(h, _)| *h).collect();
                (mean(&own), own.len() as f64)
            };
            let ((one, n), (other, m)) = (of(true), of(false));
            (of_flagged, of_clean) = (one, other);
            let p = mean(hits);
            let error = (p * (1.0 - p) * (1.0 / n + 1.0 / m)).sqrt();
            if n > 0.0 && m > 0.0 && error > 0.0 {
                (gain, z) = (p - other, (one - other) / error);
            }
        }
        Cut { metric, threshold, flagged, of_flagged, of_clean, gain, z }
    }
    fn cells(&self, columns: usize, total: u64) -> Vec<String> {
        let share = 100.0 * self.flagged as f64 / total.max(1) as f64;
        let part = |p: f64| if p.is_finite() { percent(p) } else { "–".to_owned() };
        let all = [
            Contamination::NAMES[self.metric].to_owned(),
            self.threshold.to_string(),
            format!("{} ({share:.1} %)", count(self.flagged as u64)),
            part(self.of_flagged),
            part(self.of_clean),
            format!("{:+.2}", 100.0 * self.gain),
            format!("{:.1}", self.z),
        ];
        all[..columns].to_vec()
    }
    fn object(&self) -> Value {
        let part = |p: f64| if p.is_finite() { rounded(p) } else { Value::Null };
        json!({
            "score": Contamination::NAMES[self.metric], "above": self.threshold, "queries": self.flagged,
            "P@1_flagged": part(self.of_flagged), "P@1_clean": part(self.of_clean),
            "gain": rounded(self.gain), "z": rounded(self.z),
        })
    }
}

/// NaN of none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn mean_without(hits: &[f64], left_out: &[bool]) -> f64 {
    let own: Vec<f64> = hits.iter().zip(left_out).filter(|(_, out)| !**out).map(|(hit, _)| *hit).collect();
    mean(&own)
}

/// The scores of every test query.
fn write(path: &std::path::Path, data: &DataSet, scores: &[Contamination], near: &[bool]) -> Result<()> {
    let test = data.queries(Split::Test);
    let mut file = Whole::create(path)?;
    file.put(format!("query\t{}\tnear-duplicate\n", Contamination::NAMES.join("\t")).as_bytes())?;
    for (i, (one, near)) in scores.iter().zip(near).enumerate() {
        let scores = named(Contamination::NAMES, one.scores());
        let cells: Vec<String> = scores.values().map(Value::to_string).collect();
        file.put(format!("{}\t{}\t{}\n", test.uid(i), cells.join("\t"), u8::from(*near)).as_bytes())?;
    }
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_two_shares_and_their_difference() {
        // 40 flagged with 30 right, 60 others with 15 right: p = 0.45, by hand z = (0.75 − 0.25)/√(0.2475·(1/40+1/60)).
        let one = |score: f64| Contamination { longest_match: score, ..Contamination::default() };
        let scores: Vec<Contamination> = (0..100).map(|i| one(if i < 40 { 0.6 } else { 0.5 })).collect();
        let hits: Vec<f64> = (0..100).map(|i| f64::from(u8::from(!(30..85).contains(&i)))).collect();
        let cut = Cut::at(3, 0.5, &scores, Some(&hits));
        assert_eq!((cut.flagged, cut.of_flagged, cut.of_clean), (40, 0.75, 0.25));
        assert!((cut.gain - 0.2).abs() < 1e-12 && (cut.z - 4.923_660).abs() < 1e-5, "{} {}", cut.gain, cut.z);
        let none = Cut::at(3, 0.9, &scores, Some(&hits));
        assert_eq!((none.flagged, none.gain, none.z), (0, 0.0, 0.0));
        assert!(none.of_flagged.is_nan());
    }
}
