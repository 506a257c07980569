//! How the tokens of a text become one vector, where a configuration says otherwise than a model.

use crate::config::Config;
use autograd::Pool;
use engine::{Error, Result};
use models::{Model, latent};
use std::path::Path;

/// Channels of all heads together for each of the model's, at most: the released model has 8.
const WIDEST: usize = 64;

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
