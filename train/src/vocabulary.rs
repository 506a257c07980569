//! Whether a model and a data set speak of the same tokens. Where they do not, every number would be wrong
//! and none would look so.

use crate::network::Network;
use data::{DataSet, Split, Tokenizer};
use engine::{Error, Result};
use models::hf::Prompts;
use std::path::Path;

/// Texts of the data set on which the two tokenizers are compared.
const PROBES: usize = 64;

/// Demands that the tokenizer of the network, which came from the model (or run) at `model`, is that of the
/// data set: the same token for every id, and the same ids for some of its texts.
///
/// # Errors
/// Says how they differ and what to do.
pub fn demand_same(network: &Network, model: &Path, data: &DataSet) -> Result<()> {
    let mut prompts = data.prompts().both().into_iter();
    prompts.try_for_each(|prompt| network.demand_known(prompt)).map_err(|e| e.at(model))?;
    demand_same_tokens(network, model, data)
}

/// [`demand_same`] of a model that is to learn what prompts the data set has.
///
/// # Errors
/// As there.
pub(crate) fn demand_same_tokens(network: &Network, model: &Path, data: &DataSet) -> Result<()> {
    match difference(&network.tokenizer()?, &data.tokenizer()?, data)? {
        None => Ok(()),
        Some(how) => {
            Err(Error::input(format!("the data set was not prepared for the model {}", model.display()))
                .at(data.path())
                .note(how)
                .help(format!(
                    "prepare it again with the tokenizer of the model: {}",
                    command(network, model, data)
                )))
        }
    }
}

/// The command that prepares the data set for the model. What its columns are called is not known here.
fn command(network: &Network, model: &Path, data: &DataSet) -> String {
    let max_len = data.max_len().min(network.encoder.tokens_max());
    let (source, model, out) = (data.source(), model.display(), data.path().display());
    format!("lode prepare {source} … --tokenizer {model} --max-len {max_len} --out {out}")
}

fn difference(model: &Tokenizer, ours: &Tokenizer, data: &DataSet) -> Result<Option<String>> {
    let (a, b) = (model.vocab_size(), ours.vocab_size());
    if a != b {
        return Ok(Some(format!("the model's vocabulary has {a} tokens, the data set's {b}")));
    }
    for id in 0..a as u32 {
        if let (Some(x), Some(y)) = (model.token(id), ours.token(id))
            && x != y
        {
            return Ok(Some(format!("token {id} is `{x}` for the model and `{y}` in the data set")));
        }
    }
    let texts = [data.labels(), data.queries(Split::Train)];
    for title in texts.iter().flat_map(|t| (0..t.len().min(PROBES)).map(|i| t.title(i))) {
        if model.encode(title, data.max_len())? != ours.encode(title, data.max_len())? {
            return Ok(Some(format!("the two cut `{title}` differently (case, accents or marks)")));
        }
    }
    Ok(None)
}

/// How the prompts that stand before queries and labels differ from those that a model was made for.
pub fn other_prompts(own: &Prompts, [query, label]: [&str; 2]) -> Option<String> {
    ([&*own.query, &own.label] != [query, label]).then(|| {
        format!(
            "this model was made for the prompts `{}` and `{}`, before queries and labels stand `{query}` and \
             `{label}`",
            own.query, own.label
        )
    })
}

/// The token ids of a data set must be rows of the model, and its texts must fit.
///
/// # Errors
/// If they do not: with what to do.
pub(crate) fn check_ids(data: &DataSet, model: &models::Model) -> Result<()> {
    let (tokens, rows) = (data.vocab_size(), model.architecture.vocab());
    if tokens > rows {
        return Err(Error::input(format!(
            "the data set has token ids up to {tokens}, the model knows {rows}"
        ))
        .help("prepare the data with the tokenizer of this model: `lode prepare … --tokenizer MODEL`"));
    }
    let (longest, limit) = (data.max_len(), model.encoder().tokens_max());
    if longest > limit {
        return Err(Error::input(format!(
            "texts of up to {longest} tokens do not fit the model's {limit} positions"
        ))
        .help(format!("prepare the data with `--max-len {limit}`")));
    }
    Ok(())
}
