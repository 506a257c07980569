//! A file of hard negatives, one query a line, as `lode mine` writes it: read against a data set.
//!
//! ```text
//! {"uid": QUERY, "negatives": [LABEL, …], "scores": [x, …], "positive_scores": [x, …]}
//! ```
//! `uid` and the negatives are ids of the data set; negatives stand best first. Scores are those by which they were
//! ranked; both kinds may be left out. Other fields are ignored, so files made by hand or by another program serve as
//! well.

use crate::lines::{Line, Lines};
use crate::read::json::{Id, invalid};
use crate::{DataSet, Split, Texts};
use engine::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// What one line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Negatives {
    /// The training query.
    pub query: u32,
    /// Labels, best first.
    pub labels: Vec<u32>,
    /// A score for each label; none where the file has none.
    pub scores: Option<Vec<f32>>,
    /// The lowest score of a positive; none where the file has none.
    pub lowest_positive: Option<f32>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Row {
    uid: Id,
    negatives: Vec<Id>,
    scores: Option<Vec<f32>>,
    positive_scores: Option<Vec<f32>>,
}

/// Reads a file against the training queries and labels of a data set, and hands over line by line.
///
/// # Errors
/// With file and line: no JSON, an id that the data set does not have, a query that stands there twice, scores that are
/// not one for each negative.
pub fn read_negatives(path: &Path, data: &DataSet, mut each: impl FnMut(Negatives)) -> Result<()> {
    let (queries, labels) = (ids(data.queries(Split::Train)), ids(data.labels()));
    let mut first_at = HashMap::new();
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            continue;
        }
        let row: Row = serde_json::from_str(line.text).map_err(|e| invalid(&line, &e))?;
        let query = id(&row.uid, &queries, &line, "training query")?;
        if let Some(first) = first_at.insert(query, line.number) {
            return Err(line.error(format!("this query has its negatives on line {first}")));
        }
        let negatives = row.negatives.iter().map(|uid| id(uid, &labels, &line, "label"));
        let negatives = negatives.collect::<Result<Vec<u32>>>()?;
        if let Some(scores) = &row.scores
            && (scores.len() != negatives.len() || scores.iter().any(|s| !s.is_finite()))
        {
            let (scores, negatives) = (scores.len(), negatives.len());
            return Err(line
                .error(format!("{scores} scores, of which all must be finite, for {negatives} negatives")));
        }
        let lowest_positive = row.positive_scores.and_then(|scores| scores.into_iter().reduce(f32::min));
        each(Negatives { query, labels: negatives, scores: row.scores, lowest_positive });
    }
    Ok(())
}

pub(crate) fn ids(texts: Texts<'_>) -> HashMap<&str, u32> {
    (0..texts.len()).map(|i| (texts.uid(i), i as u32)).collect()
}

fn id(Id(name): &Id, known: &HashMap<&str, u32>, line: &Line, what: &str) -> Result<u32> {
    let unknown = || -> Error {
        line.error(format!("no {what} has the id `{name}`"))
            .help("mine the training queries of this very data set: `lode mine MODEL DATA --split train`")
    };
    known.get(&**name).copied().ok_or_else(unknown)
}
