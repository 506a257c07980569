//! A model: an architecture, its numbers, and the encoder over them.

use crate::architecture::Architecture;
use crate::encoder::{Encoder, Scope};
use autograd::{Params, Var};
use engine::Packed;
use std::sync::Arc;

/// An encoder with its numbers.
#[derive(Clone)]
pub struct Model {
    /// Its numbers, and those of whatever is trained beside it.
    pub params: Params,
    /// Whether layers are run again in backward instead of being kept.
    pub recompute: bool,
    /// The length at which its texts are cut, special tokens included; what an export tells others.
    pub text_len: usize,
    architecture: Architecture,
    encoder: Arc<dyn Encoder>,
}

impl Model {
    /// A model of numbers that exist. Texts are cut at the last position, or at 512 tokens where there is none.
    ///
    /// # Panics
    /// If a parameter of the architecture is not there.
    #[track_caller]
    pub fn new(architecture: Architecture, params: Params) -> Model {
        let encoder = architecture.encoder(&params);
        let text_len = if encoder.tokens_max() == usize::MAX { 512 } else { encoder.tokens_max() };
        Model { params, recompute: false, text_len, architecture, encoder }
    }
    /// A model from scratch.
    pub fn fresh(architecture: Architecture, seed: u64) -> Model {
        let mut params = Params::default();
        architecture.initialise(&mut params, seed);
        Model::new(architecture, params)
    }
    /// What it is.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }
    /// Its encoder.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }
    /// The length of a vector.
    pub fn width(&self) -> usize {
        self.encoder.width()
    }
    /// Token ids are below this.
    pub fn vocab_size(&self) -> usize {
        self.architecture.vocab()
    }
    /// The longest text that it can encode, in tokens.
    pub fn max_len(&self) -> usize {
        self.encoder.tokens_max()
    }
    /// Sets all dropout rates of the encoder; a bag has none.
    ///
    /// # Panics
    /// If the rate is not in [0, 1).
    #[track_caller]
    pub fn set_dropout(&mut self, rate: f32) {
        assert!((0.0..1.0).contains(&rate), "a dropout rate is at least 0 and below 1, this is {rate}");
        if let Architecture::Bert(config) = &mut self.architecture {
            (config.hidden_dropout, config.attention_dropout) = (rate, rate);
            self.encoder = self.architecture.encoder(&self.params);
        }
    }
    /// Encodes texts: [`Encoder::encode`].
    #[track_caller]
    pub fn encode<'t>(&self, cx: &Scope<'t>, text: &Packed, first_slot: u32) -> Var<'t> {
        self.encoder.encode(cx, text, first_slot)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Model({:?}, {} numbers, texts of {})",
            self.architecture,
            self.params.count(),
            self.text_len
        )
    }
}
