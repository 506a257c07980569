//! Adam with decoupled weight decay (Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019,
//! algorithm 2), as `torch.optim.AdamW`.
//!
//! ```text
//! p ← p (1 − rate · λ)                                   where the parameter decays
//! m ← m + (1 − β₁)(g − m),  v ← β₂ v + (1 − β₂) g²
//! p ← p − rate · m̂ / (√v̂ + ε),  m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)
//! ```
//! t counts the steps of each parameter by itself. The bias corrections are computed in f64.

use super::moments::AllMoments;
use super::{Optimizer, for_each_given, trainable_bytes};
use crate::param::{ParamGrads, ParamId, Params};
use engine::kernels::adamw::{AdamStep, adamw};
use engine::kernels::given::Given;
use engine::profile::Way;
use engine::{Engine, Result, Tensor};

/// The constants of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWOptions {
    /// β₁ and β₂: how slowly the moments forget.
    pub betas: (f64, f64),
    /// ε, added to √v̂.
    pub eps: f64,
    /// λ, in units of 1 / (rate · step).
    pub weight_decay: f64,
    /// Decay all parameters, as PyTorch's plain call does, instead of those whose [`Params::decays`] says so.
    pub decay_all: bool,
}

impl Default for AdamWOptions {
    /// PyTorch's constants; decay by the list.
    fn default() -> AdamWOptions {
        AdamWOptions { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01, decay_all: false }
    }
}

/// Adam with decoupled weight decay. The state is two numbers a parameter.
#[derive(Debug)]
pub struct AdamW {
    options: AdamWOptions,
    moments: AllMoments,
}

impl AdamW {
    /// A fresh optimizer.
    pub fn new(options: AdamWOptions) -> AdamW {
        AdamW { options, moments: AllMoments::new("adamw") }
    }
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW::new(AdamWOptions::default())
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, engine: &Engine, params: &mut Params, grads: &ParamGrads, rate: f32) {
        let AdamWOptions { betas, eps, weight_decay, decay_all } = self.options;
        let update = |params: &mut Params, id: ParamId, grad: Given<'_>| {
            let decay = if decay_all || params.decays(id) { weight_decay } else { 0.0 };
            let value = params.value_mut(id);
            let moments = self.moments.begin(id, value);
            let step = AdamStep::new(betas, eps, decay, f64::from(rate), moments.steps);
            adamw(engine, value, (&mut moments.m, &mut moments.v), grad, &step);
        };
        engine.span("AdamW", Way::Beside, || for_each_given(params, grads, update));
    }
    /// `adamw.steps`, `adamw.m.<parameter>` and `adamw.v.<parameter>`.
    fn state(&self, params: &Params) -> Vec<(String, Tensor)> {
        self.moments.state(params)
    }
    fn restore(&mut self, params: &Params, state: Vec<(String, Tensor)>) -> Result<()> {
        self.moments.restore(params, state)
    }
    fn bytes(&self, params: &Params) -> usize {
        2 * trainable_bytes(params)
    }
}
