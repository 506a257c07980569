//! Parameters: all learned numbers, in the order of their creation, named by path. Layers hold ids, never tensors.

use crate::grad::Grad;
use engine::{Cuda, Engine, Tensor};

/// Which parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(u32);

impl ParamId {
    /// Its position in [`Params`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone)]
struct Param {
    name: String,
    value: Tensor,
    decay: bool,
    trainable: bool,
}

/// All learned numbers of a model.
#[derive(Clone, Default)]
pub struct Params {
    all: Vec<Param>,
}

impl Params {
    /// Adds a parameter. `decay` says whether weight decay applies by the usual list (not to biases and norms).
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add(&mut self, name: impl Into<String>, value: Tensor, decay: bool) -> ParamId {
        let name = name.into();
        assert!(self.find(&name).is_none(), "the parameter `{name}` exists already");
        self.all.push(Param { name, value, decay, trainable: true });
        ParamId((self.all.len() - 1) as u32)
    }
    /// The parameter of this name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.all.iter().position(|p| p.name == name).map(|i| ParamId(i as u32))
    }
    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.all.len()
    }
    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// The number of learned numbers.
    pub fn count(&self) -> usize {
        self.all.iter().map(|p| p.value.len()).sum()
    }
    /// All ids, in order of creation.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> + use<> {
        (0..self.all.len() as u32).map(ParamId)
    }
    /// The name.
    pub fn name(&self, id: ParamId) -> &str {
        &self.all[id.index()].name
    }
    /// The value.
    pub fn value(&self, id: ParamId) -> &Tensor {
        &self.all[id.index()].value
    }
    /// The value, for an update in place.
    pub fn value_mut(&mut self, id: ParamId) -> &mut Tensor {
        &mut self.all[id.index()].value
    }
    /// Replaces the value.
    ///
    /// # Panics
    /// If the shape differs.
    #[track_caller]
    pub fn set(&mut self, id: ParamId, value: Tensor) {
        let param = &mut self.all[id.index()];
        assert_eq!(param.value.shape(), value.shape(), "the parameter `{}` has another shape", param.name);
        param.value = value;
    }
    /// Moves all values to a device: what is computed with them is computed there.
    ///
    /// # Panics
    /// If one of them is not in f32.
    pub fn to_device(&mut self, cuda: &Cuda) {
        self.all.iter_mut().for_each(|param| param.value = param.value.to_device(cuda));
    }
    /// Whether weight decay applies by the usual list.
    pub fn decays(&self, id: ParamId) -> bool {
        self.all[id.index()].decay
    }
    /// Whether it is trained.
    pub fn is_trainable(&self, id: ParamId) -> bool {
        self.all[id.index()].trainable
    }
    /// Trains it or leaves it as it is.
    pub fn set_trainable(&mut self, id: ParamId, trainable: bool) {
        self.all[id.index()].trainable = trainable;
    }
}

/// The gradients of [`Params`], by id.
#[derive(Debug, Default)]
pub struct ParamGrads {
    by_param: Vec<Option<Grad>>,
}

impl ParamGrads {
    pub(crate) fn new(by_param: Vec<Option<Grad>>) -> ParamGrads {
        ParamGrads { by_param }
    }
    /// The gradient of a parameter; none if the loss did not depend on it.
    pub fn get(&self, id: ParamId) -> Option<&Grad> {
        self.by_param.get(id.index()).and_then(Option::as_ref)
    }
    /// All gradients that are there, by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Grad)> {
        self.by_param.iter().enumerate().filter_map(|(i, g)| Some((ParamId(i as u32), g.as_ref()?)))
    }
    /// All gradients that are there, to be scaled in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ParamId, &mut Grad)> {
        self.by_param.iter_mut().enumerate().filter_map(|(i, g)| Some((ParamId(i as u32), g.as_mut()?)))
    }
    /// Adds the gradients of another part of the batch.
    pub fn add(&mut self, engine: &Engine, other: ParamGrads) {
        let len = self.by_param.len().max(other.by_param.len());
        self.by_param.resize_with(len, || None);
        for (slot, grad) in self.by_param.iter_mut().zip(other.by_param) {
            if let Some(grad) = grad {
                Grad::add_to_slot(engine, slot, grad);
            }
        }
    }
}

impl FromIterator<(ParamId, Grad)> for ParamGrads {
    /// Gradients that come from elsewhere than a tape. Of two for one parameter the later stays.
    fn from_iter<I: IntoIterator<Item = (ParamId, Grad)>>(grads: I) -> ParamGrads {
        let mut by_param = Vec::new();
        for (id, grad) in grads {
            if by_param.len() <= id.index() {
                by_param.resize_with(id.index() + 1, || None);
            }
            by_param[id.index()] = Some(grad);
        }
        ParamGrads { by_param }
    }
}
