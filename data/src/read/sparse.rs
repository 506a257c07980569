//! Raw texts, one a line, beside two matrices of relevance. Three names for the same thing:
//!
//! ```text
//!            texts                         labels            matrices
//! XC, Renée  trn_X.txt     tst_X.txt       Y.txt             trn_X_Y.txt  tst_X_Y.txt
//! DEXML      raw/trn_X.txt raw/tst_X.txt   raw/Y.txt         Y.trn.npz    Y.tst.npz
//! PECOS      X.trn.txt     X.tst.txt       output-items.txt  Y.trn.npz    Y.tst.npz
//! ```
//! Texts of one and matrices of another go together: people move the files of one into a folder of the other.
//! Label i is line i of the label file, so labels are as many as it has lines; a matrix may have fewer columns,
//! since some writers count to the largest label that occurs.

use super::matrix::Matrix;
use super::{find_file, need_file};
use crate::build::{Build, Split, Text, Uid};
use crate::lines::{Line, Lines};
use engine::{Error, Result};
use std::path::Path;

const ENDINGS: [&str; 2] = [".txt", ".txt.gz"];
/// `Y.trn.txt` is none of these: beside `Y.trn.npz` it lists names of labels.
const MATRIX: [[&str; 4]; 2] = [
    ["trn_X_Y.txt", "trn_X_Y.txt.gz", "trn_X_Y.npz", "Y.trn.npz"],
    ["tst_X_Y.txt", "tst_X_Y.txt.gz", "tst_X_Y.npz", "Y.tst.npz"],
];
const TEXTS: [[&str; 4]; 2] =
    [["trn_X", "trn.raw", "raw/trn_X", "X.trn"], ["tst_X", "tst.raw", "raw/tst_X", "X.tst"]];
const LABELS: [&str; 5] = ["Y", "lbl.raw", "raw/Y", "lbl", "output-items"];

/// True when the folder has a training matrix.
pub(crate) fn is_layout(folder: &Path) -> bool {
    !matches!(find_file(folder, &MATRIX[0], &[""]), Ok(None))
}

/// Reads labels, then both splits.
pub(crate) fn read(folder: &Path, build: &mut Build) -> Result<()> {
    let help = "the folder needs trn_X_Y.txt, tst_X_Y.txt, trn_X.txt, tst_X.txt and Y.txt; \
        or, as PECOS names them, Y.trn.npz, Y.tst.npz, X.trn.txt, X.tst.txt and output-items.txt";
    let need = |stems: &[&str], endings: &[&str]| need_file(folder, stems, endings).map_err(|e| e.help(help));
    let texts = [need(&TEXTS[0], &ENDINGS)?, need(&TEXTS[1], &ENDINGS)?];
    let labels = need(&LABELS, &ENDINGS)?;
    let mut matrices = vec![];
    for names in &MATRIX {
        matrices.push(Matrix::open(&need(names, &[""])?, &build.options.out)?);
    }
    read_labels(&labels, &matrices, build)?;
    for ((split, matrix), texts) in [Split::Train, Split::Test].into_iter().zip(matrices).zip(&texts) {
        read_split(matrix, texts, split, build)?;
    }
    Ok(())
}

/// Labels are the lines of their file. Where both matrices have some columns more, those labels have no text.
fn read_labels(path: &Path, matrices: &[Matrix], build: &mut Build) -> Result<()> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        let row = build.labels.rows();
        build.label(&line, Text { uid: Uid::Number(u64::from(row)), title: line.text, content: "" })?;
    }
    let count = build.labels.rows();
    let [train, test] = [matrices[0].columns(), matrices[1].columns()];
    if train.max(test) <= count {
        for matrix in matrices.iter().filter(|m| m.columns() < count) {
            let (name, columns) = (name(matrix.path()), matrix.columns());
            build.warnings.push(format!("{name} has {columns} columns, there are {count} labels"));
        }
        return Ok(());
    }
    if train != test {
        let e = Error::input(format!("{test} columns, the training matrix has {train}"));
        let e = e.at(matrices[1].path()).note(format!("the label file has {count} lines"));
        return Err(e.help("do these files belong together?"));
    }
    let missing = train - count;
    if missing > count {
        let e = Error::input(format!("{count} labels, the matrices have {train} columns")).at(path);
        return Err(e.help("was this file cut, or does it belong to other matrices?"));
    }
    build.warnings.push(format!("{missing} labels have no line in the label file"));
    let end = Line { path, number: 0, text: "" };
    for row in count..train {
        build.label(&end, Text { uid: Uid::Number(u64::from(row)), title: "", content: "" })?;
    }
    Ok(())
}

/// Reads texts and rows side by side.
fn read_split(mut matrix: Matrix, path: &Path, split: Split, build: &mut Build) -> Result<()> {
    let mut texts = Lines::open(path)?;
    let mut pairs = vec![];
    let mut short = 0u64;
    for row in 0.. {
        let title = match texts.next() {
            Ok(None) => break,
            Ok(Some(line)) => Ok(line),
            Err(e) => Err(e),
        };
        let targets = matrix.next(&mut pairs);
        short += u64::from(matches!(targets, Ok(false)));
        let added = title.and_then(|line| {
            targets?;
            let text = Text { uid: Uid::Number(row), title: line.text, content: "" };
            build.query(split, &line, text, &mut pairs)
        });
        if let Err(e) = added {
            build.reject_row(split, e)?;
        }
        build.read_progress(row, texts.progress());
    }
    matrix.end(path)?;
    if short > 0 {
        let name = name(matrix.path());
        build.warnings.push(format!("{name} ends {short} rows before the texts do; those have no labels"));
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
