//! The layout of BEIR (Thakur et al., "BEIR: A Heterogenous Benchmark for Zero-shot Evaluation of Information
//! Retrieval Models", NeurIPS 2021): documents are the labels, and judgements the relevance.

use super::json::Row;
use super::judged::{Columns, Judgement, put_query, read_judgements};
use super::{find_file, need_file, need_folder, repository};
use crate::build::Build;
use crate::lines::{Line, Lines};
use engine::container::checksum_wide;
use engine::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

const ENDINGS: [&str; 2] = [".jsonl", ".jsonl.gz"];

/// Query, document and score, with tabs between.
const COLUMNS: Columns = Columns {
    fields: |text| text.split('\t').map(str::trim).collect::<Vec<_>>().try_into().ok(),
    expected: "3 were expected: query, document, score",
};

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
            read_judgements(&path, &COLUMNS, &known, list, build)?;
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
    put_query(line, (&uid, text), judgements, pairs, build)
}
