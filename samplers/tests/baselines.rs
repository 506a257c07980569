//! The baselines on real library titles, against numbers of other programs: scikit-learn, and a plain
//! script for the last row.
//!
//! The data lie under `$LODE_SHARED/data/finna-small`; without the variable the test says so and passes.

use std::io::Read;
use std::path::Path;

use samplers::Csr;
use samplers::knn::Voting;
use samplers::tfidf::{Baselines, top};

/// Titles and label ids of a gzipped JSON-lines file.
fn rows(path: &Path) -> Vec<(String, Vec<u32>)> {
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the data set is there");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzipped text");
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
        let labels = row["target_ind"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut labels: Vec<u32> = labels.iter().filter_map(|l| l.as_u64()).map(|l| l as u32).collect();
        labels.sort_unstable();
        (row["title"].as_str().expect("a title").to_owned(), labels)
    };
    text.lines().map(row).collect()
}

#[test]
fn baselines_on_library_titles_equal_another_programs() {
    let Some(shared) = std::env::var_os("LODE_SHARED") else {
        eprintln!("skipped: LODE_SHARED is not set");
        return;
    };
    let folder = Path::new(&shared).join("data/finna-small");
    let [train, test, labels] =
        ["trn", "tst", "lbl"].map(|part| rows(&folder.join(format!("{part}.jsonl.gz"))));
    let mut starts = vec![0u64];
    starts.extend(train.iter().scan(0, |end, row| {
        *end += row.1.len() as u64;
        Some(*end)
    }));
    let items: Vec<u32> = train.iter().flat_map(|row| row.1.clone()).collect();
    let texts =
        |rows: &'_ [(String, Vec<u32>)]| -> Vec<String> { rows.iter().map(|r| r.0.clone()).collect() };
    let (titles, names) = (texts(&train), texts(&labels));
    let borrowed = |texts: &'static [String]| texts.iter().map(String::as_str).collect::<Vec<&str>>();
    let (titles, names) = (borrowed(titles.leak()), borrowed(names.leak()));
    let baselines = Baselines::fit(&titles, &names, Csr { starts: &starts, items: &items });

    let precision = |k: usize, scores: &dyn Fn(&str) -> Vec<f32>| {
        let hits = |row: &(String, Vec<u32>)| {
            top(&scores(&row.0), k).iter().filter(|hit| row.1.contains(&hit.0)).count()
        };
        100.0 * test.iter().map(hits).sum::<usize>() as f64 / (k * test.len()) as f64
    };
    #[track_caller]
    fn near(name: &str, got: f64, want: f64, tolerance: f64) {
        println!("{name}: {got:.2}, expected {want}");
        assert!((got - want).abs() <= tolerance, "{name}: {got:.2}, expected {want} ± {tolerance}");
    }
    near("label cosine P@1", precision(1, &|t| baselines.label_cosines(t)), 22.85, 0.1);
    near("label cosine P@5", precision(5, &|t| baselines.label_cosines(t)), 8.45, 0.1);
    // The reference gives the votes half the weight of the label cosine; the plain sum, our default, is
    // stronger.
    let half = Voting { weight: 0.5, ..Voting::TFIDF };
    near("half votes + label P@1", precision(1, &|t| baselines.with_neighbours(t, half)), 25.67, 0.5);
    near("half votes + label P@5", precision(5, &|t| baselines.with_neighbours(t, half)), 10.74, 0.3);
    near("votes + label P@1", precision(1, &|t| baselines.with_neighbours(t, Voting::TFIDF)), 27.25, 0.5);
}
