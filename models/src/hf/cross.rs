//! A cross-encoder's directory in: `config.json`, `model.safetensors`, and which activation its numbers want.

use super::read::{folder_exists, load};
use super::weights::Weights;
use super::{config, json};
use crate::architecture::Architecture;
use crate::bert::names::Names;
use crate::cross::{CrossEncoder, has_head, layout};
use autograd::{Params, Pool};
use engine::{Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a directory held.
#[derive(Clone)]
pub struct CrossImport {
    /// The model; its numbers are in `params`.
    pub model: CrossEncoder,
    /// The numbers.
    pub params: Params,
    /// Where `tokenizer.json` or `vocab.txt` lies.
    pub tokenizer_folder: PathBuf,
    /// Whether a number becomes a probability by a sigmoid before it is a score.
    pub sigmoid: bool,
}

/// The files that name an activation, and under which keys, the newest first.
#[derive(Deserialize)]
struct Activation {
    activation_fn: Option<String>,
    sentence_transformers: Option<Inner>,
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Deserialize)]
struct Inner {
    activation_fn: Option<String>,
}

impl std::fmt::Debug for CrossImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CrossImport { model, params, sigmoid, .. } = self;
        write!(f, "CrossImport({:?}, {} numbers, sigmoid {sigmoid})", model.config(), params.count())
    }
}

/// Reads the directory of a cross-encoder with one number: BERT or RoBERTa.
///
/// # Errors
/// `Input` with file and tensor for whatever is missing, misshapen, of an unknown kind, or not finite: a plain encoder,
/// which has no head, among them.
pub fn read_cross(dir: &Path) -> Result<CrossImport> {
    folder_exists(dir)?;
    let file = dir.join("config.json");
    let facts = match config::transformer(&file, Pool::First, false)? {
        Architecture::Bert(facts) if has_head(facts.family) => facts,
        other => {
            let family = match other {
                Architecture::Bert(facts) => format!("{:?}", facts.family).to_lowercase(),
                _ => "modernbert".to_owned(),
            };
            let e =
                Error::input(format!("a cross-encoder of the family {family} is not supported")).at(&file);
            return Err(e.help("supported are bert, roberta and xlm-roberta"));
        }
    };
    let sigmoid = sigmoid(dir, &file)?;
    let weights = Weights::read(dir)?;
    let entries = layout(&facts);
    let prefix = Some(Names::of(facts.family).prefix);
    let (params, _) = load(&weights, &entries, prefix).map_err(|e| {
        e.help("a cross-encoder has `…ForSequenceClassification` in config.json, and one label")
    })?;
    let model = CrossEncoder::new(facts, &params);
    Ok(CrossImport { model, params, tokenizer_folder: dir.to_owned(), sigmoid })
}

/// A sigmoid, unless a file says that raw numbers are wanted.
fn sigmoid(dir: &Path, config: &Path) -> Result<bool> {
    let files = [dir.join("config_sentence_transformers.json"), config.to_owned()];
    for path in files {
        let Some(found) = json::read_if_there::<Activation>(&path)? else { continue };
        let inner = found.sentence_transformers.and_then(|inner| inner.activation_fn);
        let Some(name) = found.activation_fn.or(inner).or(found.sbert_ce_default_activation_function) else {
            continue;
        };
        return match name.rsplit('.').next() {
            Some("Identity") => Ok(false),
            Some("Sigmoid") => Ok(true),
            _ => Err(Error::input(format!("the activation `{name}` of a cross-encoder is not supported"))
                .at(&path)
                .help("supported are Sigmoid and Identity")),
        };
    }
    Ok(true)
}
