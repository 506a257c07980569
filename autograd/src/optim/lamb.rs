//! LAMB: Adam whose step is as long as the layer that it moves, times the rate (You et al., "Large batch optimization
//! for deep learning: training BERT in 76 minutes", ICLR 2020, algorithm 2, with φ the identity).
//!
//! ```text
//! m ← m + (1 − β₁)(g − m),  v ← β₂ v + (1 − β₂) g²          m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)
//! u = m̂ / (√v̂ + ε) + λ p                                    λ = 0 where the parameter does not decay
//! p ← p − rate · (‖p‖ / ‖u‖) · u                             the ratio is 1 where either norm is 0
//! ```
//! A layer is a tensor of [`Params`]. t counts the steps of each parameter by itself. Norms are summed in f64 in blocks
//! of a fixed size. The code with which STAR and ANCE were published (pytorch-lamb) is another rule: it has no bias
//! corrections (m̂ = m, v̂ = v), and ‖p‖ is at most 10 there.

use super::moments::AllMoments;
use super::{Optimizer, for_each_given, trainable_bytes};
use crate::param::{ParamGrads, ParamId, Params};
use engine::kernels::given::Given;
use engine::kernels::lamb::{LambStep, lamb};
use engine::profile::Way;
use engine::{Engine, Result, Tensor};

/// The constants of [`Lamb`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LambOptions {
    /// β₁ and β₂: how slowly the moments forget.
    pub betas: (f64, f64),
    /// ε, added to √v̂.
    pub eps: f64,
    /// λ: the share of the parameter in the direction of a step.
    pub weight_decay: f64,
    /// Decay all parameters, instead of those whose [`Params::decays`] says so.
    pub decay_all: bool,
}

impl Default for LambOptions {
    /// The paper's constants (0.9, 0.999, 1e-6, λ = 0.01); decay by the list.
    fn default() -> LambOptions {
        LambOptions { betas: (0.9, 0.999), eps: 1e-6, weight_decay: 0.01, decay_all: false }
    }
}

/// Adam by layers, each as far as it is long. The state is two numbers a parameter.
#[derive(Debug)]
pub struct Lamb {
    options: LambOptions,
    moments: AllMoments,
}

impl Lamb {
    /// A fresh optimizer.
    pub fn new(options: LambOptions) -> Lamb {
        Lamb { options, moments: AllMoments::new("lamb") }
    }
}

impl Default for Lamb {
    fn default() -> Lamb {
        Lamb::new(LambOptions::default())
    }
}

impl Optimizer for Lamb {
    fn step(&mut self, engine: &Engine, params: &mut Params, grads: &ParamGrads, rate: f32) {
        let LambOptions { betas, eps, weight_decay, decay_all } = self.options;
        let update = |params: &mut Params, id: ParamId, grad: Given<'_>| {
            let decay = if decay_all || params.decays(id) { weight_decay } else { 0.0 };
            let value = params.value_mut(id);
            let moments = self.moments.begin(id, value);
            let step = LambStep::new(betas, eps, decay, f64::from(rate), moments.steps);
            lamb(engine, value, (&mut moments.m, &mut moments.v), grad, &step);
        };
        engine.span("LAMB", Way::Beside, || for_each_given(params, grads, update));
    }
    /// `lamb.steps`, `lamb.m.<parameter>` and `lamb.v.<parameter>`.
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
