//! A directory out: complete and on the disk before it gets its name, or not there at all.

use super::card::Card;
use super::tokenizer::Tokenizer;
use super::{config, modernbert, modules, prompts, weights};
use crate::architecture::Architecture;
use autograd::{Params, Pool};
use engine::{Error, Kind, Result};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What an export needs.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// What the encoder is.
    pub architecture: &'a Architecture,
    /// Its numbers; others may stand among them.
    pub params: &'a Params,
    /// The length at which texts are cut, special tokens included.
    pub tokens_max: usize,
    /// The text of `tokenizer.json`.
    pub tokenizer_json: &'a [u8],
    /// What stands before a query and before a label; empty for nothing.
    pub prompts: [&'a str; 2],
    /// Whether the tokens of these prompts are pooled with those of their texts.
    pub pools_prompts: bool,
    /// What `README.md` says.
    pub card: &'a Card,
}

/// Everything that an export puts at the top of its directory.
const OURS: [&str; 15] = [
    "0_LatentAttention",
    "0_StaticEmbedding",
    "1_Normalize",
    "1_Pooling",
    "2_Normalize",
    "README.md",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// The file by which an export knows an earlier one.
pub(super) const MARKED: &str = "config_sentence_transformers.json";

/// Writes a directory that sentence-transformers loads, and [`super::read`]; with a latent attention, which
/// sentence-transformers has not, the latter alone. A previous export of that name
/// is replaced; it is known by `__version__.lode` in `config_sentence_transformers.json` and by holding
/// nothing else.
///
/// # Errors
/// `Refused` if the directory holds anything else than a previous export, `Input` if the tokenizer does not
/// fit the model, `Io` if the disk does not take it. Nothing is left behind.
///
/// # Panics
/// If a parameter of the architecture is not among the parameters.
pub fn write(export: &Export<'_>, dir: &Path) -> Result<()> {
    let tokenizer = Tokenizer::parse(export.tokenizer_json, export.architecture.vocab())?;
    replace(dir, |dir| match export.architecture {
        Architecture::Bert(c) => {
            transformer(export, (config::write(c), c.pooling, c.normalise), &tokenizer, dir)
        }
        Architecture::ModernBert(c) => {
            transformer(export, (modernbert::write(c), c.pooling, c.normalise), &tokenizer, dir)
        }
        Architecture::Bag(config) => bag(export, config, &tokenizer, dir),
    })
}

/// Gives a directory that `fill` writes its name, in the place of a previous export.
pub(super) fn replace(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    refuse_what_is_not_ours(dir)?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = dir.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::input("this is no name for a new directory").at(dir));
    };
    let partial = Partial(parent.join(format!(".{name}.partial")));
    let previous = parent.join(format!(".{name}.previous"));
    remove(&partial.0)?;
    remove(&previous)?;
    create(&partial.0)?;
    fill(&partial.0)?;
    sync(&partial.0)?;
    let replaces = dir.exists();
    if replaces {
        rename(dir, &previous)?;
    }
    rename(&partial.0, dir).inspect_err(|_| {
        if replaces {
            // The new one could not take the name, so the old one gets it back; the first error is the one to
            // report.
            let _ = fs::rename(&previous, dir);
        }
    })?;
    sync(parent)?;
    remove(&previous)
}

/// A directory that is removed unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing is there after the rename; and a failure to clean up must not hide the error that led here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refuse_what_is_not_ours(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(dir, e)),
        Ok(entries) => entries,
    };
    let refused = |why: String| {
        let help = "name a directory that does not exist, or remove this one";
        Err(Error::new(Kind::Refused, why).at(dir).help(help))
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|e| Error::io(dir, e))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    if let Some(name) = names.iter().find(|name| !OURS.contains(&name.as_str())) {
        return refused(format!(
            "the directory is not empty and holds `{name}`, which is no part of an export"
        ));
    }
    let marked: Option<Value> =
        fs::read(dir.join(MARKED)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if marked.is_none_or(|json| json["__version__"]["lode"].is_null()) {
        return refused("the directory is not empty and was not exported by Lode".into());
    }
    Ok(())
}

fn transformer(
    export: &Export<'_>,
    (config, how, normalise): (Value, Pool, bool),
    tokenizer: &Tokenizer,
    dir: &Path,
) -> Result<()> {
    let mut parts = vec![("Transformer", "")];
    if let Some(latents) = export.architecture.latents() {
        let folder = dir.join("0_LatentAttention");
        create(&folder)?;
        put_json(&folder, "config.json", &modules::write_latents(latents))?;
        sync(&folder)?;
        parts.push((modules::LATENT_ATTENTION, "0_LatentAttention"));
    }
    parts.push(("Pooling", "1_Pooling"));
    if normalise {
        parts.push(("Normalize", "2_Normalize"));
    }
    shared(export, &parts, dir)?;
    put_json(dir, "config.json", &config)?;
    words(tokenizer, export.architecture, export.tokens_max, dir)?;
    let pooling = dir.join("1_Pooling");
    create(&pooling)?;
    put_json(
        &pooling,
        "config.json",
        &modules::write_pooling(how, export.architecture.width(), export.pools_prompts),
    )?;
    sync(&pooling)?;
    put_weights(export, dir)
}

/// The files of the tokenizer of a transformer.
pub(super) fn words(
    tokenizer: &Tokenizer,
    architecture: &Architecture,
    tokens_max: usize,
    dir: &Path,
) -> Result<()> {
    put_json(dir, "tokenizer.json", &tokenizer.json(None))?;
    put_json(dir, "tokenizer_config.json", &tokenizer.config(architecture, tokens_max)?)?;
    put_json(dir, "special_tokens_map.json", &Value::Object(tokenizer.special_tokens()?))?;
    tokenizer.vocab_txt().map_or(Ok(()), |vocab| put(dir, "vocab.txt", vocab.as_bytes()))
}

fn bag(export: &Export<'_>, config: &crate::bag::Config, tokenizer: &Tokenizer, dir: &Path) -> Result<()> {
    let mut parts = vec![("StaticEmbedding", "0_StaticEmbedding")];
    if config.normalise {
        parts.push(("Normalize", "1_Normalize"));
    }
    shared(export, &parts, dir)?;
    let folder = dir.join("0_StaticEmbedding");
    create(&folder)?;
    // A static embedding makes no special tokens and follows the truncation of this file: the two that a bag
    // leaves out are not counted.
    put_json(&folder, "tokenizer.json", &tokenizer.json(Some(export.tokens_max.saturating_sub(2).max(1))))?;
    put_weights(export, &folder)?;
    sync(&folder)
}

/// What both kinds have.
fn shared(export: &Export<'_>, parts: &[(&str, &str)], dir: &Path) -> Result<()> {
    let width = export.architecture.width();
    put(
        dir,
        "README.md",
        export
            .card
            .text((width, export.tokens_max), export.architecture.latents(), export.prompts)
            .as_bytes(),
    )?;
    put_json(dir, "modules.json", &modules::write(parts))?;
    for (_, folder) in parts.iter().filter(|(class, _)| *class == "Normalize") {
        let folder = dir.join(folder);
        create(&folder)?;
        put_json(&folder, "config.json", &json!({}))?;
        sync(&folder)?;
    }
    let limit = json!({ "max_seq_length": export.tokens_max, "do_lower_case": false });
    put_json(dir, "sentence_bert_config.json", &limit)?;
    let marked = json!({
        // The release whose files these are like; the second key is how an export knows an earlier one.
        "__version__": { "sentence_transformers": "3.0.0", "lode": env!("CARGO_PKG_VERSION") },
        "prompts": prompts::object(export.prompts),
        "default_prompt_name": null,
        "similarity_fn_name": "cosine",
    });
    put_json(dir, MARKED, &marked)
}

fn put_weights(export: &Export<'_>, dir: &Path) -> Result<()> {
    let same = |name: String| (name.clone(), name);
    let names: Vec<_> = export.architecture.layout().into_iter().map(|entry| same(entry.name)).collect();
    weights::write(&dir.join("model.safetensors"), export.params, &names)
}

pub(super) fn put_json(dir: &Path, name: &str, json: &Value) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(json).expect("a JSON value can be written");
    text.push(b'\n');
    put(dir, name, &text)
}

/// Writes a file and waits for the disk.
pub(super) fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let fail = |e| Error::io(&path, e);
    let mut file = File::create(&path).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn create(dir: &Path) -> Result<()> {
    fs::create_dir(dir).map_err(|e| Error::io(dir, e))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io(to, e))
}

/// Waits until the entries of a directory are on the disk.
fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::io(dir, e))
}

/// Removes a directory of ours that an interrupted export left behind, if there is one.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(dir, e)),
        _ => Ok(()),
    }
}
