//! Adam with decoupled weight decay (Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019,
//! algorithm 2), as `torch.optim.AdamW`.
//!
//! ```text
//! p ← p (1 − rate · λ)                                   where the parameter decays
//! m ← m + (1 − β₁)(g − m),  v ← β₂ v + (1 − β₂) g²
//! p ← p − rate · m̂ / (√v̂ + ε),  m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)
//! ```
//! t counts the steps of each parameter by itself. The bias corrections are computed in f64.

use super::saved::{Saved, counters, zeros_like};
use super::{Optimizer, for_each_given, trainable_bytes};
use crate::param::{ParamGrads, ParamId, Params};
use engine::kernels::adamw::{AdamStep, adamw};
use engine::kernels::given::Given;
use engine::profile::Way;
use engine::{Engine, Result, Tensor};

const STEPS: &str = "adamw.steps";

fn moment_names(param: &str) -> [String; 2] {
    [format!("adamw.m.{param}"), format!("adamw.v.{param}")]
}

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
#[derive(Debug, Default)]
pub struct AdamW {
    options: AdamWOptions,
    state: Vec<Option<Moments>>,
}

#[derive(Debug)]
struct Moments {
    m: Tensor,
    v: Tensor,
    steps: u32,
}

impl AdamW {
    /// A fresh optimizer.
    pub fn new(options: AdamWOptions) -> AdamW {
        AdamW { options, state: Vec::new() }
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, engine: &Engine, params: &mut Params, grads: &ParamGrads, rate: f32) {
        self.state.resize_with(params.len(), || None);
        let AdamWOptions { betas, eps, weight_decay, decay_all } = self.options;
        let update = |params: &mut Params, id: ParamId, grad: Given<'_>| {
            let decay = if decay_all || params.decays(id) { weight_decay } else { 0.0 };
            let value = params.value_mut(id);
            let fresh = || Moments { m: zeros_like(value), v: zeros_like(value), steps: 0 };
            let moments = self.state[id.index()].get_or_insert_with(fresh);
            moments.steps += 1;
            let step = AdamStep::new(betas, eps, decay, f64::from(rate), moments.steps);
            adamw(engine, value, (&mut moments.m, &mut moments.v), grad, &step);
        };
        engine.span("AdamW", Way::Beside, || for_each_given(params, grads, update));
    }
    /// `adamw.steps` (a counter for each parameter, 0 where it has no state), `adamw.m.<parameter>` and
    /// `adamw.v.<parameter>`.
    fn state(&self, params: &Params) -> Vec<(String, Tensor)> {
        let steps = self.state.iter().map(|s| s.as_ref().map_or(0, |s| s.steps));
        let mut state = vec![(STEPS.to_owned(), counters(params, steps))];
        for (id, moments) in params.ids().zip(&self.state) {
            if let Some(Moments { m, v, .. }) = moments {
                state.extend(moment_names(params.name(id)).into_iter().zip([m.clone(), v.clone()]));
            }
        }
        state
    }
    fn restore(&mut self, params: &Params, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut saved = Saved::new(state)?;
        let counters = saved.counters(STEPS, params)?;
        let mut state = Vec::new();
        for (id, steps) in params.ids().zip(counters) {
            let (value, [m, v]) = (params.value(id), moment_names(params.name(id)));
            let mut take = |name: &str| saved.take(name, value.shape(), value.dtype());
            state.push(if steps > 0 { Some(Moments { m: take(&m)?, v: take(&v)?, steps }) } else { None });
        }
        saved.finish()?;
        self.state = state;
        Ok(())
    }
    fn bytes(&self, params: &Params) -> usize {
        2 * trainable_bytes(params)
    }
}
