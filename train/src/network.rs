//! A model ready to run: its numbers and its encoder.

use autograd::{Tape, Var};
use engine::container::checksum;
use engine::{Packed, Stream};
use models::{Encoder, Model, Scope};

/// A model and its encoder.
pub struct Network {
    /// Architecture and numbers.
    pub model: Model,
    /// The encoder over those numbers.
    pub encoder: Box<dyn Encoder>,
    /// Forget the inside of each layer after forward and compute it again in backward.
    pub recompute: bool,
}

impl Network {
    /// The network of a model.
    pub fn new(model: Model) -> Network {
        let encoder = model.encoder();
        Network { model, encoder, recompute: false }
    }
    /// The length of an embedding.
    pub fn width(&self) -> usize {
        self.encoder.width()
    }
    /// Embeds texts on a tape: `[B, width]`. Text `i` has dropout slot `first_slot + i`.
    pub fn encode<'t>(&'t self, tape: &'t Tape, text: &Packed, first_slot: u32, dropout: Option<Stream>) -> Var<'t> {
        let scope = Scope { tape, params: &self.model.params, dropout, recompute: self.recompute };
        self.encoder.encode(&scope, text, first_slot)
    }
    /// A hash of all numbers: equal for equal models.
    pub fn fingerprint(&self) -> u64 {
        let params = &self.model.params;
        let sums = params.ids().flat_map(|id| {
            let bytes: Vec<u8> = params.value(id).data::<f32>().iter().flat_map(|x| x.to_le_bytes()).collect();
            checksum(&bytes).to_le_bytes()
        });
        checksum(&sums.collect::<Vec<u8>>())
    }
}
