//! `modules.json` and the folders that it names: what follows the transformer, and which kind of model this
//! is.

use super::config::sized;
use super::json;
use crate::latent;
use autograd::Pool;
use engine::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Component, Path, PathBuf};

/// What a sentence-transformers directory says about its modules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Modules {
    pub(super) kind: Kind,
    /// The folder of the first module: weights and tokenizer.
    pub(super) folder: PathBuf,
    pub(super) latents: Option<latent::Config>,
    pub(super) pooling: Pool,
    /// Whether the tokens of a prompt are pooled, too.
    pub(super) pools_prompts: bool,
    pub(super) normalise: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Transformer,
    Static,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    class: String,
    path: String,
}

impl Modules {
    fn plain(kind: Kind, folder: PathBuf) -> Modules {
        Modules { kind, folder, latents: None, pooling: Pool::Mean, pools_prompts: true, normalise: false }
    }
}

/// The class that stands between a transformer and its pooling in a model with a latent attention. It is ours:
/// sentence-transformers has none.
pub(super) const LATENT_ATTENTION: &str = "LatentAttention";

#[derive(Deserialize)]
struct Latents {
    latents: Option<u64>,
    heads: Option<u64>,
    channels: Option<u64>,
}

/// What a latent attention is, within limits.
fn latents(path: &Path) -> Result<latent::Config> {
    let file: Latents = json::read(path)?;
    Ok(latent::Config {
        latents: sized(path, "latents", file.latents, 1, 65_536)?,
        heads: sized(path, "heads", file.heads, 1, 1024)?,
        channels: sized(path, "channels", file.channels, 1, 16_384)?,
    })
}

/// `config.json` of a latent attention.
pub(super) fn write_latents(config: latent::Config) -> Value {
    json!({ "latents": config.latents, "heads": config.heads, "channels": config.channels })
}

/// Reads `modules.json`. Without it a directory is a plain transformer: mean pooling and no normalisation, as
/// sentence-transformers has it.
pub(super) fn read(dir: &Path) -> Result<Modules> {
    let path = dir.join("modules.json");
    let Some(list) = json::read_if_there::<Vec<Module>>(&path)? else {
        return Ok(Modules::plain(Kind::Transformer, dir.to_owned()));
    };
    let mut found: Option<Modules> = None;
    let mut pooled = false;
    for (i, module) in list.iter().enumerate() {
        // The module paths of releases differ; the class name is the same in all.
        let class = module.class.rsplit('.').next().unwrap_or_default();
        let folder = inside(dir, &path, &module.path)?;
        match (class, &mut found) {
            ("Transformer", None) => found = Some(Modules::plain(Kind::Transformer, folder)),
            ("StaticEmbedding", None) => found = Some(Modules::plain(Kind::Static, folder)),
            (LATENT_ATTENTION, Some(modules))
                if modules.kind == Kind::Transformer && !pooled && modules.latents.is_none() =>
            {
                modules.latents = Some(latents(&folder.join("config.json"))?);
            }
            ("Pooling", Some(modules))
                if modules.kind == Kind::Transformer && !pooled && !modules.normalise =>
            {
                (modules.pooling, modules.pools_prompts) = pooling(&folder.join("config.json"))?;
                pooled = true;
            }
            ("Normalize", Some(modules)) => modules.normalise = true,
            _ => {
                let message = format!("module {i} is `{}`, which we cannot follow there", module.class);
                let help = "supported are Transformer, Pooling, Normalize, and StaticEmbedding, Normalize";
                return Err(Error::input(message).at(&path).help(help));
            }
        }
    }
    match found {
        Some(modules) if pooled || modules.kind == Kind::Static => Ok(modules),
        Some(_) => Err(Error::input("there is no Pooling module").at(&path)),
        None => Err(Error::input("the list of modules is empty").at(&path)),
    }
}

/// A folder inside the directory: a plain relative name, nothing that leads out.
fn inside(dir: &Path, file: &Path, name: &str) -> Result<PathBuf> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        let message = format!("the module path `{name}` leaves the directory");
        return Err(Error::input(message).at(file));
    }
    let folder = dir.join(name);
    let outside =
        || Error::input(format!("the module path `{name}` is a link out of the directory")).at(file);
    if let (Ok(real), Ok(root)) = (folder.canonicalize(), dir.canonicalize())
        && !real.starts_with(root)
    {
        return Err(outside());
    }
    Ok(folder)
}

const OLD_KEYS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// The pooling of `1_Pooling/config.json`, the new key where it is, else the old booleans; and whether it takes prompts
/// in, as it does where it does not say.
fn pooling(path: &Path) -> Result<(Pool, bool)> {
    let keys: Map<String, Value> = json::read(path)?;
    let modes: Vec<&str> = match keys.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(modes)) => modes.iter().map(|mode| mode.as_str().unwrap_or("?")).collect(),
        Some(_) => vec!["?"],
        None => OLD_KEYS
            .iter()
            .filter(|(key, _)| keys.get(*key) == Some(&Value::Bool(true)))
            .map(|(_, mode)| *mode)
            .collect(),
    };
    let with_prompts = keys.get("include_prompt") != Some(&Value::Bool(false));
    match modes[..] {
        [] | ["mean"] => Ok((Pool::Mean, with_prompts)),
        ["cls"] => Ok((Pool::First, with_prompts)),
        ["max"] => Ok((Pool::Max, with_prompts)),
        _ => Err(Error::input(format!("pooling `{}`", modes.join(" + ")))
            .at(path)
            .help("supported is one of mean, cls and max")),
    }
}

/// `1_Pooling/config.json`, for old readers (booleans) and new ones (`pooling_mode`).
pub(super) fn write_pooling(pooling: Pool, width: usize, pools_prompts: bool) -> Value {
    let mode = match pooling {
        Pool::Mean => "mean",
        Pool::First => "cls",
        Pool::Max => "max",
    };
    let mut keys = Map::new();
    keys.insert("word_embedding_dimension".into(), json!(width));
    for (key, name) in &OLD_KEYS[..4] {
        keys.insert((*key).into(), json!(*name == mode));
    }
    keys.insert("embedding_dimension".into(), json!(width));
    keys.insert("pooling_mode".into(), json!(mode));
    keys.insert("include_prompt".into(), json!(pools_prompts));
    Value::Object(keys)
}

/// `modules.json` from class names and folders. The short module paths are read by every release; a module of ours has
/// none that any release knows.
pub(super) fn write(modules: &[(&str, &str)]) -> Value {
    let module = |(i, (class, path)): (usize, &(&str, &str))| {
        let package = if *class == LATENT_ATTENTION { "lode" } else { "sentence_transformers.models" };
        let class = format!("{package}.{class}");
        json!({ "idx": i, "name": i.to_string(), "path": path, "type": class })
    };
    modules.iter().enumerate().map(module).collect()
}
