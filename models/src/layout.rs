//! Which parameters an architecture has: name, shape and role, in one list that initialisation, import and
//! export share.

use autograd::Params;
use engine::{Shape, Tensor};
use rand_distr::{Distribution, Normal};

use crate::streams;

/// The standard deviation of fresh weights (Devlin et al., "BERT", 2019, released code).
pub(crate) const STD: f32 = 0.02;

/// What a parameter does, which decides its first value and whether weight decay applies by the usual list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows that are looked up.
    Table,
    /// A matrix `[out, in]`.
    Weight,
    /// A matrix `[out, in]` of what is added to something that is there: it begins at 0 and adds nothing.
    Silent,
    /// Added.
    Bias,
    /// The factor of a layer norm.
    Gain,
}

impl Role {
    /// Whether weight decay applies by the usual list: not to biases and norms.
    pub fn decays(self) -> bool {
        matches!(self, Role::Table | Role::Weight | Role::Silent)
    }
}

/// One parameter of an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, as the family's files have it.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// What it does.
    pub role: Role,
}

impl Entry {
    /// An entry.
    pub fn new(name: impl Into<String>, shape: impl Into<Shape>, role: Role) -> Entry {
        Entry { name: name.into(), shape: shape.into(), role }
    }
    /// The first value: normal with standard deviation 0.02, biases and silent matrices 0, gains 1. It depends on the
    /// seed and the name.
    pub fn initial(&self, seed: u64) -> Tensor {
        let n = self.shape.len();
        let values = match self.role {
            Role::Bias | Role::Silent => vec![0.0; n],
            Role::Gain => vec![1.0; n],
            Role::Table | Role::Weight => {
                let normal = Normal::new(0.0, STD).expect("the standard deviation is positive");
                normal.sample_iter(streams::initial(seed, &self.name).reader()).take(n).collect()
            }
        };
        Tensor::from_vec(self.shape, values)
    }
    /// Adds the parameter with this value.
    pub(crate) fn add(&self, params: &mut Params, value: Tensor) {
        assert_eq!(value.shape(), self.shape, "the parameter `{}` has another shape", self.name);
        params.add(self.name.clone(), value, self.role.decays());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_weights_have_their_moments_and_their_own_stream() {
        let weight = Entry::new("a.weight", [200, 100], Role::Weight);
        let values = weight.initial(7).to_f64();
        let mean = values.iter().sum::<f64>() / 2e4;
        let std = (values.iter().map(|x| x * x).sum::<f64>() / 2e4).sqrt();
        // Standard errors: 1.4e-4 and 1e-4; five of them.
        assert!(mean.abs() < 7e-4 && (std - 0.02).abs() < 5e-4, "{mean} {std}");
        let other = Entry { name: "b.weight".into(), ..weight.clone() };
        assert_ne!(other.initial(7).to_f64(), values);
        assert_ne!(weight.initial(8).to_f64(), values);
        assert_eq!(weight.initial(7).to_f64(), values);
    }
}
