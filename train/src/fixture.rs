//! Small data sets of tests, written out line by line. The directory must outlive the data set.

use data::{CsvSource, DataSet, PrepareOptions, Source, TokenizerChoice, Verify};
use tempfile::TempDir;

/// The layout of the extreme classification repository: names of labels, titles and their positives, the line of sizes
/// among them, alike for training and test; and further files by name, such as filters.
pub(crate) fn xc(names: &str, titles: &str, positives: &str, more: &[(&str, &str)]) -> (TempDir, DataSet) {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("Y.txt", names);
    for split in ["trn", "tst"] {
        write(&format!("{split}_X.txt"), titles);
        write(&format!("{split}_X_Y.txt"), positives);
    }
    more.iter().for_each(|(name, text)| write(name, text));
    let source = Source::Xc(dir.path().into());
    prepared(dir, &source)
}

/// Rows of a title and its labels, all for training; several labels stand between bars.
pub(crate) fn csv(rows: &str) -> (TempDir, DataSet) {
    let dir = tempfile::tempdir().expect("a directory");
    let table = dir.path().join("t.csv");
    std::fs::write(&table, format!("title,label\n{rows}")).expect("written");
    let mut source = CsvSource::new(&table, "title", "label");
    source.split = "100/0".parse().expect("a ratio");
    source.label_separator = Some("|".into());
    prepared(dir, &Source::Csv(source))
}

fn prepared(dir: TempDir, source: &Source) -> (TempDir, DataSet) {
    let out = dir.path().join("t.lode");
    let options = PrepareOptions::new(&out, TokenizerChoice::Train(100));
    data::prepare(source, &options, &mut |_| {}).expect("prepared");
    let data = DataSet::open(&out, Verify::Full).expect("opens");
    (dir, data)
}
