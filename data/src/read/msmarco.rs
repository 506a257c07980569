//! The layout of MS MARCO's passage ranking (Bajaj et al., "MS MARCO: A human generated machine reading comprehension
//! dataset", 2016), as Tevatron and Pyserini take it: passages are the labels.
//!
//! ```text
//! collection.tsv                         pid <tab> passage
//! queries.train.tsv, queries.dev.tsv     qid <tab> query         (dev.small before dev, where both are there)
//! qrels.train.tsv, qrels.dev.tsv         qid 0 pid relevance     tabs or spaces, as trec_eval reads it
//! ```

use super::judged::{Columns, Judgement, put_query, read_judgements};
use super::{find_file, need_file, need_folder};
use crate::build::{Build, Text, Uid};
use crate::lines::{Line, Lines};
use engine::container::checksum_wide;
use engine::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const ENDINGS: [&str; 2] = [".tsv", ".tsv.gz"];
/// Names of the test set, the first that is there.
const TEST: [&str; 3] = ["dev.small", "dev", "test"];

/// Query, a word that nobody reads, passage and relevance.
const COLUMNS: Columns = Columns {
    fields: |text| {
        let [query, _, passage, relevance] = text.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        Some([query, passage, relevance])
    },
    expected: "4 were expected: query, 0, passage, relevance",
};

/// Reads passages, then judgements, then the queries that have any.
pub(crate) fn read(folder: &Path, build: &mut Build) -> Result<()> {
    need_folder(folder)?;
    let help = "the folder needs collection.tsv, queries.train.tsv and qrels.train.tsv, or those of dev";
    let collection = need_file(folder, &["collection"], &ENDINGS).map_err(|e| e.help(help))?;
    let train = part(folder, &["train"])?;
    let test = part(folder, &TEST)?;
    if train.is_none() && test.is_none() {
        return Err(Error::input("no judgements in this folder").at(folder).help(help));
    }
    read_passages(&collection, build)?;
    for (place, part) in [train, test].into_iter().enumerate() {
        let Some((queries, qrels)) = part else { continue };
        let known = ids(&queries)?;
        let mut judgements = [vec![], vec![]];
        read_judgements(&qrels, &COLUMNS, &known, &mut judgements[place], build)?;
        read_queries(&queries, &judgements, build)?;
    }
    Ok(())
}

/// Queries and judgements of a part, under the first of its names that has judgements.
fn part(folder: &Path, names: &[&str]) -> Result<Option<(PathBuf, PathBuf)>> {
    for name in names {
        if let Some(qrels) = find_file(folder, &[&format!("qrels.{name}")], &ENDINGS)? {
            let queries = match find_file(folder, &[&format!("queries.{name}")], &ENDINGS)? {
                Some(queries) => queries,
                // The small set is a part of the whole one, whose queries may be all that is there.
                None if *name == "dev.small" => need_file(folder, &["queries.dev"], &ENDINGS)?,
                None => need_file(folder, &[&format!("queries.{name}")], &ENDINGS)?,
            };
            return Ok(Some((queries, qrels)));
        }
    }
    Ok(None)
}

/// An id and a text.
fn fields<'a>(line: &Line<'a>) -> Result<(&'a str, &'a str)> {
    match line.text.split_once('\t') {
        Some((id, text)) if !id.trim().is_empty() => Ok((id.trim(), text.trim())),
        _ => Err(line.error("an id and a text were expected, with a tab between")),
    }
}

fn read_passages(path: &Path, build: &mut Build) -> Result<()> {
    let (mut lines, mut number) = (Lines::open(path)?, 0);
    while let Some(line) = lines.next()? {
        // The numbers of all labels behind one that is left out would change: nothing is left out.
        let (id, text) = fields(&line)?;
        build.label(&line, Text { uid: Uid::Given(id), title: text, content: "" })?;
        number += 1;
        build.read_progress(number, lines.progress());
    }
    Ok(())
}

/// The ids of all queries; what else is wrong with a line is said when its text is read.
fn ids(path: &Path) -> Result<HashSet<u128>> {
    let (mut lines, mut ids) = (Lines::open(path)?, HashSet::new());
    while let Some(line) = lines.next()? {
        if let Ok((id, _)) = fields(&line) {
            ids.insert(checksum_wide(id.as_bytes()));
        }
    }
    Ok(ids)
}

fn read_queries(path: &Path, judgements: &[Vec<Judgement>; 2], build: &mut Build) -> Result<()> {
    let (mut lines, mut pairs, mut number) = (Lines::open(path)?, vec![], 0);
    loop {
        let done = match lines.next() {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => fields(&line).and_then(|(id, text)| {
                let text = Text { uid: Uid::Given(id), title: text, content: "" };
                put_query(&line, (id, text), judgements, &mut pairs, build)
            }),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            build.reject(e)?;
        }
        number += 1;
        build.read_progress(number, lines.progress());
    }
}
