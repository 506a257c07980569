//! The lines that `lode mine` writes.
//!
//! ```text
//! lode             {"uid", "positives": [id], "positive_scores", "negatives": [id], "scores"}      a query
//! triplets         {"anchor", "positive", "negative"}                              a positive and a negative
//! n-tuples         {"anchor", "positive", "negative_1", …, "negative_n"}           a positive, if n were found
//! labeled-pairs    {"anchor", "document", "label": 0 or 1}                         a positive or a negative
//! labeled-list     {"anchor", "documents": [p, n …], "labels": [1, 0 …]}           a positive, if any was found
//! tevatron         {"query_id", "query", "positive_passages": [{"docid", "title", "text"}], "negative_passages"}
//! flag-embedding   {"query", "pos": [text], "neg": [text]}                         a query, if any was found
//! ```
//! The middle four are those of sentence-transformers, and scores stand where they stand there. A score is written with
//! the fewest digits that give the same f32 back.

use crate::whole::Whole;
use clap::ValueEnum;
use data::{DataSet, Split, Texts};
use engine::{Error, Result};
use samplers::mining::Rules;
use serde_json::{Map, Value, json};
use train::mining::Mined;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Ids and scores, a query a line
    Lode,
    /// sentence-transformers: anchor, positive, negative
    Triplets,
    /// sentence-transformers: anchor, positive and all negatives
    NTuples,
    /// sentence-transformers: anchor, document, 1 or 0
    LabeledPairs,
    /// sentence-transformers: anchor, documents, 1 and 0s
    LabeledList,
    /// Tevatron: passages with ids
    Tevatron,
    /// FlagEmbedding: query, pos, neg
    FlagEmbedding,
}

impl Format {
    /// Refuses a format in which positives of a ranking would be taken for negatives.
    ///
    /// # Errors
    /// If positives stay in the ranking and the format is not made for that.
    pub(super) fn check(self, with_positives: bool) -> Result<()> {
        if with_positives && ![Format::Lode, Format::NTuples].contains(&self) {
            let what =
                "with --include-positives a ranking is written, which this format would call negatives";
            return Err(Error::input(what).help("--format lode or n-tuples"));
        }
        Ok(())
    }
}

/// Writes lines.
pub(super) struct Lines<'a> {
    format: Format,
    scores: bool,
    queries: Texts<'a>,
    labels: Texts<'a>,
    wanted: usize,
    ranking: bool,
    written: u64,
}

impl<'a> Lines<'a> {
    /// Begins.
    ///
    /// # Errors
    /// If the format wants texts and the data set does not have them.
    pub(super) fn of(
        data: &'a DataSet,
        split: Split,
        format: Format,
        scores: bool,
        rules: &Rules,
    ) -> Result<Lines<'a>> {
        if format != Format::Lode && !data.has_whole_texts() {
            let e =
                Error::input("this format is made of texts, and this data set has tokens and titles alone");
            let help = "make the data set again with `lode prepare`, or write ids: --format lode";
            return Err(e.at(data.path()).help(help));
        }
        let (queries, labels) = (data.queries(split), data.labels());
        let (wanted, ranking) = (rules.num_negatives, rules.include_positives);
        Ok(Lines { format, scores, queries, labels, wanted, ranking, written: 0 })
    }
    /// Lines so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
    /// Writes the lines of a query.
    ///
    /// # Errors
    /// If the disk is full.
    pub(super) fn put(&mut self, mined: &Mined, out: &mut Whole) -> Result<()> {
        for line in self.lines(mined) {
            let text = serde_json::to_string(&line).expect("lines are plain data") + "\n";
            out.put(text.as_bytes())?;
            self.written += 1;
        }
        Ok(())
    }
    fn lines(&self, mined: &Mined) -> Vec<Value> {
        let some = !mined.negatives.is_empty();
        let each = |line: &dyn Fn((u32, f32)) -> Value| mined.positives.iter().map(|&p| line(p)).collect();
        match self.format {
            Format::Lode => vec![self.by_id(mined)],
            Format::Triplets => mined
                .positives
                .iter()
                .flat_map(|&p| mined.negatives.iter().map(move |&n| self.tuple(mined, p, &[n], "negative")))
                .collect(),
            Format::NTuples if mined.negatives.len() == self.wanted => {
                each(&|p| self.tuple(mined, p, &mined.negatives, "negative_#"))
            }
            Format::LabeledPairs => self.pairs(mined),
            Format::LabeledList if some => each(&|p| self.list(mined, p)),
            Format::Tevatron if some => vec![self.passages(mined)],
            Format::FlagEmbedding if some => vec![self.texts(mined)],
            _ => vec![],
        }
    }
    fn text(&self, label: u32) -> Value {
        self.labels.text(label as usize).into()
    }
    fn anchor(&self, mined: &Mined) -> Value {
        self.queries.text(mined.query as usize).into()
    }
    fn by_id(&self, mined: &Mined) -> Value {
        let ids = |labels: &[(u32, f32)]| -> Value {
            labels.iter().map(|&(label, _)| self.labels.uid(label as usize)).collect()
        };
        let found = if self.ranking { "ranking" } else { "negatives" };
        json!({
            "uid": self.queries.uid(mined.query as usize),
            "positives": ids(&mined.positives),
            "positive_scores": numbers(&mined.positives),
            found: ids(&mined.negatives),
            "scores": numbers(&mined.negatives),
        })
    }
    /// `#` in the name of a negative stands for its number.
    fn tuple(&self, mined: &Mined, positive: (u32, f32), negatives: &[(u32, f32)], name: &str) -> Value {
        let mut line = Map::new();
        line.insert("anchor".into(), self.anchor(mined));
        line.insert("positive".into(), self.text(positive.0));
        for (&(label, _), i) in negatives.iter().zip(1..) {
            line.insert(name.replace('#', &format!("{i}")), self.text(label));
        }
        if self.scores {
            line.insert("scores".into(), numbers(&[&[positive], negatives].concat()));
        }
        line.into()
    }
    fn pairs(&self, mined: &Mined) -> Vec<Value> {
        let pair = |(label, score): (u32, f32), is_positive: bool| {
            let text = self.text(label);
            match self.scores {
                true => json!({"anchor": self.anchor(mined), "document": text, "score": number(score)}),
                false => {
                    json!({"anchor": self.anchor(mined), "document": text, "label": u8::from(is_positive)})
                }
            }
        };
        let positives = mined.positives.iter().map(|&p| pair(p, true));
        positives.chain(mined.negatives.iter().map(|&n| pair(n, false))).collect()
    }
    fn list(&self, mined: &Mined, positive: (u32, f32)) -> Value {
        let all = [&[positive], &mined.negatives[..]].concat();
        let texts: Value = all.iter().map(|&(label, _)| self.text(label)).collect();
        match self.scores {
            true => json!({"anchor": self.anchor(mined), "documents": texts, "scores": numbers(&all)}),
            false => {
                let labels: Value = (0..all.len()).map(|i| u8::from(i == 0)).collect();
                json!({"anchor": self.anchor(mined), "documents": texts, "labels": labels})
            }
        }
    }
    fn passages(&self, mined: &Mined) -> Value {
        let passage = |&(label, score): &(u32, f32)| {
            let i = label as usize;
            // A text without a title was read as one without a content.
            let (title, text) = match (self.labels.title(i), self.labels.content(i)) {
                (title, "") => ("", title),
                both => both,
            };
            let mut passage = json!({"docid": self.labels.uid(i), "title": title, "text": text});
            if self.scores {
                passage["score"] = number(score);
            }
            passage
        };
        json!({
            "query_id": self.queries.uid(mined.query as usize),
            "query": self.anchor(mined),
            "positive_passages": mined.positives.iter().map(passage).collect::<Value>(),
            "negative_passages": mined.negatives.iter().map(passage).collect::<Value>(),
        })
    }
    fn texts(&self, mined: &Mined) -> Value {
        let texts = |labels: &[(u32, f32)]| -> Value { labels.iter().map(|&(l, _)| self.text(l)).collect() };
        let (query, pos, neg) = (self.anchor(mined), texts(&mined.positives), texts(&mined.negatives));
        let mut line = json!({"query": query, "pos": pos, "neg": neg});
        if self.scores {
            line["pos_scores"] = numbers(&mined.positives);
            line["neg_scores"] = numbers(&mined.negatives);
        }
        line
    }
}

fn numbers(labels: &[(u32, f32)]) -> Value {
    labels.iter().map(|&(_, score)| number(score)).collect()
}

/// Through its own shortest digits: an f64 of the same value would be written with more.
fn number(score: f32) -> Value {
    score.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
