//! BERT and its relatives over packed text:
//!
//! ```text
//! h₀ = dropout(LN(E_token[w] + E_position[p] + E_type[0]))        [T, d]      pairs: E_type[0] or E_type[1]
//! hᵢ = layerᵢ(hᵢ₋₁)                                               [T, d]
//! e  = normalise(pool(h_L))                                       [B, d]
//! ```
//! Texts are packed one after another: nothing is padded, attention stays inside a text by `starts`.

pub mod config;
mod layer;
mod memory;
pub(crate) mod names;

pub use autograd::Activation;
pub use config::{Config, Family, Size};

use crate::encoder::{Encoder, Scope};
use crate::streams::{Site, dropout};
use autograd::{ParamId, Params, Segment, Var};
use engine::{Packed, Places};
use layer::{Layer, dropped};
use std::rc::Rc;
use std::sync::Arc;

/// Parameters of one layer: weight and bias of each part, in the order of the name table.
const PER_LAYER: usize = 16;

/// A BERT-like encoder. It holds ids; the numbers are in [`Params`].
#[derive(Clone, Debug)]
pub struct Bert {
    config: Config,
    /// In the order of [`Config::layout`].
    ids: Vec<ParamId>,
}

impl Bert {
    /// The encoder over parameters that exist.
    ///
    /// # Panics
    /// If a parameter of the layout is not there.
    #[track_caller]
    pub fn new(config: Config, params: &Params) -> Bert {
        let ids = crate::encoder::ids(&config.layout(), params);
        Bert { config, ids }
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
        self.hidden_of_types(cx, text, None, first_slot)
    }
    /// The same of tokens of different types; none where all are of type 0.
    #[track_caller]
    pub(crate) fn hidden_of_types<'t>(
        &self,
        cx: &Scope<'t>,
        text: &Packed,
        types: Option<&[u32]>,
        first_slot: u32,
    ) -> Vec<Var<'t>> {
        self.check(text);
        let starts: Arc<[u32]> = text.starts.as_slice().into();
        let places = Arc::new(Places::new(&text.starts, first_slot));
        let head = self.ids.len() - PER_LAYER * self.config.size.layers;
        let embedded = cx.tape.part("embeddings", || {
            let drop = dropout(cx.dropout, Site::Embeddings, self.config.hidden_dropout, &places);
            dropped(self.embedded(cx, &self.ids[..head], (text, types), &places), &drop)
        });
        let mut all = vec![embedded];
        for (number, ids) in self.ids[head..].chunks(PER_LAYER).enumerate() {
            let layer = Layer::new(&self.config, number, &starts, cx.dropout, &places);
            let mut inputs = vec![all[number]];
            inputs.extend(ids.iter().map(|&id| cx.param(id)));
            all.push(cx.tape.part("layer", || match cx.recompute {
                true => {
                    let segment: Segment = Rc::new(move |inputs| layer.run(inputs));
                    cx.tape.recompute(segment, &inputs)
                }
                false => layer.run(&inputs),
            }));
        }
        all
    }
    fn embedded<'t>(
        &self,
        cx: &Scope<'t>,
        ids: &[ParamId],
        (text, of_types): (&Packed, Option<&[u32]>),
        places: &Places,
    ) -> Var<'t> {
        let first = self.config.first_position();
        let rows: Arc<[u32]> = places.positions.iter().map(|p| p + first).collect();
        let mut sum = cx.param(ids[0]).gather(text.tokens.as_slice().into()) + cx.param(ids[1]).gather(rows);
        let (types, norm) = ids[2..].split_at(ids.len() - 4);
        if let Some(&types) = types.first() {
            let table = cx.param(types);
            sum =
                sum + of_types.map_or_else(|| table.slice(0, 0..1), |of_types| table.gather(of_types.into()));
        }
        sum.layer_norm(cx.param(norm[0]), cx.param(norm[1]), self.config.eps)
    }
    #[track_caller]
    fn check(&self, text: &Packed) {
        let (longest, most) = (text.longest(), self.config.tokens_max());
        assert!(longest <= most, "a text of {longest} tokens is longer than the encoder's {most} positions");
        let shortest = text.starts.windows(2).map(|w| w[1] - w[0]).min();
        assert!(shortest != Some(0), "a text without tokens: the empty text is [CLS] [SEP]");
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
            let hidden = self.hidden(cx, text, first_slot);
            let last = hidden[self.config.size.layers];
            let pooled = last.pool(self.config.pooling, text.starts.as_slice().into());
            if self.config.normalise { pooled.normalise() } else { pooled }
        })
    }
    fn flops_per_token(&self, length: f64) -> f64 {
        let Size { layers, width, ffn, .. } = self.config.size;
        let matrices = 4 * width * width + 2 * width * ffn;
        layers as f64 * (2.0 * matrices as f64 + 4.0 * length * width as f64)
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
