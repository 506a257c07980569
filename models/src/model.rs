//! A model: an architecture and its numbers.

use crate::architecture::Architecture;
use crate::encoder::Encoder;
use crate::layout::Role;
use autograd::{ParamId, Params};
use engine::{Engine, Precision, Tensor, Weight};

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
    /// The same model for inference with the matrices of its linear layers rounded; tables, norms and biases are
    /// shared with this one. Attention, norms and activations compute in f32 as before. Nothing of it is trained.
    #[must_use]
    pub fn rounded(&self, engine: &Engine, precision: Precision) -> Model {
        let mut model = self.clone();
        for id in model.params.ids() {
            model.params.set_trainable(id, false);
        }
        for id in self.matrices() {
            let (values, shape) = (self.params.value(id).data(), self.params.value(id).shape());
            let weight = Weight::new(engine, precision, values, shape.last());
            model.params.set(id, Tensor::from_weight(weight));
        }
        model
    }
    /// The matrices of linear layers; a model without any has nothing that can be rounded.
    pub fn matrices(&self) -> impl Iterator<Item = ParamId> {
        let layout = self.architecture.layout().into_iter();
        let layout = layout.filter(|entry| matches!(entry.role, Role::Weight | Role::Silent));
        layout.filter_map(|entry| self.params.find(&entry.name))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.params.count();
        write!(f, "Model({:?}, {count} numbers, texts of {} tokens)", self.architecture, self.tokens_max)
    }
}
