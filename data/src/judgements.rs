//! A file of judgements, one a line, read against a data set: what else answers its training queries.
//!
//! ```text
//! QUERY <tab> LABEL [<tab> SCORE]        ids of the data set; a score of 0 or less says that it is no answer
//! ```
//! The first line may name the columns, as in BEIR's `qrels`. Judgements of other queries than those of training are
//! passed over, so a file for all of them serves.

use crate::lines::{Line, Lines};
use crate::negative_file::ids;
use crate::{DataSet, Split};
use engine::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Reads which labels answer each training query, `[queries]`, ascending; known positives of the data set among them or
/// not.
///
/// # Errors
/// With file and line: not two or three fields, a label that the data set does not have, a score that is no number; and
/// if no line speaks of a training query.
pub fn read_judgements(path: &Path, data: &DataSet) -> Result<Vec<Vec<u32>>> {
    let (queries, labels) = (ids(data.queries(Split::Train)), ids(data.labels()));
    let mut answers = vec![vec![]; queries.len()];
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() || is_header(&line) {
            continue;
        }
        if let Some((query, label)) = judgement(&line, &queries, &labels)? {
            answers[query as usize].push(label);
        }
    }
    if answers.iter().all(Vec::is_empty) {
        let e = Error::input("no line judges a training query of this data set").at(path);
        return Err(e.help(
            "a line is QUERY, LABEL and perhaps a score, with tabs between, by the ids of the data set",
        ));
    }
    for row in &mut answers {
        row.sort_unstable();
        row.dedup();
    }
    Ok(answers)
}

/// The first line names columns, unless its third field is a number.
fn is_header(line: &Line) -> bool {
    let third = line.text.split('\t').nth(2);
    line.number == 1 && third.is_some_and(|score| score.trim().parse::<f64>().is_err())
}

/// Query and label of a line; none where the query is not of training, or the label no answer.
fn judgement(
    line: &Line,
    queries: &HashMap<&str, u32>,
    labels: &HashMap<&str, u32>,
) -> Result<Option<(u32, u32)>> {
    let fields: Vec<&str> = line.text.split('\t').map(str::trim).collect();
    let (query, label, score) = match fields[..] {
        [query, label] => (query, label, "1"),
        [query, label, score] => (query, label, score),
        _ => {
            let e = line.error(format!("{} fields, 2 or 3 were expected: query, label, score", fields.len()));
            return Err(e.help("fields are separated by tabs"));
        }
    };
    let at = |field: &str| field.as_ptr() as usize - line.text.as_ptr() as usize;
    let value: f64 =
        score.parse().map_err(|_| line.error_at(at(score), format!("the score `{score}` is no number")))?;
    let Some(&query) = queries.get(query) else { return Ok(None) };
    let label = labels
        .get(label)
        .ok_or_else(|| line.error_at(at(label), format!("no label has the id `{label}`")))?;
    Ok((value > 0.0).then_some((query, *label)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CsvSource, PrepareOptions, Source, TokenizerChoice, Verify};

    fn read(text: &str) -> Result<Vec<Vec<u32>>> {
        let dir = tempfile::tempdir().expect("a directory");
        let (table, out, file) =
            (dir.path().join("t.csv"), dir.path().join("t.lode"), dir.path().join("truth.tsv"));
        std::fs::write(&table, "id,title,kind\na,red shoe,shoes\nb,blue boot,boots\nc,hiking boot,boots\n")
            .expect("written");
        let mut source = CsvSource::new(&table, "title", "kind");
        source.id = Some("id".into());
        source.split = "100/0".parse().expect("a ratio");
        let options = PrepareOptions::new(&out, TokenizerChoice::Train(100));
        crate::prepare(&Source::Csv(source), &options, &mut |_| {}).expect("prepared");
        std::fs::write(&file, text).expect("written");
        read_judgements(&file, &DataSet::open(&out, Verify::Full).expect("opens"))
    }

    #[test]
    fn answers_are_read_by_id_and_others_are_passed_over() {
        let got =
            read("query\tlabel\tscore\na\tboots\t1\na\tshoes\t2\nb\tshoes\t0\nz\tboots\t1\n\na\tboots\t1\n");
        let got = got.expect("a truth");
        assert_eq!(got[0].len(), 2);
        assert!(got[0].is_sorted() && got[1].is_empty() && got[2].is_empty());
        assert_eq!(
            read("c\tboots\n").expect("two fields").iter().map(Vec::len).collect::<Vec<_>>(),
            [0, 0, 1]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let told = |text: &str, what: &str| {
            let e = read(text).expect_err("refused").to_string();
            assert!(e.contains(what), "{e}");
        };
        told("a\tboots\t1\na\n", "2");
        told("a\tboots\t1\na\tslippers\t1\n", "no label has the id `slippers`");
        told("a\tboots\t1\nb\tboots\tyes\n", "`yes` is no number");
        told("z\tboots\t1\n", "no line judges a training query");
    }
}
