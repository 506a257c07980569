//! Judgements: which document answers which query. What the layouts with documents for labels share.

use crate::build::{Build, Split, Text, relevance};
use crate::lines::{Line, Lines};
use engine::Result;
use engine::container::checksum_wide;
use std::collections::HashSet;
use std::path::Path;

/// One judgement: which query (hash of its id), which document, how relevant.
pub(super) type Judgement = (u128, u32, f32);

/// How a line of judgements is cut into query, document and score.
pub(super) struct Columns {
    /// The three fields; none where a line has others.
    pub(super) fields: fn(&str) -> Option<[&str; 3]>,
    /// What is said of a line that has others.
    pub(super) expected: &'static str,
}

/// Reads a file of judgements; `known` are the hashes of all queries' ids.
pub(super) fn read_judgements(
    path: &Path,
    columns: &Columns,
    known: &HashSet<u128>,
    list: &mut Vec<Judgement>,
    build: &mut Build,
) -> Result<()> {
    let mut lines = Lines::open(path)?;
    loop {
        let found = match lines.next() {
            Ok(None) => break,
            Ok(Some(line)) if line.text.trim().is_empty() || is_header(&line) => continue,
            Ok(Some(line)) => judgement(&line, columns, known, build),
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

/// The first line names the columns, unless it ends with a number.
fn is_header(line: &Line) -> bool {
    let last = line.text.split_whitespace().next_back();
    line.number == 1 && last.is_none_or(|score| score.parse::<f64>().is_err())
}

fn judgement(line: &Line, columns: &Columns, known: &HashSet<u128>, build: &Build) -> Result<Judgement> {
    let Some([query, document, score]) = (columns.fields)(line.text) else {
        let count = line.text.split('\t').count();
        let e = line.error(format!("{count} fields, {}", columns.expected));
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

/// A query goes wherever it was judged: to training, to test, or to both. Judgements are sorted by query.
pub(super) fn put_query(
    line: &Line,
    (uid, text): (&str, Text),
    judgements: &[Vec<Judgement>; 2],
    pairs: &mut Vec<(u32, f32)>,
    build: &mut Build,
) -> Result<()> {
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
