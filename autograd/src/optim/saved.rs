//! The state of an optimizer on its way out of a checkpoint.

use crate::param::Params;
use engine::{DType, Element, Error, Kind, Result, Shape, Tensor};
use std::collections::BTreeMap;

const UNTRAINED: &str = "a matrix in fewer bits is for inference and is not trained";

/// The bytes of one number.
pub(super) fn size(dtype: DType) -> usize {
    match dtype {
        DType::F32 | DType::U32 => 4,
        DType::F64 => 8,
        DType::Rounded(_) => unreachable!("{UNTRAINED}"),
    }
}

/// Zeros of the shape and type of `like`. Not from the pool: they stay for the whole run and need no size class.
pub(super) fn zeros_like(like: &Tensor) -> Tensor {
    let (shape, n) = (like.shape(), like.len());
    match like.dtype() {
        DType::F32 => Tensor::from_vec(shape, vec![0.0f32; n]).beside(like),
        DType::F64 => Tensor::from_vec(shape, vec![0.0f64; n]),
        DType::U32 => panic!("a parameter of integers cannot be trained"),
        DType::Rounded(_) => panic!("{UNTRAINED}"),
    }
}

/// The step counters of all parameters as one tensor.
pub(super) fn counters(params: &Params, steps: impl Iterator<Item = u32>) -> Tensor {
    let mut all: Vec<u32> = steps.collect();
    all.resize(params.len(), 0);
    Tensor::from_vec([params.len()], all)
}

/// Named tensors, taken out one by one; what is left in the end belongs to nobody.
pub(super) struct Saved {
    all: BTreeMap<String, Tensor>,
}

impl Saved {
    pub(super) fn new(state: Vec<(String, Tensor)>) -> Result<Saved> {
        let mut all = BTreeMap::new();
        for (name, tensor) in state {
            if all.contains_key(&name) {
                return Err(damaged(format!("the optimizer state holds `{name}` twice")));
            }
            all.insert(name, tensor);
        }
        Ok(Saved { all })
    }
    /// The tensor of this name, with a storage of its own.
    pub(super) fn take(&mut self, name: &str, shape: Shape, dtype: DType) -> Result<Tensor> {
        let Some(tensor) = self.all.remove(name) else {
            return Err(damaged(format!("the optimizer state has no `{name}`")));
        };
        let (got, of) = (tensor.shape(), tensor.dtype());
        if got != shape || of != dtype {
            let what =
                format!("`{name}` of the optimizer state is {of:?} {got:?}, expected {dtype:?} {shape:?}");
            return Err(other_model(what));
        }
        Ok(if tensor.is_unique() { tensor } else { copied(&tensor) })
    }
    /// The step counters of all parameters; 0 where a parameter has no state.
    pub(super) fn counters(&mut self, name: &str, params: &Params) -> Result<Vec<u32>> {
        let other = self.all.keys().find(|key| key.ends_with(".steps"));
        if let Some(other) = other.filter(|_| !self.all.contains_key(name)) {
            let what = format!("the state is that of another optimizer: it holds `{other}`, not `{name}`");
            return Err(other_model(what));
        }
        Ok(self.take(name, [params.len()].into(), DType::U32)?.data().to_vec())
    }
    pub(super) fn finish(self) -> Result<()> {
        match self.all.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(other_model(format!("the optimizer state holds `{name}`, which nothing here asks for")))
            }
        }
    }
}

fn damaged(message: String) -> Error {
    Error::new(Kind::Damaged, message).help("resume from an older checkpoint")
}

fn other_model(message: String) -> Error {
    Error::input(message).help("resume with the model and the optimizer that made the checkpoint")
}

fn copied(tensor: &Tensor) -> Tensor {
    fn copy<T: Element>(tensor: &Tensor) -> Tensor {
        Tensor::from_vec(tensor.shape(), tensor.data::<T>().to_vec())
    }
    if tensor.cuda().is_some() {
        return tensor.to_cpu();
    }
    match tensor.dtype() {
        DType::F32 => copy::<f32>(tensor),
        DType::F64 => copy::<f64>(tensor),
        DType::U32 => copy::<u32>(tensor),
        DType::Rounded(_) => unreachable!("{UNTRAINED}"),
    }
}
