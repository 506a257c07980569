//! A model: an architecture and its numbers.

use crate::architecture::Architecture;
use crate::encoder::Encoder;
use autograd::Params;

/// An encoder's facts and numbers.
#[derive(Clone)]
pub struct Model {
    /// What it is.
    pub architecture: Architecture,
    /// Its numbers.
    pub params: Params,
    /// The length at which texts are cut, special tokens included.
    pub tokens_max: usize,
}

impl Model {
    /// A model from scratch for texts of up to `tokens_max` tokens.
    pub fn fresh(architecture: Architecture, tokens_max: usize, seed: u64) -> Model {
        let mut params = Params::default();
        architecture.initialise(&mut params, seed);
        Model { architecture, params, tokens_max }
    }
    /// The encoder over [`Model::params`].
    ///
    /// # Panics
    /// If a parameter of the architecture is not there.
    #[track_caller]
    pub fn encoder(&self) -> Box<dyn Encoder> {
        self.architecture.encoder(&self.params)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.params.count();
        write!(f, "Model({:?}, {count} numbers, texts of {} tokens)", self.architecture, self.tokens_max)
    }
}
