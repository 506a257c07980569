//! The layout of BEIR (Thakur et al., "BEIR: A Heterogenous Benchmark for Zero-shot Evaluation of Information
//! Retrieval Models", NeurIPS 2021): documents are the labels, and judgements the relevance.

use super::json::Row;
use super::{find_file, need_file, need_folder, repository};
use crate::build::{Build, Split, relevance};
use crate::lines::{Line, Lines};
use engine::container::checksum_wide;
use engine::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

const ENDINGS: [&str; 2] = [".jsonl", ".jsonl.gz"];

/// One judgement: which query (hash of its id), which document, how relevant.
type Judgement = (u128, u32, f32);

/// Reads documents, then judgements, then the queries that have any.
pub(crate) fn read(folder: &Path, build: &mut Build) -> Result<()> {
    need_folder(folder)?;
    let help =
        "the folder needs corpus.jsonl, queries.jsonl and qrels/test.tsv (and qrels/train.tsv to train on)";
    let need = |stem: &str| need_file(folder, &[stem], &ENDINGS).map_err(|e| e.help(help));
    let (corpus, queries) = (need("corpus")?, need("queries")?);
    let find = |name: &str| find_file(&folder.join("qrels"), &[name], &[".tsv", ".tsv.gz"]);
    let (train, test, dev) = (find("train")?, find("test")?, find("dev")?);
    let test = match (test, dev) {
        (None, Some(dev)) => {
            build.warnings.push("no qrels/test.tsv: qrels/dev.tsv is the test set".into());
            Some(dev)
        }
        (test, _) => test,
    };
    if train.is_none() && test.is_none() {
        return Err(Error::input("no judgements in this folder").at(folder).help(help));
    }
    repository::read_labels(&corpus, build)?;
    let known = query_ids(&queries)?;
    let mut judgements = [vec![], vec![]];
    for (path, list) in [train, test].into_iter().zip(&mut judgements) {
        if let Some(path) = path {
            read_judgements(&path, &known, list, build)?;
        }
    }
    read_queries(&queries, &judgements, build)
}

/// The ids of all queries; what else is wrong with a line is said when its text is read.
fn query_ids(path: &Path) -> Result<HashSet<u128>> {
    let mut lines = Lines::open(path)?;
    let mut ids = HashSet::new();
    loop {
        let uid = match lines.next() {
            Ok(None) => return Ok(ids),
            Ok(Some(line)) => Row::parse(&line).and_then(|row| row.uid(&line)),
            Err(e) => Err(e),
        };
        match uid {
            Ok(uid) => {
                ids.insert(checksum_wide(uid.as_bytes()));
            }
            Err(e) if e.place().is_some_and(|p| p.line.is_some()) => {}
            Err(e) => return Err(e),
        }
    }
}

fn read_judgements(
    path: &Path,
    known: &HashSet<u128>,
    list: &mut Vec<Judgement>,
    build: &mut Build,
) -> Result<()> {
    let mut lines = Lines::open(path)?;
    loop {
        let found = match lines.next() {
            Ok(None) => break,
            Ok(Some(line)) if line.text.trim().is_empty() || is_header(&line) => continue,
            Ok(Some(line)) => judgement(&line, known, build),
            Err(e) => Err(e),
        };
        match found {
            Ok(judgement) => list.push(judgement),
            Err(e) => build.reject(e)?,
        }
    }
    // Stable, so that judgements of one query keep the order of the file.
    list.sort_by_key(|j| j.0);
    Ok(())
}

/// The first line names the columns, unless its third field is a number.
fn is_header(line: &Line) -> bool {
    line.number == 1 && line.text.split('\t').nth(2).is_none_or(|score| score.trim().parse::<f64>().is_err())
}

fn judgement(line: &Line, known: &HashSet<u128>, build: &Build) -> Result<Judgement> {
    let fields: Vec<&str> = line.text.split('\t').map(str::trim).collect();
    let [query, document, score] = fields[..] else {
        let e = line.error(format!("{} fields, 3 were expected: query, document, score", fields.len()));
        return Err(e.help("fields are separated by tabs"));
    };
    let at = |field: &str| field.as_ptr() as usize - line.text.as_ptr() as usize;
    let key = checksum_wide(query.as_bytes());
    if !known.contains(&key) {
        return Err(line.error_at(at(query), format!("query `{query}` is not in the file of queries")));
    }
    let Some(label) = build.labels.find(document) else {
        return Err(line.error_at(at(document), format!("document `{document}` is not in the corpus")));
    };
    let value =
        score.parse().map_err(|_| line.error_at(at(score), format!("the score `{score}` is no number")))?;
    let value = relevance(value).map_err(|why| line.error_at(at(score), format!("{why} ({score})")))?;
    Ok((key, label, value))
}

/// A query goes wherever it was judged: to training, to test, or to both.
fn read_queries(path: &Path, judgements: &[Vec<Judgement>; 2], build: &mut Build) -> Result<()> {
    let mut lines = Lines::open(path)?;
    let mut pairs = vec![];
    let mut number = 0;
    loop {
        let done = match lines.next() {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => read_query(&line, judgements, &mut pairs, build),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            build.reject(e)?;
        }
        number += 1;
        build.read_progress(number, lines.progress());
    }
}

fn read_query(
    line: &Line,
    judgements: &[Vec<Judgement>; 2],
    pairs: &mut Vec<(u32, f32)>,
    build: &mut Build,
) -> Result<()> {
    let row = Row::parse(line)?;
    let uid = row.uid(line)?;
    let text = row.text(&uid).ok_or_else(|| line.error("the query has no `text`"))?;
    let key = checksum_wide(uid.as_bytes());
    let mut judged = false;
    for (split, list) in [Split::Train, Split::Test].into_iter().zip(judgements) {
        let from = list.partition_point(|j| j.0 < key);
        pairs.clear();
        pairs.extend(list[from..].iter().take_while(|j| j.0 == key).map(|&(_, label, value)| (label, value)));
        if !pairs.is_empty() {
            judged = true;
            build.query(split, line, text, pairs)?;
        }
    }
    if !judged {
        build.counts.dropped_without_labels += 1;
    }
    Ok(())
}
