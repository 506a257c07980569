//! Filters: pairs `row label` that are left out of ranking, because query and label are the same thing
//! (Mittal et al., "DECAF: Deep Extreme Classification with Label Features", WSDM 2021, use them for
//! reciprocal pairs).

use super::find_file;
use crate::build::{Build, Split};
use crate::lines::{Line, Lines};
use engine::Result;
use std::path::Path;

/// Reads the filters of a folder, where there are any. Rows are lines of the query files, from 0.
pub(crate) fn read(folder: &Path, build: &mut Build) -> Result<()> {
    let endings = [".txt", ".txt.gz"];
    let train = find_file(folder, &["filter_labels_train", "trn_filter_labels"], &endings)?;
    let test = find_file(folder, &["filter_labels_test", "tst_filter_labels"], &endings)?;
    let misnamed = find_file(folder, &["filter_labels_text"], &endings)?;
    let test = match (test, misnamed) {
        (None, Some(path)) => {
            build.warnings.push("filter_labels_text.txt is taken for filter_labels_test.txt".into());
            Some(path)
        }
        (test, Some(_)) => {
            build.warnings.push("filter_labels_text.txt is ignored beside filter_labels_test.txt".into());
            test
        }
        (test, None) => test,
    };
    for (split, path) in [(Split::Train, train), (Split::Test, test)] {
        // An empty file means that there is nothing to filter.
        if let Some(path) = path.filter(|p| std::fs::metadata(p).is_ok_and(|m| m.len() > 0)) {
            read_pairs(&path, split, build)?;
        }
    }
    Ok(())
}

fn read_pairs(path: &Path, split: Split, build: &mut Build) -> Result<()> {
    let mut lines = Lines::open(path)?;
    loop {
        let found = match lines.next() {
            Ok(None) => break,
            Ok(Some(line)) if line.text.trim().is_empty() => continue,
            Ok(Some(line)) => pair(&line, build.queries(split).source_rows, build.labels.rows()),
            Err(e) => Err(e),
        };
        match found {
            Ok((row, label)) => {
                let queries = build.queries(split);
                if let Some(row) = queries.row_of(row) {
                    queries.filtered.push((row, label));
                }
            }
            Err(e) => build.reject(e)?,
        }
    }
    let filtered = &mut build.queries(split).filtered;
    filtered.sort_unstable();
    filtered.dedup();
    Ok(())
}

fn pair(line: &Line, rows: u32, labels: u32) -> Result<(u32, u32)> {
    let mut numbers = line.text.split_whitespace().map(str::parse::<u32>);
    let (Some(Ok(row)), Some(Ok(label)), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(line.error("two numbers were expected: row and label, both counted from 0"));
    };
    if row >= rows {
        return Err(line.error(format!("row {row} is out of range: there are {rows} rows, counted from 0")));
    }
    if label >= labels {
        let e =
            line.error(format!("label {label} is out of range: there are {labels} labels, counted from 0"));
        return Err(e.help("does this file belong to this data set?"));
    }
    Ok((row, label))
}
