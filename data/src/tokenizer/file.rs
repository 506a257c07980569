//! Reading tokenizers from files that may be damaged or hostile. What the library trusts is checked here
//! first.

use super::guard::guarded;
use super::vocabulary::{self, BertText};
use super::{BYTES_MAX, Tokenizer};
use engine::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tokenizers::ModelWrapper;

/// Reads `tokenizer.json`, or else `vocab.txt` with `tokenizer_config.json`.
pub(super) fn read_dir(dir: &Path) -> Result<Tokenizer> {
    let (json, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
    if json.exists() {
        return parse(&read_limited(&json)?, &json);
    }
    if vocab.exists() {
        let config = dir.join("tokenizer_config.json");
        let text = if config.exists() { bert_text(&config)? } else { BertText::default() };
        return vocabulary::read(&read_limited(&vocab)?, text, &vocab);
    }
    let missing = Error::input("no tokenizer: neither tokenizer.json nor vocab.txt is there").at(dir);
    Err(missing.help("give a model directory, or train a vocabulary with --train-vocab N"))
}

fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    check_size(&bytes, path)?;
    Ok(bytes)
}

fn check_size(bytes: &[u8], path: &Path) -> Result<()> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::input(format!("larger than {} MiB, no tokenizer is", BYTES_MAX >> 20)).at(path));
    }
    Ok(())
}

/// The few fields of `tokenizer_config.json` that say how a `vocab.txt` wants its text.
#[derive(Deserialize)]
struct Config {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

fn bert_text(path: &Path) -> Result<BertText> {
    let config: Config = serde_json::from_slice(&read_limited(path)?).map_err(|e| malformed(&e, path))?;
    let plain = BertText::default();
    Ok(BertText {
        lowercase: config.do_lower_case.unwrap_or(plain.lowercase),
        strip_accents: config.strip_accents,
        split_chinese: config.tokenize_chinese_chars.unwrap_or(plain.split_chinese),
    })
}

fn malformed(e: &serde_json::Error, path: &Path) -> Error {
    Error::input(format!("not the JSON of a tokenizer: {e}")).at_line(
        path,
        e.line() as u64,
        Some(e.column() as u64),
    )
}

/// The parts of a `tokenizer.json` that the library takes on trust.
#[derive(Deserialize)]
struct Trusted {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    post_processor: Value,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

/// Reads the contents of a `tokenizer.json`; `path` is for error messages.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Tokenizer> {
    check_size(bytes, path)?;
    // The library panics at what is no text, in a part of the file that nothing here looks at.
    if let Err(e) = std::str::from_utf8(bytes) {
        let e = Error::input(format!("invalid UTF-8 at byte {}", e.valid_up_to())).at(path);
        return Err(e.help("the file is damaged; fetch it again"));
    }
    let trusted: Trusted = serde_json::from_slice(bytes).map_err(|e| malformed(&e, path))?;
    check_templates(&trusted.post_processor).map_err(|e| e.at(path))?;
    let inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(|e| e.at(path))?;
    for added in &trusted.added_tokens {
        let given = inner.token_to_id(&added.content);
        if given != Some(added.id) {
            let given = given.map_or("none".to_owned(), |id| id.to_string());
            let why = format!(
                "added token `{}` has id {}, the vocabulary gives it {given}",
                added.content, added.id
            );
            return Err(Error::input(why).at(path).help("ids must be those of the model's embedding rows"));
        }
    }
    check_unknown(&inner).map_err(|e| e.at(path))?;
    let tokens = dense(&inner).map_err(|e| e.at(path))?;
    Tokenizer::assemble(inner, tokens).map_err(|e| e.at(path))
}

/// A template may name special tokens that it does not define, or a second text: the library would panic.
fn check_templates(processor: &Value) -> Result<()> {
    for inner in processor.get("processors").and_then(Value::as_array).into_iter().flatten() {
        check_templates(inner)?;
    }
    if processor.get("type").and_then(Value::as_str) != Some("TemplateProcessing") {
        return Ok(());
    }
    for piece in processor.get("single").and_then(Value::as_array).into_iter().flatten() {
        if let Some(token) = piece.pointer("/SpecialToken/id").and_then(Value::as_str)
            && processor.get("special_tokens").and_then(|t| t.get(token)).is_none()
        {
            return Err(Error::input(format!("the template uses `{token}` without defining it")));
        }
        if piece.pointer("/Sequence/id").and_then(Value::as_str) == Some("B") {
            return Err(Error::input("the template for one text asks for a second"));
        }
    }
    Ok(())
}

/// WordPiece without its unknown token fails at the first strange character, which may come after hours.
fn check_unknown(inner: &tokenizers::Tokenizer) -> Result<()> {
    match inner.get_model() {
        ModelWrapper::WordPiece(model) if inner.token_to_id(&model.unk_token).is_none() => {
            Err(Error::input(format!("the unknown token `{}` is not in the vocabulary", model.unk_token)))
        }
        _ => Ok(()),
    }
}

/// The tokens in the order of their ids, if these are exactly `0..n`.
fn dense(inner: &tokenizers::Tokenizer) -> Result<Vec<String>> {
    let mut pairs: Vec<(u32, String)> = inner.get_vocab(true).into_iter().map(|(t, id)| (id, t)).collect();
    pairs.sort_unstable();
    if pairs.is_empty() {
        return Err(Error::input("the vocabulary is empty"));
    }
    for (want, (id, token)) in pairs.iter().enumerate() {
        if *id as usize != want {
            let why = if (*id as usize) < want {
                format!("id {id} belongs to `{}` and to `{token}`", pairs[want - 1].1)
            } else {
                format!("no token has id {want}, but `{token}` has id {id}")
            };
            return Err(Error::input(why)
                .help("ids must be 0, 1, 2, … without gaps, as the rows of an embedding are"));
        }
    }
    Ok(pairs.into_iter().map(|(_, token)| token).collect())
}
