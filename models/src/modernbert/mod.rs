//! ModernBERT (Warner et al. 2024, "Smarter, Better, Faster, Longer") over packed text:
//!
//! ```text
//! h₀ = dropout(LN(E_token[w]))               [T, d]
//! hᵢ = layerᵢ(hᵢ₋₁)                          [T, d]      every third layer sees the whole text, the others a window
//! e  = normalise(pool(LN(h_L)))              [B, d]
//! ```
//! No table of positions: queries and keys are turned by theirs.

pub mod config;
mod layer;
mod memory;

pub use crate::bert::Size;
pub use config::{Config, Sight};

use crate::encoder::{Encoder, Scope, pooled};
use crate::latent::Latents;
use crate::streams::{Site, dropout, dropped};
use autograd::{ParamId, Params, Segment, Var};
use engine::{Packed, Places};
use layer::{Layer, norm};
use std::rc::Rc;
use std::sync::Arc;

/// Parameters of one layer; the first has one less.
pub(crate) const PER_LAYER: usize = 6;

/// A ModernBERT. It holds ids; the numbers are in [`Params`].
#[derive(Clone, Debug)]
pub struct ModernBert {
    config: Config,
    /// In the order of [`Config::layout`].
    ids: Vec<ParamId>,
    latents: Option<Latents>,
}

impl ModernBert {
    /// The encoder over parameters that exist.
    ///
    /// # Panics
    /// If a parameter of the layout is not there.
    #[track_caller]
    pub fn new(config: Config, params: &Params) -> ModernBert {
        let ids = crate::encoder::ids(&config.layout(), params);
        let latents = config.latents.map(|latents| Latents::new(latents, config.size.width, params));
        ModernBert { config, ids, latents }
    }
    /// The hidden states `[T, d]`: after the embeddings, after every layer, and after the last norm.
    ///
    /// # Panics
    /// If a text is empty or longer than the positions.
    #[track_caller]
    pub fn hidden<'t>(&self, cx: &Scope<'t>, text: &Packed, first_slot: u32) -> Vec<Var<'t>> {
        let mut all = vec![];
        let last = self.run(cx, text, first_slot, |hidden| all.push(hidden));
        all.push(last);
        all
    }
    /// The state behind the last norm; each one before it is `done` with when what is behind it has run.
    #[track_caller]
    fn run<'t>(
        &self,
        cx: &Scope<'t>,
        text: &Packed,
        first_slot: u32,
        mut done: impl FnMut(Var<'t>),
    ) -> Var<'t> {
        crate::encoder::check_lengths(text, self.config.positions);
        let (config, starts) = (&self.config, Arc::<[u32]>::from(text.starts.as_slice()));
        let places = Arc::new(Places::new(&text.starts, first_slot));
        let &[table, embedding_norm, ref layers @ .., last_norm] =
            Latents::split(&self.ids, config.latents).0
        else {
            unreachable!("the layout has the embeddings and the last norm");
        };
        let embedded = cx.tape.part("embeddings", || {
            let drop = dropout(cx.dropout, Site::Embeddings, config.embedding_dropout, &places);
            let tokens = cx.param(table).gather(text.tokens.as_slice().into());
            dropped(norm(tokens, cx.param(embedding_norm), config.eps), &drop)
        });
        let masks = layer::masks(config, text.longest());
        let (mut hidden, mut rest) = (embedded, layers);
        for number in 0..config.size.layers {
            let (ids, behind) = rest.split_at(if number == 0 { PER_LAYER - 1 } else { PER_LAYER });
            rest = behind;
            let layer = Layer::new(config, number, (&starts, &masks), cx.dropout, &places);
            let mut inputs = vec![hidden];
            inputs.extend(ids.iter().map(|&id| cx.param(id)));
            let segment: Segment = Rc::new(move |inputs| layer.run(inputs));
            done(std::mem::replace(&mut hidden, cx.layer(segment, &inputs)));
        }
        let last = norm(hidden, cx.param(last_norm), config.eps);
        done(hidden);
        last
    }
}

impl Encoder for ModernBert {
    fn width(&self) -> usize {
        self.config.size.width
    }
    fn tokens_max(&self) -> usize {
        self.config.positions
    }
    fn params(&self) -> &[ParamId] {
        &self.ids
    }
    #[track_caller]
    fn encode<'t>(&self, cx: &Scope<'t>, text: &Packed, first_slot: u32) -> Var<'t> {
        cx.tape.scope(|| {
            let last = self.run(cx, text, first_slot, Var::forget);
            let last = self.latents.iter().fold(last, |last, latents| latents.run(cx, last));
            pooled(cx, last, text, self.config.pooling, self.config.normalise)
        })
    }
    fn flops_per_token(&self, length: f64) -> f64 {
        let Size { width, ffn, .. } = self.config.size;
        let matrices = (4 * width * width + 3 * width * ffn) as f64;
        // The scores beyond a window are computed and left out.
        let latents = self.config.latents.map_or(0.0, |latents| latents.flops_per_token(width));
        self.config.size.layers as f64 * (2.0 * matrices + 4.0 * length * width as f64) + latents
    }
    fn activation_bytes(&self, text: &Packed, recompute: bool) -> usize {
        memory::activation_bytes(&self.config, text, recompute)
    }
    fn working_bytes(&self, text: &Packed) -> usize {
        memory::working_bytes(&self.config, text)
    }
    fn inference_bytes(&self, tokens: usize) -> usize {
        memory::inference_bytes(&self.config, tokens)
    }
}
