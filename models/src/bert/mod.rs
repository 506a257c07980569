//! BERT and its relatives over packed text:
//!
//! ```text
//! h₀ = dropout(LN(E_token[w] + E_position[p] + E_type[0]))        [T, d]      pairs: E_type[0] or E_type[1]
//! hᵢ = layerᵢ(hᵢ₋₁)                                               [T, d]      MPNet: with a bias by distance
//! e  = normalise(pool(h_L))                                       [B, d]      or pool(latent attention(h_L))
//! ```
//! Texts are packed one after another: nothing is padded, attention stays inside a text by `starts`.

pub mod config;
mod layer;
mod memory;
pub(crate) mod names;
pub(crate) mod relative;

pub use autograd::Activation;
pub use config::{Config, Family, Size};

use crate::encoder::{Encoder, Scope, pooled};
use crate::latent::Latents;
use crate::streams::{Site, dropout, dropped};
use autograd::{ParamId, Params, Segment, Var};
use engine::{Packed, Places};
use layer::Layer;
use std::rc::Rc;
use std::sync::Arc;

/// Parameters of one layer: weight and bias of each part, in the order of the name table.
pub(crate) const PER_LAYER: usize = 16;

/// A BERT-like encoder. It holds ids; the numbers are in [`Params`].
#[derive(Clone, Debug)]
pub struct Bert {
    config: Config,
    /// In the order of [`Config::layout`].
    ids: Vec<ParamId>,
    latents: Option<Latents>,
}

impl Bert {
    /// The encoder over parameters that exist.
    ///
    /// # Panics
    /// If a parameter of the layout is not there.
    #[track_caller]
    pub fn new(config: Config, params: &Params) -> Bert {
        let ids = crate::encoder::ids(&config.layout(), params);
        let latents = config.latents.map(|latents| Latents::new(latents, config.size.width, params));
        Bert { config, ids, latents }
    }
    /// What it is.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// The hidden states `[T, d]`: after the embeddings, then after every layer.
    ///
    /// # Panics
    /// If a text is empty or longer than the positions.
    #[track_caller]
    pub fn hidden<'t>(&self, cx: &Scope<'t>, text: &Packed, first_slot: u32) -> Vec<Var<'t>> {
        let mut all = vec![];
        let last = self.run(cx, (text, None), first_slot, |hidden| all.push(hidden));
        all.push(last);
        all
    }
    /// The last hidden state `[T, d]`, of tokens of different types or, without types, all of type 0.
    #[track_caller]
    pub(crate) fn last<'t>(
        &self,
        cx: &Scope<'t>,
        text: (&Packed, Option<&[u32]>),
        first_slot: u32,
    ) -> Var<'t> {
        self.run(cx, text, first_slot, Var::forget)
    }
    /// The last hidden state; each one before it is `done` with when the layer behind it has run.
    #[track_caller]
    fn run<'t>(
        &self,
        cx: &Scope<'t>,
        (text, types): (&Packed, Option<&[u32]>),
        first_slot: u32,
        mut done: impl FnMut(Var<'t>),
    ) -> Var<'t> {
        crate::encoder::check_lengths(text, self.config.tokens_max());
        let starts: Arc<[u32]> = text.starts.as_slice().into();
        let places = Arc::new(Places::new(&text.starts, first_slot));
        let body = Latents::split(&self.ids, self.config.latents).0;
        let head = body.len() - PER_LAYER * self.config.size.layers;
        let (embeddings, relative) = body[..head].split_at(head - self.config.relative());
        let bias = relative.first().map(|&id| cx.param(id).gather(relative::buckets(text.longest())));
        let embedded = cx.tape.part("embeddings", || {
            let drop = dropout(cx.dropout, Site::Embeddings, self.config.hidden_dropout, &places);
            dropped(self.embedded(cx, embeddings, (text, types), &places), &drop)
        });
        let mut hidden = embedded;
        for (number, ids) in body[head..].chunks(PER_LAYER).enumerate() {
            let layer = Layer::new(&self.config, number, &starts, cx.dropout, &places);
            let mut inputs = vec![hidden];
            inputs.extend(ids.iter().map(|&id| cx.param(id)).chain(bias));
            let segment: Segment = Rc::new(move |inputs| layer.run(inputs));
            done(std::mem::replace(&mut hidden, cx.layer(segment, &inputs)));
        }
        hidden
    }
    fn embedded<'t>(
        &self,
        cx: &Scope<'t>,
        ids: &[ParamId],
        (text, of_types): (&Packed, Option<&[u32]>),
        places: &Places,
    ) -> Var<'t> {
        let first = self.config.first_position();
        let rows: Arc<[u32]> = places.positions().iter().map(|p| p + first).collect();
        let mut sum = cx.param(ids[0]).gather(text.tokens.as_slice().into()) + cx.param(ids[1]).gather(rows);
        let (types, norm) = ids[2..].split_at(ids.len() - 4);
        if let Some(&types) = types.first() {
            let table = cx.param(types);
            sum =
                sum + of_types.map_or_else(|| table.slice(0, 0..1), |of_types| table.gather(of_types.into()));
        }
        sum.layer_norm(cx.param(norm[0]), cx.param(norm[1]), self.config.eps)
    }
}

impl Encoder for Bert {
    fn width(&self) -> usize {
        self.config.size.width
    }
    fn tokens_max(&self) -> usize {
        self.config.tokens_max()
    }
    fn params(&self) -> &[ParamId] {
        &self.ids
    }
    #[track_caller]
    fn encode<'t>(&self, cx: &Scope<'t>, text: &Packed, first_slot: u32) -> Var<'t> {
        cx.tape.scope(|| {
            let last = self.last(cx, (text, None), first_slot);
            let last = self.latents.iter().fold(last, |last, latents| latents.run(cx, last));
            pooled(cx, last, text, self.config.pooling, self.config.normalise)
        })
    }
    fn flops_per_token(&self, length: f64) -> f64 {
        let Size { layers, width, ffn, .. } = self.config.size;
        let matrices = 4 * width * width + 2 * width * ffn;
        let latents = self.config.latents.map_or(0.0, |latents| latents.flops_per_token(width));
        layers as f64 * (2.0 * matrices as f64 + 4.0 * length * width as f64) + latents
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
    fn halved_bytes(&self, tokens: usize, recompute: bool) -> usize {
        memory::halved_bytes(&self.config, tokens, recompute)
    }
}
