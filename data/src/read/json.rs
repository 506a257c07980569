//! One JSON object a line: the fields of the repositories, and ours.

use crate::build::{Text, Uid};
use crate::lines::Line;
use engine::Result;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use std::fmt;

const HELP: &str = r#"one object a line, such as {"uid": "q1", "title": "some text", "target_ind": [0, 7]}"#;

/// A row with all the names that its fields go by. Unknown fields are ignored.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
pub(crate) struct Row {
    uid: Option<Id>,
    id: Option<Id>,
    _id: Option<Id>,
    title: Option<String>,
    text: Option<String>,
    content: Option<String>,
    pub(crate) target_ind: Option<Vec<i64>>,
    pub(crate) target_rel: Option<Vec<f64>>,
    pub(crate) labels: Option<Vec<Id>>,
}

impl Row {
    /// Parses a line.
    ///
    /// # Errors
    /// `Kind::Input` with the column, when it is no JSON or a field has the wrong type.
    pub(crate) fn parse(line: &Line) -> Result<Row> {
        if line.text.trim_start().starts_with('[') {
            // The library would take an array for an object whose fields come in order.
            return Err(line.error("a JSON array, an object was expected").help(HELP));
        }
        serde_json::from_str(line.text).map_err(|e| invalid(line, &e))
    }
    /// The uid as text.
    ///
    /// # Errors
    /// `Kind::Input` when there is none, or it is neither text nor number.
    pub(crate) fn uid(&self, line: &Line) -> Result<String> {
        let value = self.uid.as_ref().or(self.id.as_ref()).or(self._id.as_ref());
        let Id(name) = value.ok_or_else(|| line.error("the row has no `uid` (or `id`, or `_id`)"))?;
        Ok(name.clone())
    }
    /// The row's text, under `uid`. `None` when it has no field for text at all.
    pub(crate) fn text<'a>(&'a self, uid: &'a str) -> Option<Text<'a>> {
        let content = self.content.as_deref().or(self.text.as_deref());
        if self.title.is_none() && content.is_none() {
            return None;
        }
        let title = self.title.as_deref().unwrap_or_default();
        Some(Text { uid: Uid::Given(uid), title, content: content.unwrap_or_default() })
    }
}

/// An id, which some write as text and some as a number. Nothing else is kept: a line of brackets would grow to a tree
/// of many times its size.
pub(crate) struct Id(pub(crate) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Id, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, which is text or a number")
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Id, E> {
                Ok(Id(text.to_owned()))
            }
            fn visit_u64<E>(self, number: u64) -> std::result::Result<Id, E> {
                Ok(Id(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> std::result::Result<Id, E> {
                Ok(Id(number.to_string()))
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> std::result::Result<Id, E> {
                // As it is written in JSON: 2.0, not 2.
                Number::from_f64(number)
                    .map(|n| Id(n.to_string()))
                    .ok_or_else(|| E::custom("an id is not finite"))
            }
        }
        deserializer.deserialize_any(Name)
    }
}

pub(crate) fn invalid(line: &Line, e: &serde_json::Error) -> engine::Error {
    let at = e.column().saturating_sub(1);
    let whole = e.to_string();
    let why = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(why, _)| why);
    let around = line.text.as_bytes().get(at.saturating_sub(2)..).unwrap_or_default();
    let around = &around[..around.len().min(12)];
    let not_a_number = |word: &[u8]| around.windows(word.len()).any(|w| w == word);
    if line.text.trim().is_empty() {
        return line.error("an empty line, a JSON object was expected").help("delete the line");
    }
    if e.is_syntax() && (not_a_number(b"NaN") || not_a_number(b"Infinity")) {
        let e = line.error_at(at, "invalid JSON: NaN and Infinity are no JSON numbers");
        return e.help("a relevance has to be a number that is not negative");
    }
    let message = match e.classify() {
        serde_json::error::Category::Data => format!("unexpected field: {why}"),
        _ => format!("invalid JSON: {why}"),
    };
    line.error_at(at.min(line.text.len()), message).help(HELP)
}
