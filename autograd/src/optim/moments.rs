//! The two moments of Adam for every parameter, and their way into a checkpoint and back.

use super::saved::{Saved, counters, zeros_like};
use crate::param::{ParamId, Params};
use engine::{Result, Tensor};

/// The moments of all parameters. Each begins with its parameter's first gradient.
#[derive(Debug)]
pub(super) struct AllMoments {
    /// What names in a checkpoint begin with.
    prefix: &'static str,
    all: Vec<Option<Moments>>,
}

/// The moments of one parameter.
#[derive(Debug)]
pub(super) struct Moments {
    pub(super) m: Tensor,
    pub(super) v: Tensor,
    /// Steps of this parameter so far.
    pub(super) steps: u32,
}

impl AllMoments {
    pub(super) fn new(prefix: &'static str) -> AllMoments {
        AllMoments { prefix, all: Vec::new() }
    }
    /// The moments of parameter `id`, whose value is given, in its next step.
    pub(super) fn begin(&mut self, id: ParamId, value: &Tensor) -> &mut Moments {
        let count = self.all.len().max(id.index() + 1);
        self.all.resize_with(count, || None);
        let fresh = || Moments { m: zeros_like(value), v: zeros_like(value), steps: 0 };
        let pair = self.all[id.index()].get_or_insert_with(fresh);
        pair.steps += 1;
        pair
    }
    fn steps_name(&self) -> String {
        format!("{}.steps", self.prefix)
    }
    fn names(&self, param: &str) -> [String; 2] {
        ["m", "v"].map(|moment| format!("{}.{moment}.{param}", self.prefix))
    }
    /// `prefix.steps` (a counter for each parameter, 0 where it has no moments), `prefix.m.<parameter>` and
    /// `prefix.v.<parameter>`.
    pub(super) fn state(&self, params: &Params) -> Vec<(String, Tensor)> {
        let steps = self.all.iter().map(|pair| pair.as_ref().map_or(0, |pair| pair.steps));
        let mut state = vec![(self.steps_name(), counters(params, steps))];
        for (id, pair) in params.ids().zip(&self.all) {
            if let Some(Moments { m, v, .. }) = pair {
                state.extend(self.names(params.name(id)).into_iter().zip([m.clone(), v.clone()]));
            }
        }
        state
    }
    /// Takes what [`AllMoments::state`] gave; on an error nothing has changed.
    pub(super) fn restore(&mut self, params: &Params, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut saved = Saved::new(state)?;
        let counters = saved.counters(&self.steps_name(), params)?;
        let mut all = Vec::new();
        for (id, steps) in params.ids().zip(counters) {
            let (value, [m, v]) = (params.value(id), self.names(params.name(id)));
            let mut take = |name: &str| Ok(saved.take(name, value.shape(), value.dtype())?.beside(value));
            all.push(if steps > 0 { Some(Moments { m: take(&m)?, v: take(&v)?, steps }) } else { None });
        }
        saved.finish()?;
        self.all = all;
        Ok(())
    }
}
