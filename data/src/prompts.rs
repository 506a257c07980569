//! What stands before a text and tells an encoder what it reads: a query, or a label.
//!
//! Encoders that were trained behind prompts (`query: `, `passage: `) embed worse without them. The tokens of a data
//! set are those of its texts behind the prompts with which it was prepared, so whoever trains, embeds or measures
//! reads them without knowing; titles stay what they are, for people and for BM25.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The prompts of a data set; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// Before each query.
    pub query: String,
    /// Before each label.
    pub label: String,
}

impl Prompts {
    /// True when nothing stands before any text.
    pub fn is_empty(&self) -> bool {
        self.query.is_empty() && self.label.is_empty()
    }
    /// Before a query, before a label.
    pub fn both(&self) -> [&str; 2] {
        [&self.query, &self.label]
    }
    /// A query behind its prompt.
    pub fn before_query<'a>(&self, text: &'a str) -> Cow<'a, str> {
        before(&self.query, text.into())
    }
    /// A label behind its prompt.
    pub fn before_label<'a>(&self, text: &'a str) -> Cow<'a, str> {
        before(&self.label, text.into())
    }
}

/// A text behind a prompt. What has no text has no prompt either: it stays what says nothing.
pub(crate) fn before<'a>(prompt: &str, text: Cow<'a, str>) -> Cow<'a, str> {
    match prompt.is_empty() || text.is_empty() {
        true => text,
        false => Cow::Owned(format!("{prompt}{text}")),
    }
}
