//! `tokenizer.json` on its way out, and the small files that older readers derive from it. Nothing is
//! tokenized here.

use crate::architecture::Architecture;
use crate::bert::Family;
use engine::{Error, Result};
use serde_json::{Map, Value, json};

/// A parsed `tokenizer.json`.
pub(super) struct Tokenizer {
    json: Map<String, Value>,
    /// The pieces of the model and of the added tokens, with their ids.
    pieces: Vec<(String, u64)>,
}

impl Tokenizer {
    /// Parses `tokenizer.json`.
    ///
    /// # Errors
    /// `Input` if it is not JSON, has no vocabulary, or an id is not below `vocab`, the rows of the token
    /// table.
    pub(super) fn parse(bytes: &[u8], vocab: usize) -> Result<Tokenizer> {
        let json: Map<String, Value> = serde_json::from_slice(bytes)
            .map_err(|e| Error::input(format!("the tokenizer is not JSON: {e}")))?;
        let mut pieces: Vec<(String, u64)> = match json.get("model").and_then(|model| model.get("vocab")) {
            Some(Value::Object(map)) => {
                map.iter().filter_map(|(piece, id)| Some((piece.clone(), id.as_u64()?))).collect()
            }
            Some(Value::Array(list)) => (0u64..)
                .zip(list)
                .filter_map(|(id, pair)| Some((pair.get(0)?.as_str()?.to_owned(), id)))
                .collect(),
            _ => return Err(Error::input("the tokenizer has no vocabulary")),
        };
        let added = json.get("added_tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for token in added {
            if let (Some(content), Some(id)) = (token["content"].as_str(), token["id"].as_u64()) {
                pieces.push((content.to_owned(), id));
            }
        }
        if let Some((piece, id)) = pieces.iter().find(|(_, id)| *id >= vocab as u64) {
            let message =
                format!("the tokenizer's piece {piece:?} has id {id}; the model has {vocab} token vectors");
            return Err(Error::input(message).help("model and tokenizer belong to each other"));
        }
        Ok(Tokenizer { json, pieces })
    }
    /// `tokenizer.json` without padding, truncated to `truncation` tokens or not at all.
    pub(super) fn json(&self, truncation: Option<usize>) -> Value {
        let mut json = self.json.clone();
        let cut = |n| json!({"direction": "Right", "max_length": n, "strategy": "LongestFirst", "stride": 0});
        json.insert("truncation".into(), truncation.map_or(Value::Null, cut));
        json.insert("padding".into(), Value::Null);
        Value::Object(json)
    }
    /// `vocab.txt`, one piece a line by id, for a WordPiece model without gaps.
    pub(super) fn vocab_txt(&self) -> Option<String> {
        let model = self.json.get("model")?;
        if model["type"] != "WordPiece" {
            return None;
        }
        let map = model["vocab"].as_object()?;
        let mut lines: Vec<Option<&str>> = vec![None; map.len()];
        for (piece, id) in map {
            *lines.get_mut(id.as_u64()? as usize)? =
                Some(piece).filter(|p| !p.contains(['\n', '\r'])).map(|p| p.as_str());
        }
        let lines: Option<Vec<&str>> = lines.into_iter().collect();
        lines.map(|lines| lines.join("\n") + "\n")
    }
    /// `special_tokens_map.json`.
    ///
    /// # Errors
    /// `Input` without a padding token: other software pads.
    pub(super) fn special_tokens(&self) -> Result<Map<String, Value>> {
        let roles = [
            ("unk_token", ["[UNK]", "<unk>"]),
            ("sep_token", ["[SEP]", "</s>"]),
            ("pad_token", ["[PAD]", "<pad>"]),
            ("cls_token", ["[CLS]", "<s>"]),
            ("mask_token", ["[MASK]", "<mask>"]),
        ];
        let there = |name: &&str| self.pieces.iter().any(|(piece, _)| piece == name);
        let mut found = Map::new();
        for (role, names) in roles {
            if let Some(name) = names.iter().find(|name| there(name)) {
                found.insert(role.into(), json!(name));
            }
        }
        if !found.contains_key("pad_token") {
            let help = "add one: sentence-transformers pads its batches";
            return Err(Error::input("the tokenizer has neither [PAD] nor <pad>").help(help));
        }
        Ok(found)
    }
    /// `tokenizer_config.json`. The class is the one that takes `tokenizer.json` as it stands.
    pub(super) fn config(&self, architecture: &Architecture, tokens_max: usize) -> Result<Value> {
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        config.insert("model_max_length".into(), json!(tokens_max));
        let normaliser = self.json.get("normalizer").unwrap_or(&Value::Null);
        if let Some(lower) = normaliser.get("lowercase") {
            config.insert("do_lower_case".into(), lower.clone());
        }
        let bert = matches!(architecture, Architecture::Bert(config) if config.family == Family::Bert);
        let inputs = if bert {
            json!(["input_ids", "token_type_ids", "attention_mask"])
        } else {
            json!(["input_ids", "attention_mask"])
        };
        config.insert("model_input_names".into(), inputs);
        config.extend(self.special_tokens()?);
        Ok(Value::Object(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, vocab: usize) -> Result<Tokenizer> {
        Tokenizer::parse(text.as_bytes(), vocab)
    }
    const TEXT: &str = r#"{"truncation":{"max_length":128},"padding":{"strategy":{"Fixed":128}},
        "added_tokens":[{"id":0,"content":"[PAD]"}],"normalizer":{"type":"BertNormalizer","lowercase":false},
        "model":{"type":"WordPiece","vocab":{"b":2,"[PAD]":0,"[UNK]":1}}}"#;

    #[test]
    fn padding_goes_and_truncation_is_as_told() {
        let tokenizer = parse(TEXT, 3).unwrap();
        let json = tokenizer.json(None);
        assert!(json["padding"].is_null() && json["truncation"].is_null());
        assert_eq!(tokenizer.json(Some(30))["truncation"]["max_length"], 30);
        assert_eq!(tokenizer.vocab_txt().unwrap(), "[PAD]\n[UNK]\nb\n");
    }

    #[test]
    fn a_vocabulary_with_a_gap_or_of_another_kind_has_no_text_form() {
        let gap = TEXT.replace("\"b\":2", "\"b\":3");
        assert_eq!(parse(&gap, 4).unwrap().vocab_txt(), None);
        let unigram = r#"{"model":{"type":"Unigram","vocab":[["<pad>",0.0],["<unk>",-1.0]]}}"#;
        let tokenizer = parse(unigram, 2).unwrap();
        assert_eq!(tokenizer.vocab_txt(), None);
        assert_eq!(tokenizer.special_tokens().unwrap()["pad_token"], "<pad>");
    }

    #[test]
    fn a_tokenizer_that_does_not_fit_the_model_is_refused() {
        let message = |text: &str, vocab| match parse(text, vocab).and_then(|t| t.special_tokens()) {
            Ok(_) => panic!("was accepted"),
            Err(e) => e.to_string(),
        };
        assert!(message(TEXT, 2).contains("piece \"b\" has id 2; the model has 2 token vectors"));
        assert!(message("{}", 2).contains("no vocabulary"));
        assert!(message("[", 2).contains("not JSON"));
        assert!(message(r#"{"model":{"vocab":{"a":0}}}"#, 2).contains("neither [PAD] nor <pad>"));
    }
}
