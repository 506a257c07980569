//! A list of word pieces becomes the `tokenizer.json` that it stands for, so that there is one way in.

use super::{Tokenizer, file};
use engine::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// The tokens that BERT's text never spells, in the order in which a trained vocabulary starts.
pub(crate) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// How BERT's normaliser treats text before it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BertText {
    /// Lower-case the text.
    pub lowercase: bool,
    /// Remove accents; `None` does so exactly when it lower-cases.
    pub strip_accents: Option<bool>,
    /// Treat each CJK ideograph as a word.
    pub split_chinese: bool,
}

impl Default for BertText {
    fn default() -> BertText {
        BertText { lowercase: true, strip_accents: None, split_chinese: true }
    }
}

/// Reads a `vocab.txt`: one piece a line, the id is the line's number from 0.
pub(super) fn read(bytes: &[u8], text: BertText, path: &Path) -> Result<Tokenizer> {
    let lines = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count() as u64 + 1;
        Error::input("invalid UTF-8").at_line(path, line, None)
    })?;
    let pieces: Vec<String> = lines.lines().map(str::to_owned).collect();
    build(&pieces, text, Some(path))
}

/// Makes the tokenizer of `pieces`; `path`, if any, is the `vocab.txt` they come from.
pub(super) fn build(pieces: &[String], text: BertText, path: Option<&Path>) -> Result<Tokenizer> {
    let path = path.unwrap_or(Path::new("vocab.txt"));
    let mut ids: HashMap<&str, usize> = HashMap::with_capacity(pieces.len());
    for (id, piece) in pieces.iter().enumerate() {
        let line = id as u64 + 1;
        if piece.is_empty() {
            return Err(Error::input("an empty line is no word piece").at_line(path, line, None));
        }
        if let Some(first) = ids.insert(piece, id) {
            let why = format!("`{piece}` stands already in line {}", first + 1);
            return Err(Error::input(why).at_line(path, line, None).help("each word piece has one line"));
        }
    }
    for needed in ["[UNK]", "[CLS]", "[SEP]"] {
        if !ids.contains_key(needed) {
            let help = "a BERT vocabulary has [UNK], [CLS] and [SEP]";
            return Err(Error::input(format!("`{needed}` is missing")).at(path).help(help));
        }
    }
    let json = tokenizer_json(pieces, &ids, text);
    file::parse(json.to_string().as_bytes(), path)
}

fn tokenizer_json(pieces: &[String], ids: &HashMap<&str, usize>, text: BertText) -> Value {
    let mut special: Vec<(usize, &str)> = SPECIAL.iter().filter_map(|t| Some((*ids.get(t)?, *t))).collect();
    special.sort_unstable();
    let added: Vec<Value> = special
        .iter()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let vocab: Map<String, Value> = pieces.iter().enumerate().map(|(id, p)| (p.clone(), id.into())).collect();
    let define = |token: &str| json!({"id": token, "ids": [ids[token]], "tokens": [token]});
    let token = |id: &str, kind: u32| json!({"SpecialToken": {"id": id, "type_id": kind}});
    let sequence = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
                       "handle_chinese_chars": text.split_chinese,
                       "strip_accents": text.strip_accents, "lowercase": text.lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0),
                     sequence("B", 1), token("[SEP]", 1)],
            "special_tokens": {"[CLS]": define("[CLS]"), "[SEP]": define("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    })
}
