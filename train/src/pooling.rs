//! How the tokens of a text become one vector, where a configuration says otherwise than a model.

use crate::config::Config;
use crate::network::Network;
use autograd::Pool;
use data::{DataSet, Split};
use engine::{Error, Result};
use models::{Model, latent};
use std::path::Path;

/// Channels of all heads together for each of the model's, at most: the released model has 8.
const WIDEST: usize = 64;
/// Texts of which it is seen whether a prompt parts from them.
const PROBES: usize = 64;

/// Settings of [`crate::config::ModelConfig::prompts`].
pub(crate) const PROMPTS: [&str; 3] = ["", "pooled", "apart"];

/// The network with the prompts of the data set pooled or left out, as the configuration says, or as the model has it
/// from which it starts.
///
/// # Errors
/// If prompts shall be left out, and the model is a bag, or they do not part from the texts behind them.
pub(crate) fn with_prompts(config: &Config, network: Network, data: &DataSet) -> Result<Network> {
    let is_apart = match &*config.model.prompts {
        "apart" => true,
        "pooled" => false,
        _ => !network.pools_prompts(),
    };
    let prompts = if is_apart { data.prompts().both() } else { [""; 2] };
    if prompts == [""; 2] {
        return Ok(network.pooling_all());
    }
    let tokenizer = data.tokenizer()?;
    for (prompt, texts) in prompts.into_iter().zip([data.queries(Split::Train), data.labels()]) {
        let beginning = tokenizer.beginning(prompt)?;
        // A text that was cut inside of its prompt, and one that is empty and has none, say nothing.
        let says = |&i: &usize| texts.tokens(i).len() > beginning.len() && !texts.title(i).is_empty();
        let parts = |i: usize| texts.tokens(i).take(beginning.len()).eq(beginning.iter().copied());
        let run_on = (0..texts.len().min(PROBES)).filter(says).any(|i| !parts(i));
        if !prompt.is_empty() && run_on {
            let what = format!("the prompt `{prompt}` runs on into the tokens of the texts behind it");
            let e = Error::input(what).at(data.path());
            return Err(e.help("end it with a space, or let it be pooled: --set model.prompts=pooled"));
        }
    }
    network.leaving_out(&tokenizer, prompts).map_err(|e| e.at(Path::new(&config.model.source)))
}

/// Puts a fresh latent attention before the mean of a model that has none, where the configuration asks for one. A
/// model that took the first token or the largest numbers takes the mean from then on.
///
/// # Errors
/// If the model is a bag, or has another latent attention than is asked for.
pub(crate) fn apply(config: &Config, model: &mut Model) -> Result<()> {
    let c = &config.model;
    if c.pooling.is_empty() {
        return Ok(());
    }
    let wrong = |what: String| Err(Error::input(what).at(Path::new(&c.source)));
    let width = model.architecture.width();
    if let Some(its) = model.architecture.latents() {
        let same = |asked: usize, own: usize| asked == 0 || asked == own;
        let fits = same(c.latents, its.latents)
            && same(c.latent_heads, its.heads)
            && same(c.latent_channels, its.channels);
        let latent::Config { latents, heads, channels } = its;
        return match fits {
            true => Ok(()),
            false => wrong(format!(
                "this model has {latents} latents and {heads} heads of {channels} channels"
            ))
            .map_err(|e| {
                e.help("it keeps what it has: leave model.latents, latent_heads and latent_channels at 0")
            }),
        };
    }
    let wanted = match latent::Config::chosen(width, c.latents, c.latent_heads, c.latent_channels) {
        Ok(wanted) => wanted,
        Err(why) => {
            return wrong(why).map_err(|e| e.help("--set model.latent_heads or model.latent_channels"));
        }
    };
    if wanted.heads * wanted.channels > WIDEST * width {
        let latent::Config { heads, channels, .. } = wanted;
        return wrong(format!(
            "{heads} heads of {channels} channels are more than {WIDEST} times the width {width}"
        ))
        .map_err(|e| e.help("--set model.latent_heads and model.latent_channels to less"));
    }
    let Some(architecture) = model.architecture.with_latents(wanted, Pool::Mean) else {
        return wrong("a bag has no hidden states that latents could look at".into())
            .map_err(|e| e.help("--model tiny, small or a transformer; or leave model.pooling away"));
    };
    for entry in &architecture.layout()[model.params.len()..] {
        model.params.add(entry.name.clone(), entry.initial(config.train.seed), entry.role.decays());
    }
    model.architecture = architecture;
    Ok(())
}
