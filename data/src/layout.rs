//! What stands where in a data set file. The one place that writes and reads these names.
//!
//! ```text
//! meta  u8  JSON: Meta                     tokenizer  u8  a tokenizer.json
//! T.tokens u16|u32, T.starts u64           T = train, test, label; text i: starts[i]..starts[i+1]
//! T.titles u8, T.title_starts u64          UTF-8
//! T.contents u8, T.content_starts u64      UTF-8, what follows the title of a text; absent when nothing does
//! T.uids u8, T.uid_starts u64              UTF-8
//! S.positives u32, S.positive_starts u64   S = train, test; labels of query i, ascending
//! S.relevance f32                          beside S.positives; absent when all are 1
//! S.filtered u32, S.filtered_starts u64    labels left out of query i's ranking; absent when there are none
//! label.queries u32, label.query_starts    train.positives transposed: training queries of label i
//! ```

use crate::prompts::Prompts;
use crate::summary::Summary;
use serde::{Deserialize, Serialize};

/// The kind of container that a data set is.
pub(crate) const KIND: &str = "dataset";
/// Raised when sections change their meaning.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const META: &str = "meta";
pub(crate) const TOKENIZER: &str = "tokenizer";
pub(crate) const TABLES: [&str; 3] = ["train", "test", "label"];
pub(crate) const LABEL_QUERIES: &str = "label.queries";
pub(crate) const LABEL_QUERY_STARTS: &str = "label.query_starts";

/// The section `field` of table `table`.
pub(crate) fn section(table: &str, field: &str) -> String {
    format!("{table}.{field}")
}

/// True when token ids of this vocabulary fit 16 bits.
pub(crate) fn is_narrow(vocabulary: usize) -> bool {
    vocabulary <= 1 << 16
}

/// What is said of the whole data set.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) format: u32,
    /// Last part of the source's path.
    pub(crate) source: String,
    pub(crate) max_len: usize,
    pub(crate) vocabulary: usize,
    pub(crate) train: usize,
    pub(crate) test: usize,
    pub(crate) labels: usize,
    /// Whether titles and contents are all of the texts: files of before contents were kept do not say so.
    #[serde(default)]
    pub(crate) whole_texts: bool,
    /// What stands before each text in its tokens, and nowhere else.
    #[serde(default, skip_serializing_if = "Prompts::is_empty")]
    pub(crate) prompts: Prompts,
    /// Hash of all other sections, in hexadecimal: JSON numbers are no 64-bit integers everywhere.
    pub(crate) fingerprint: String,
    pub(crate) summary: Summary,
}
