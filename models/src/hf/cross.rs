//! A cross-encoder's directory, in and out: `config.json`, `model.safetensors`, the tokenizer, and which activation its
//! numbers want.

use super::card::Card;
use super::read::{folder_exists, load};
use super::tokenizer::Tokenizer;
use super::weights::{self, Weights};
use super::write::{MARKED, put, put_json, replace, words};
use super::{config, json};
use crate::architecture::Architecture;
use crate::bert::Family;
use crate::bert::names::Names;
use crate::cross::{CrossEncoder, has_head, layout};
use autograd::{Params, Pool};
use engine::{Error, Result};
use serde::Deserialize;
use serde_json::json;
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

/// What the export of a cross-encoder needs.
#[derive(Clone, Copy)]
pub struct CrossExport<'a> {
    /// The model.
    pub model: &'a CrossEncoder,
    /// Its numbers.
    pub params: &'a Params,
    /// Whether a number becomes a probability by a sigmoid before it is a score.
    pub sigmoid: bool,
    /// The text of `tokenizer.json`.
    pub tokenizer_json: &'a [u8],
    /// What `README.md` says.
    pub card: &'a Card,
}

/// Writes a directory that `CrossEncoder` of sentence-transformers loads, `…ForSequenceClassification` of transformers,
/// and [`read_cross`]. A previous export of that name is replaced.
///
/// # Errors
/// As [`super::write`].
pub fn write_cross(export: &CrossExport<'_>, dir: &Path) -> Result<()> {
    let facts = export.model.config();
    let tokenizer = Tokenizer::parse(export.tokenizer_json, facts.vocab)?;
    let architecture = Architecture::Bert(facts.clone());
    let mut file = config::write(facts);
    let name = match facts.family {
        Family::Roberta => "RobertaForSequenceClassification",
        Family::XlmRoberta => "XLMRobertaForSequenceClassification",
        _ => "BertForSequenceClassification",
    };
    let activation = if export.sigmoid { "activation.Sigmoid" } else { "linear.Identity" };
    file["architectures"] = json!([name]);
    file["id2label"] = json!({ "0": "LABEL_0" });
    file["label2id"] = json!({ "LABEL_0": 0 });
    file["sentence_transformers"] =
        json!({ "activation_fn": format!("torch.nn.modules.{activation}"), "version": "4.0.0" });
    let marked = json!({
        "__version__": { "sentence_transformers": "4.0.0", "lode": env!("CARGO_PKG_VERSION") },
        "model_type": "CrossEncoder",
    });
    replace(dir, |dir| {
        put(dir, "README.md", export.card.text_of_cross(facts.tokens_max()).as_bytes())?;
        put_json(dir, "config.json", &file)?;
        put_json(dir, MARKED, &marked)?;
        words(&tokenizer, &architecture, facts.tokens_max(), dir)?;
        weights::write(&dir.join("model.safetensors"), export.params, &names_in_files(export.model))
    })
}

/// The names of all parameters, here and in files: those of the encoder have the prefix of its family there, and so
/// has BERT's dense layer of the head, but not RoBERTa's.
fn names_in_files(model: &CrossEncoder) -> Vec<(String, String)> {
    let prefix = Names::of(model.config().family).prefix;
    let in_file = |name: &str| match name.starts_with("classifier.") {
        true => name.to_owned(),
        false => format!("{prefix}{name}"),
    };
    layout(model.config()).into_iter().map(|entry| (entry.name.clone(), in_file(&entry.name))).collect()
}
