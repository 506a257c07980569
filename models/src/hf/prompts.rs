//! The prompts of a sentence-transformers directory: `prompts` of `config_sentence_transformers.json`.

use super::write::MARKED;
use super::{json, modules};
use engine::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The names that sentence-transformers looks up for documents, the first one first.
const LABEL: [&str; 3] = ["document", "passage", "corpus"];

/// What stands before the texts that a model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    /// Before a query; empty for nothing.
    pub query: String,
    /// Before a label: what sentence-transformers calls a document.
    pub label: String,
    /// Whether the tokens of a prompt are pooled with those of its text (`include_prompt` of the pooling).
    pub pooled: bool,
}

/// The prompts of a model directory, which need have none.
///
/// # Errors
/// `Input` if one of its files cannot be read, or a prompt is no text.
pub fn prompts(dir: &Path) -> Result<Prompts> {
    let path = dir.join(MARKED);
    let keys: Map<String, Value> = json::read_if_there(&path)?.unwrap_or_default();
    let text = |name: &str| match keys.get("prompts").and_then(|all| all.get(name)) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Error::input(format!("the prompt `{name}` is no text")).at(&path)),
    };
    let mut label = String::new();
    for name in LABEL.into_iter().rev() {
        label = Some(text(name)?).filter(|text| !text.is_empty()).unwrap_or(label);
    }
    // Of a directory whose modules cannot be followed the tokenizer may be wanted all the same.
    let pooled = modules::read(dir).map_or(true, |modules| modules.pools_prompts);
    Ok(Prompts { query: text("query")?, label, pooled })
}

/// What is written: nothing where there is none.
pub(super) fn object([query, label]: [&str; 2]) -> Value {
    match query.is_empty() && label.is_empty() {
        true => json!({}),
        false => json!({ "query": query, LABEL[0]: label }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str) -> Result<Prompts> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(MARKED), config).expect("written");
        prompts(dir.path())
    }

    #[test]
    fn the_names_are_those_that_sentence_transformers_looks_up() {
        let found = |config: &str| of(config).map(|p| (p.query, p.label, p.pooled)).expect("read");
        let strings = |query: &str, label: &str| (query.to_owned(), label.to_owned(), true);
        let one = r#"{"prompts": {"query": "q: ", "passage": "p: ", "corpus": "c: "}, "default_prompt_name": null}"#;
        assert_eq!(found(one), strings("q: ", "p: "));
        let empty = r#"{"prompts": {"document": "", "corpus": "c: ", "query": null, "other": 3}}"#;
        assert_eq!(found(empty), strings("", "c: "));
        assert_eq!(found(r#"{"prompts": {"document": "d: ", "passage": "p: "}}"#), strings("", "d: "));
        assert_eq!(found(r#"{"prompts": {}}"#), strings("", ""));
        assert_eq!(found("{}"), strings("", ""));
        let wrong = of(r#"{"prompts": {"query": 3}}"#).expect_err("a number").to_string();
        assert!(wrong.contains("`query`") && wrong.contains(MARKED), "{wrong}");
        let nothing = tempfile::tempdir().expect("a directory");
        assert_eq!(prompts(nothing.path()).expect("none").query, "");
    }
}
