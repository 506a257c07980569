//! Rankings in the files that other programs of the field read.
//!
//! ```text
//! TREC run    query Q0 label rank score lode      a line a label, best first; ranks from 1
//! spmat       rows columns                        then a line a query, in order:
//!             label:score label:score …           labels by number, from 0, ascending; an empty line for no label
//! ```
//! Where scores are equal, ours rank the smaller label number first. trec_eval reads no rank: it sorts by score, and
//! equal scores by label id backwards (`evaluate --ties trec` does the same). A score is written with the fewest digits
//! that give the same f32 back.

use crate::whole::Whole;
use data::{DataSet, Split, Texts};
use engine::{Error, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use train::evaluate::Ranked;

/// The last column of a TREC run: who made it.
const TAG: &str = "lode";

/// Files that `evaluate` writes besides.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Rankings for other programs")]
pub(crate) struct Files {
    /// Write what was found for every query as a TREC run: query id, Q0, label id, rank, score, lode
    #[arg(long, value_name = "FILE")]
    trec: Option<PathBuf>,
    /// Write it as a sparse matrix of scores, as the extreme classification repository writes one: a row a query, in
    /// the order of the data set, `label:score`
    #[arg(long, value_name = "FILE")]
    spmat: Option<PathBuf>,
    /// Labels of each query in these files
    #[arg(short, long, value_name = "N", default_value_t = 100)]
    k: usize,
}

impl Files {
    /// How many labels of each query are wanted.
    pub(crate) fn depth(&self) -> usize {
        if self.is_any() { self.k } else { 0 }
    }
    fn is_any(&self) -> bool {
        self.trec.is_some() || self.spmat.is_some()
    }
    /// Begins the files: what is in their way is told before anything is computed.
    ///
    /// # Errors
    /// If no label is wanted, an id has no place in a TREC run, or a folder does not take a file.
    pub(crate) fn begin(&self, data: &DataSet, split: Split) -> Result<Begun> {
        if self.is_any() && self.k == 0 {
            return Err(Error::input("-k must be at least 1"));
        }
        if self.trec.is_some() {
            demand_words("query", data.queries(split), data.path())?;
            demand_words("label", data.labels(), data.path())?;
        }
        let begin = |path: &Option<PathBuf>| path.as_deref().map(Whole::create).transpose();
        Ok(Begun { trec: begin(&self.trec)?, spmat: begin(&self.spmat)?, k: self.k })
    }
}

/// Files that are begun, without their names yet.
pub(crate) struct Begun {
    trec: Option<Whole>,
    spmat: Option<Whole>,
    k: usize,
}

impl Begun {
    /// Writes the files; `rankings` come by rising query.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn write(self, rankings: &[Ranked], data: &DataSet, split: Split) -> Result<()> {
        let (queries, labels) = (data.queries(split), data.labels());
        let best = |ranked: &Ranked| ranked.labels[..ranked.labels.len().min(self.k)].to_vec();
        if let Some(mut out) = self.trec {
            for ranked in rankings {
                let named = best(ranked).into_iter().map(|(l, score)| (labels.uid(l as usize), score));
                out.put(trec_lines(queries.uid(ranked.query as usize), named).as_bytes())?;
            }
            out.commit()?;
        }
        if let Some(mut out) = self.spmat {
            out.put(spmat_header(queries.len(), labels.len()).as_bytes())?;
            let mut found = rankings.iter().peekable();
            // A query that did not count keeps its row, which is empty then.
            for query in 0..queries.len() as u32 {
                let ranked = found.next_if(|ranked| ranked.query == query);
                out.put(spmat_row(&ranked.map(best).unwrap_or_default()).as_bytes())?;
            }
            out.commit()?;
        }
        Ok(())
    }
}

/// An id in a TREC run is a column between spaces.
///
/// # Errors
/// Names the first id that is none, and what to do.
fn demand_words(what: &str, texts: Texts<'_>, path: &Path) -> Result<()> {
    (0..texts.len()).try_for_each(|i| demand_word(what, texts.uid(i))).map_err(|e| e.at(path))
}

/// As [`demand_words`], for one id.
///
/// # Errors
/// If it is empty, or holds a space.
pub(crate) fn demand_word(what: &str, id: &str) -> Result<()> {
    let why = match id {
        "" => "is empty".to_owned(),
        id if id.contains(char::is_whitespace) => "has a space in it".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::input(format!("the {what} id `{id}` {why}, and a TREC run is made of columns between spaces"))
        .help("a matrix numbers labels instead (spmat); or prepare the data with ids (--id, --labels-file)"))
}

/// The lines of one query in a TREC run; labels by id, best first.
pub(crate) fn trec_lines<'a>(query: &str, labels: impl Iterator<Item = (&'a str, f32)>) -> String {
    labels.zip(1..).fold(String::new(), |mut lines, ((label, score), rank)| {
        let _ = writeln!(lines, "{query} Q0 {label} {rank} {score} {TAG}");
        lines
    })
}

/// The first line of a matrix.
pub(crate) fn spmat_header(rows: usize, columns: usize) -> String {
    format!("{rows} {columns}\n")
}

/// A row of a matrix; labels by number, in any order.
pub(crate) fn spmat_row(labels: &[(u32, f32)]) -> String {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable_by_key(|&(label, _)| label);
    let entries: Vec<String> = sorted.iter().map(|(label, score)| format!("{label}:{score}")).collect();
    entries.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_six_columns_and_ranks_from_one() {
        let lines = trec_lines("q7", [("b", 0.5), ("a", 0.5), ("c", -0.125)].into_iter());
        assert_eq!(lines, "q7 Q0 b 1 0.5 lode\nq7 Q0 a 2 0.5 lode\nq7 Q0 c 3 -0.125 lode\n");
    }

    #[test]
    fn a_row_of_a_matrix_is_sorted_by_label_and_gives_the_scores_back() {
        let small = f32::from_bits(0x3302_3456);
        let row = spmat_row(&[(30, 1.0), (4, small), (7, -1.5)]);
        assert!(row.starts_with("4:0.00000003") && row.ends_with(" 7:-1.5 30:1\n"), "{row}");
        let first = row.split([':', ' ']).nth(1).unwrap();
        assert_eq!(first.parse::<f32>().unwrap().to_bits(), small.to_bits());
        assert_eq!(spmat_header(2, 31) + &spmat_row(&[]), "2 31\n\n");
    }

    #[test]
    fn an_id_with_a_space_is_no_column() {
        assert!(demand_word("label", "B00X-1").is_ok());
        for wrong in ["", "red boots", "a\tb", "no\u{a0}break"] {
            let e = demand_word("label", wrong).expect_err("no column").to_string();
            assert!(e.contains(&format!("`{wrong}`")) && e.contains("spmat"), "{e}");
        }
    }
}
