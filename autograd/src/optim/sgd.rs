//! Gradient descent with optional momentum, as `torch.optim.SGD` without dampening, Nesterov and decay.
//!
//! ```text
//! b ← μ b + g,  b = g the first time        p ← p − rate · b
//! ```

use super::saved::{Saved, counters, zeros_like};
use super::{Optimizer, for_each_given, trainable_bytes};
use crate::param::{ParamGrads, Params};
use engine::kernels::sgd::{sgd, sgd_momentum};
use engine::{Engine, Result, Tensor};

const STEPS: &str = "sgd.steps";

fn buffer_name(param: &str) -> String {
    format!("sgd.momentum.{param}")
}

/// Gradient descent. The state is one number a parameter with momentum, and nothing without.
#[derive(Debug)]
pub struct Sgd {
    momentum: f64,
    buffers: Vec<Option<Tensor>>,
}

impl Sgd {
    /// Gradient descent with momentum μ; 0 for none.
    pub fn new(momentum: f64) -> Sgd {
        Sgd { momentum, buffers: Vec::new() }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, engine: &Engine, params: &mut Params, grads: &ParamGrads, rate: f32) {
        self.buffers.resize_with(params.len(), || None);
        let rate = f64::from(rate);
        for_each_given(params, grads, |params, id, grad| {
            let value = params.value_mut(id);
            if self.momentum == 0.0 {
                return sgd(engine, value, grad, rate);
            }
            let buffer = self.buffers[id.index()].get_or_insert_with(|| zeros_like(value));
            sgd_momentum(engine, value, (buffer, self.momentum), grad, rate);
        });
    }
    /// `sgd.steps` (1 for each parameter that has a buffer, else 0) and `sgd.momentum.<parameter>`.
    fn state(&self, params: &Params) -> Vec<(String, Tensor)> {
        let held = self.buffers.iter().map(|b| u32::from(b.is_some()));
        let mut state = vec![(STEPS.to_owned(), counters(params, held))];
        for (id, buffer) in params.ids().zip(&self.buffers) {
            state.extend(buffer.clone().map(|b| (buffer_name(params.name(id)), b)));
        }
        state
    }
    fn restore(&mut self, params: &Params, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut saved = Saved::new(state)?;
        let held = saved.counters(STEPS, params)?;
        let mut buffers = Vec::new();
        for (id, held) in params.ids().zip(held) {
            let value = params.value(id);
            let mut take = || {
                let name = buffer_name(params.name(id));
                Ok(saved.take(&name, value.shape(), value.dtype())?.beside(value))
            };
            buffers.push(if held > 0 { Some(take()?) } else { None });
        }
        saved.finish()?;
        self.buffers = buffers;
        Ok(())
    }
    fn bytes(&self, params: &Params) -> usize {
        if self.momentum == 0.0 { 0 } else { trainable_bytes(params) }
    }
}
