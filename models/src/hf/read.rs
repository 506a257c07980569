//! A directory in: facts, then names and shapes, then numbers.

use super::modules::{Kind, Modules};
use super::prompts::{Prompts, prompts};
use super::weights::Weights;
use super::{config, json, modules};
use crate::architecture::Architecture;
use crate::bag;
use crate::bert::names::Names;
use crate::layout::Entry;
use crate::model::Model;
use autograd::Params;
use engine::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a directory held.
#[derive(Clone, Debug)]
pub struct Import {
    /// The encoder and its numbers.
    pub model: Model,
    /// Where `tokenizer.json` or `vocab.txt` lies.
    pub tokenizer_folder: PathBuf,
    /// What stands before its texts.
    pub prompts: Prompts,
    /// Tensors of the file that the encoder has no use for: a pooler, heads, layers beyond those of
    /// `config.json`.
    pub unused: Vec<String>,
}

/// The length of texts where a static embedding does not say.
const STATIC_TOKENS: usize = 512;

/// Reads a model directory: the BERT family or ModernBERT with pooling and normalisation, or a static embedding.
///
/// # Errors
/// `Input` with file and tensor for whatever is missing, misshapen, of an unknown kind, or not finite.
pub fn read(dir: &Path) -> Result<Import> {
    folder_exists(dir)?;
    let modules = modules::read(dir)?;
    let weights = Weights::read(&modules.folder)?;
    let architecture = match modules.kind {
        Kind::Transformer => {
            let file = modules.folder.join("config.json");
            let plain = config::transformer(&file, modules.pooling, modules.normalise)?;
            modules.latents.and_then(|latents| plain.with_latents(latents, modules.pooling)).unwrap_or(plain)
        }
        Kind::Static => Architecture::Bag(static_config(&weights, &modules)?),
    };
    let prefix = match &architecture {
        Architecture::Bert(config) => Some(Names::of(config.family).prefix),
        Architecture::ModernBert(_) => Some("model."),
        Architecture::Bag(_) => None,
    };
    let (params, unused) = load(&weights, &architecture.layout(), prefix)?;
    let most = architecture.positions().unwrap_or(usize::MAX);
    let tokens_max = tokens_max(dir, &modules, most)?;
    let model = Model { architecture, params, tokens_max };
    Ok(Import { model, tokenizer_folder: modules.folder, prompts: prompts(dir)?, unused })
}

/// # Errors
/// If there is no such directory.
pub(super) fn folder_exists(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let source = match std::fs::metadata(dir) {
        Err(e) => e,
        Ok(_) => std::io::ErrorKind::NotADirectory.into(),
    };
    Err(Error::io(dir, source).help("a model is a directory with config.json and model.safetensors"))
}

/// Where a model directory has its tokenizer: a static embedding keeps it in a folder of its own. A directory whose
/// modules cannot be followed may still have one.
pub fn tokenizer_folder(dir: &Path) -> PathBuf {
    modules::read(dir).map_or_else(|_| dir.to_owned(), |modules| modules.folder)
}

fn static_config(weights: &Weights, modules: &Modules) -> Result<bag::Config> {
    let Some([vocab, width]) = weights.matrix("embedding.weight") else {
        let message = "the tensor `embedding.weight` is missing or is not a matrix";
        return Err(Error::input(message).at(weights.path()));
    };
    if !(1..=2_000_000).contains(&vocab) || !(1..=16_384).contains(&width) {
        let message =
            format!("the tensor `embedding.weight` has shape [{vocab}, {width}]; at most [2000000, 16384]");
        return Err(Error::input(message).at(weights.path()));
    }
    Ok(bag::Config { vocab, width, normalise: modules.normalise })
}

/// The names under which files have had this parameter: with the prefix of a model with a head, with the
/// names that layer norms had before 2018.
fn names_of(entry: &Entry, prefix: Option<&str>) -> Vec<String> {
    let mut names = vec![entry.name.clone()];
    if let Some((module, last)) = entry.name.rsplit_once('.')
        && module.ends_with("LayerNorm")
    {
        names.push(format!("{module}.{}", if last == "weight" { "gamma" } else { "beta" }));
    }
    if let Some(prefix) = prefix {
        names.extend(names.clone().iter().map(|name| format!("{prefix}{name}")));
    }
    names
}

/// Checks every name and shape first, then takes the numbers; gives also the names that nobody asked for.
pub(super) fn load(
    weights: &Weights,
    layout: &[Entry],
    prefix: Option<&str>,
) -> Result<(Params, Vec<String>)> {
    for entry in layout {
        weights.find(&names_of(entry, prefix), entry.shape)?;
    }
    let (mut params, mut used) = (Params::default(), BTreeSet::new());
    for entry in layout {
        let (name, value) = weights.tensor(&names_of(entry, prefix), entry.shape)?;
        entry.add(&mut params, value);
        used.insert(name);
    }
    Ok((params, weights.names().difference(&used).cloned().collect()))
}

#[derive(Deserialize)]
struct Limit {
    max_seq_length: Option<f64>,
    /// A float, because "no limit" is written as 1e30.
    model_max_length: Option<f64>,
}

/// Where texts are cut: the first file that says so, and never behind the last position.
fn tokens_max(dir: &Path, modules: &Modules, most: usize) -> Result<usize> {
    let files = [dir.join("sentence_bert_config.json"), modules.folder.join("tokenizer_config.json")];
    for path in files {
        let limit = json::read_if_there::<Limit>(&path)?
            .and_then(|file| file.max_seq_length.or(file.model_max_length));
        match limit {
            Some(tokens) if tokens < 2.0 => {
                return Err(Error::input(format!("a maximum length of {tokens} tokens")).at(&path));
            }
            Some(tokens) if tokens < 1e6 => return Ok((tokens as usize).min(most)),
            _ => {}
        }
    }
    Ok(if most == usize::MAX { STATIC_TOKENS } else { most })
}
