//! Learning over all labels at once, beside the tapes: in chunks of labels, or through factors.

use super::Tables;
use crate::config::HeadConfig;
use engine::kernels::bce::Truth;
use engine::{Engine, Factor, Table, Tensor};
use models::heads::factored::CHECK_EVERY;
use models::heads::{Factored, Factors, OneVsAll, ZLoss};
use std::borrow::Cow;

/// How it comes to the gradient over all labels.
pub(super) enum OverAll {
    /// Reads and moves all of them.
    Chunks(OneVsAll),
    /// Knows of all of them what the loss asks for; the table is a factor of the weights. None before they have their
    /// first values.
    Factors(Factored, Option<Factors>),
}

impl OverAll {
    /// The Z-loss as it is configured.
    pub(super) fn z_loss(head: &HeadConfig) -> OverAll {
        let loss = ZLoss { sharpness: head.z_sharpness, location: head.z_location };
        OverAll::Factors(Factored { loss, check_every: CHECK_EVERY }, None)
    }
    /// What made a number that is not finite.
    pub(super) fn name(&self) -> &'static str {
        match self {
            OverAll::Chunks(_) => "one_vs_all",
            OverAll::Factors(..) => "factored",
        }
    }
    /// Moves the weights: the loss before and dL/dx, or none where a number is not finite.
    pub(super) fn step(
        &mut self,
        engine: &Engine,
        Tables { weights, optimizer }: &mut Tables,
        x: &Tensor,
        truth: Truth<'_>,
        rate: f32,
    ) -> Option<(f64, Tensor)> {
        match self {
            OverAll::Chunks(loss) => loss.step(engine, weights, &mut **optimizer, x, truth, rate),
            OverAll::Factors(head, factors) => {
                let factors = factors.as_mut().expect("factors are made with the weights");
                // Its work does not grow with the labels: small matrices, in f64.
                let on_cpu = x.to_cpu();
                let found = head.step(engine, (weights, factors), &mut **optimizer, &on_cpu, truth, rate)?;
                Some((found.0, found.1.beside(x)))
            }
        }
    }
    /// Hears of weights that have their first values.
    pub(super) fn start(&mut self, engine: &Engine, weights: &Table) {
        if let OverAll::Factors(_, factors) = self {
            *factors = Some(Factors::new(engine, weights));
        }
    }
    /// What the weights are of the table, where that does not hold them itself.
    pub(super) fn factor(&self) -> Option<Factor<'_>> {
        match self {
            OverAll::Factors(_, factors) => factors.as_ref().map(Factors::factor),
            OverAll::Chunks(_) => None,
        }
    }
    /// For a checkpoint: the bits of all numbers beside the table.
    pub(super) fn state(&self) -> Option<Cow<'static, [u64]>> {
        match self {
            OverAll::Factors(_, Some(factors)) => {
                Some(factors.state().into_iter().map(f64::to_bits).collect())
            }
            OverAll::Factors(_, None) | OverAll::Chunks(_) => None,
        }
    }
    /// Goes back to what [`OverAll::state`] gave of a table of this shape; false if it is of another head.
    #[must_use]
    pub(super) fn restore(&mut self, shape: [usize; 2], state: Option<&[u64]>) -> bool {
        match (self, state) {
            (OverAll::Chunks(_), None) => true,
            (OverAll::Factors(_, factors), Some(bits)) => {
                let numbers: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
                *factors = Factors::restored(shape, &numbers);
                factors.is_some()
            }
            _ => false,
        }
    }
    /// Bytes of what is kept beside the table, which lies on a device or does not, and of what a step of `batch`
    /// queries takes that have `marked` labels, or leave them out.
    pub(super) fn bytes(
        &self,
        ([labels, width], is_on_device): ([usize; 2], bool),
        batch: usize,
        marked: usize,
    ) -> [usize; 2] {
        match self {
            // Logits, on a device beside what is rounded of them, and of a chunk its weights, their gradient, and a
            // copy in f32 where bf16 is changed.
            OverAll::Chunks(over) => {
                let logits = if is_on_device { 6 * batch } else { 4 * batch };
                [0, over.chunk_of(is_on_device).min(labels) * (logits + 12 * width)]
            }
            // Factors are copied while they are saved.
            OverAll::Factors(..) => {
                [16 * Factors::numbers(width), Factors::step_bytes(labels, width, batch, marked)]
            }
        }
    }
}
