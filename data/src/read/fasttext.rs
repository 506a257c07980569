//! Lines of fastText (Joulin et al., "Bag of tricks for efficient text classification", 2017): labels stand in the
//! text.
//!
//! ```text
//! __label__baking __label__bread-crumbs how do I toast them?      a label is a word that begins so, wherever it stands
//! ```
//! A label is its own text, with spaces for `-` and `_`, unless a label file gives it another.

use super::csv::{Labelled, put_row, read_labels};
use crate::build::{Build, Text, Uid};
use crate::lines::Lines;
use crate::source::FastTextSource;
use engine::{Error, Result};

/// What a label begins with.
const PREFIX: &str = "__label__";

/// Reads the label file if there is one, then the lines.
pub(crate) fn read(source: &FastTextSource, build: &mut Build) -> Result<()> {
    if let Some(path) = &source.labels_file {
        read_labels(path, build)?;
    }
    let (mut lines, mut pairs, mut text) = (Lines::open(&source.path)?, vec![], String::new());
    for row in 1.. {
        let done = match lines.next() {
            Ok(None) => break,
            Ok(Some(line)) if line.text.trim().is_empty() => continue,
            Ok(Some(line)) => {
                text.clear();
                let words = line.text.split_whitespace();
                for word in words.clone().filter(|word| !word.starts_with(PREFIX)) {
                    text += if text.is_empty() { "" } else { " " };
                    text += word;
                }
                let names =
                    words.filter_map(|word| word.strip_prefix(PREFIX)).filter(|name| !name.is_empty());
                let text = Text { uid: Uid::Number(row), title: &text, content: "" };
                let rules = Labelled {
                    split: source.split,
                    from_file: source.labels_file.is_some(),
                    text_of: |name| name.replace(['-', '_'], " "),
                };
                put_row(&line, text, names, &rules, &mut pairs, build)
            }
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            build.reject(e)?;
        }
        build.read_progress(row, lines.progress());
    }
    if build.train.texts.rows() + build.test.texts.rows() == 0 {
        let e =
            Error::input(format!("no line has a label: a word that begins with `{PREFIX}`")).at(&source.path);
        return Err(e.help("a table of texts and labels is read with --format csv"));
    }
    Ok(())
}
