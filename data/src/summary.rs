//! What `prepare` found: the numbers that tell whether a data set is what one thinks it is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a count is spread: its mean, median and largest value.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Mean; 0 for no values.
    pub mean: f64,
    /// The value in the middle, the upper one of two.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    /// Mean, median and maximum of `values`.
    pub fn of(values: impl Iterator<Item = u32>) -> Spread {
        let mut values: Vec<u32> = values.collect();
        if values.is_empty() {
            return Spread::default();
        }
        let sum: u64 = values.iter().map(|&v| u64::from(v)).sum();
        let (middle, count) = (values.len() / 2, values.len());
        let median = u64::from(*values.select_nth_unstable(middle).1);
        let max = values.iter().copied().max().map_or(0, u64::from);
        Spread { mean: sum as f64 / count as f64, median, max }
    }
}

/// A row as the trainer sees it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The title.
    pub title: String,
    /// Its tokens.
    pub tokens: Vec<String>,
    /// The titles of its labels.
    pub labels: Vec<String>,
}

/// Counts of a prepared data set, and of what was done to make it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Training queries.
    pub train: u64,
    /// Test queries.
    pub test: u64,
    /// Labels.
    pub labels: u64,
    /// Labels of a training query.
    pub positives_train: Spread,
    /// Labels of a test query.
    pub positives_test: Spread,
    /// Training queries of a label: the largest is the head, the median tells of the rest.
    pub titles_per_label: Spread,
    /// Labels with exactly one training query.
    pub labels_with_one_title: u64,
    /// Labels with no training query.
    pub labels_with_no_title: u64,
    /// Training queries whose title another training query before it has (case and spaces apart).
    pub duplicate_titles_train: u64,
    /// Test queries whose title stands in training too.
    pub test_titles_in_train: u64,
    /// Pairs of a test query and one of its labels.
    pub test_pairs: u64,
    /// Of these (A, B), how many have their reverse in training: a query with B's text and a label with
    /// A's. A model can look those up.
    pub test_pairs_reversed_in_train: u64,
    /// Pairs to be left out of ranking, training and test.
    pub filtered_pairs: [u64; 2],
    /// All tokens.
    pub tokens: u64,
    /// Tokens of the vocabulary.
    pub vocabulary: u64,
    /// Texts cut at the maximum length.
    pub truncated: u64,
    /// Queries of no text: `[CLS][SEP]`.
    pub empty_texts: u64,
    /// Labels of no text: `[CLS][SEP]`.
    pub labels_without_text: u64,
    /// Queries left out because they have no label.
    pub dropped_without_labels: u64,
    /// Test queries kept though they have no label.
    pub kept_without_labels: u64,
    /// Pairs with relevance 0, left out.
    pub zero_relevance: u64,
    /// Labels that stood twice in a row, counted once.
    pub repeated_labels: u64,
    /// Lines left out with `--on-bad-line skip`.
    pub rejected_lines: u64,
    /// What should be known and is no error.
    pub warnings: Vec<String>,
    /// The first rows as the trainer sees them.
    pub examples: Vec<Example>,
}

impl Summary {
    /// What is worth a line only when it happened.
    fn notices(&self) -> Vec<(u64, &'static str)> {
        let all = [
            (self.duplicate_titles_train, "training titles stand there more than once"),
            (self.test_titles_in_train, "test titles stand in training too"),
            (
                self.test_pairs_reversed_in_train,
                "test pairs have their reverse in training (can be looked up)",
            ),
            (self.filtered_pairs[0], "filter pairs in training"),
            (self.filtered_pairs[1], "filter pairs in test"),
            (self.truncated, "texts were cut at the maximum length"),
            (self.empty_texts, "queries have no text"),
            (self.labels_without_text, "labels have no text"),
            (self.dropped_without_labels, "queries without labels were left out"),
            (self.kept_without_labels, "test queries have no label"),
            (self.zero_relevance, "pairs with relevance 0 were left out"),
            (self.repeated_labels, "labels stood twice in a row of the source and count once"),
            (self.rejected_lines, "bad lines were left out (see the .rejected.jsonl file)"),
        ];
        all.into_iter().filter(|&(n, _)| n > 0).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, rows: u64, s: Spread| {
            writeln!(f, "{name:<8} {rows:>11} {:>10.3} {:>8} {:>8}", s.mean, s.median, s.max)
        };
        writeln!(f, "{:<8} {:>11} {:>10} {:>8} {:>8}", "", "rows", "mean", "median", "max")?;
        row(f, "train", self.train, self.positives_train)?;
        row(f, "test", self.test, self.positives_test)?;
        row(f, "labels", self.labels, self.titles_per_label)?;
        writeln!(f, "(labels of a query; training queries of a label)")?;
        let (one, none) = (self.labels_with_one_title, self.labels_with_no_title);
        writeln!(f, "tail: {one} labels with one training query, {none} with none")?;
        let texts = (self.train + self.test + self.labels).max(1);
        let mean = self.tokens as f64 / texts as f64;
        writeln!(f, "{} tokens, {mean:.1} a text; vocabulary {}", self.tokens, self.vocabulary)?;
        for (count, what) in self.notices() {
            writeln!(f, "{count:>11} {what}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for e in &self.examples {
            writeln!(f, "{}\n  tokens: {}\n  labels: {}", e.title, e.tokens.join(" "), e.labels.join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_a_hand_made_list() {
        let s = Spread::of([5, 1, 1, 9].into_iter());
        assert_eq!(s, Spread { mean: 4.0, median: 5, max: 9 });
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }

    #[test]
    fn the_table_speaks_of_what_happened_and_of_nothing_else() {
        let s = Summary { train: 1234, truncated: 7, ..Summary::default() };
        let shown = s.to_string();
        assert!(shown.contains("train           1234      0.000"), "{shown}");
        assert!(shown.contains("7 texts were cut") && !shown.contains("no text"), "{shown}");
    }
}
