//! Text for people: colours of stderr, and small tables.

use clap::ColorChoice;
use data::metrics::Metric;
use serde_json::{Map, Value};
use std::io::Write;

/// Whether stderr takes colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    /// By what was asked for, `NO_COLOR`, and whether a person looks.
    pub(crate) fn of(choice: ColorChoice, terminal: bool) -> Style {
        let wanted = || terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let colours = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => wanted(),
        };
        Style { colours }
    }
    /// The word that opens an error.
    pub(crate) fn error(self, word: &str) -> String {
        self.paint("1;31", word)
    }
    /// The word that opens a warning.
    pub(crate) fn warning(self, word: &str) -> String {
        self.paint("1;33", word)
    }
    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line on stderr. If nobody reads there any more, that stops nothing.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A table: the first column to the left, the others to the right, as wide as their widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide =
        |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut out = String::new();
    for row in rows {
        let cell = |(c, text): (usize, &String)| match c {
            0 => format!("{text:<w$}", w = widths[c]),
            _ => format!("  {text:>w$}", w = widths[c]),
        };
        let line: String = row.iter().enumerate().map(cell).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A fraction in per cent.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// Metrics as one flat object, rounded to six digits.
pub(crate) fn metrics(found: &[(Metric, f64)]) -> Map<String, Value> {
    found.iter().map(|(metric, value)| (metric.to_string(), rounded(*value))).collect()
}

/// A number with six digits behind the point.
pub(crate) fn rounded(value: f64) -> Value {
    Value::from((value * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let row = |cells: &[&str]| cells.iter().map(|&c| c.to_owned()).collect::<Vec<_>>();
        let shown = table(&[row(&["P@1", "29.50 %"]), row(&["nDCG@5", "9.1 %"]), row(&["x"])]);
        assert_eq!(shown, "P@1     29.50 %\nnDCG@5    9.1 %\nx\n");
        assert_eq!(rounded(0.295_000_4).to_string(), "0.295");
    }
}
