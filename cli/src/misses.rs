//! The worst misses of an evaluation: the queries whose best label is wrong, the clearest first.

use crate::render::rounded;
use data::{DataSet, Split};
use serde_json::{Value, json};
use std::fmt::Write;
use train::evaluate::{Evaluation, Ranked};

/// Labels shown of each ranking.
pub(crate) const SHOWN: usize = 5;

/// The misses of `found`, at most `n`. A miss is worse the higher its best wrong label stands above its best
/// right one.
fn worst<'a>(found: &'a Evaluation, data: &DataSet, split: Split, n: usize) -> Vec<&'a Ranked> {
    let missed = |r: &&Ranked| {
        let right = data.positives(split, r.query as usize);
        !right.is_empty() && r.labels.first().is_some_and(|(label, _)| !right.contains(label))
    };
    let mut all: Vec<&Ranked> = found.rankings.iter().filter(missed).collect();
    all.sort_by(|a, b| b.confusion.total_cmp(&a.confusion).then(a.query.cmp(&b.query)));
    all.truncate(n);
    all
}

/// The misses as a table for people.
pub(crate) fn text(found: &Evaluation, data: &DataSet, split: Split, n: usize) -> String {
    let misses = worst(found, data, split, n);
    if misses.is_empty() {
        return "no query has a wrong label first\n".to_owned();
    }
    let labels = data.labels();
    let mut out = String::new();
    for miss in misses {
        let query = miss.query as usize;
        let right: Vec<&str> =
            data.positives(split, query).iter().take(SHOWN).map(|&l| labels.title(l as usize)).collect();
        let _ = writeln!(out, "{}", data.queries(split).title(query));
        let _ = writeln!(out, "  right      {}", right.join(" | "));
        for (i, &(label, score)) in miss.labels.iter().take(SHOWN).enumerate() {
            let lead = if i == 0 { "predicted" } else { "" };
            let _ = writeln!(out, "  {lead:<9}  {score:.3}  {}", labels.title(label as usize));
        }
    }
    out
}

/// The misses as JSON.
pub(crate) fn objects(found: &Evaluation, data: &DataSet, split: Split, n: usize) -> Value {
    let labels = data.labels();
    let one = |miss: &&Ranked| {
        let query = miss.query as usize;
        let right = data.positives(split, query).iter().map(|&l| {
            let l = l as usize;
            json!({"uid": labels.uid(l), "title": labels.title(l)})
        });
        let predicted = miss.labels.iter().take(SHOWN).map(|&(l, score)| {
            let l = l as usize;
            json!({"uid": labels.uid(l), "title": labels.title(l), "score": rounded(f64::from(score))})
        });
        json!({
            "uid": data.queries(split).uid(query),
            "title": data.queries(split).title(query),
            "right": right.collect::<Vec<_>>(),
            "predicted": predicted.collect::<Vec<_>>(),
        })
    };
    worst(found, data, split, n).iter().map(one).collect()
}
