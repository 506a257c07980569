//! What of a run lies on a device, by purpose, in the numbers of `plan.rs`.
//!
//! ```text
//! on the device    parameters   gradients   optimizer   activations   working buffers   loss   embedding
//!                  a classifier's step: what it scores, its gradient; its weights and their optimizer, where they fit
//!                  cuBLAS: its workspace   bf16: all weights, and the other factors of the largest product: T·(f + d)
//!                  what the pool lends too large
//!                  a search ([`samplers::resident`]), as far as it exceeds what a step takes
//! on the CPU       all else   what a checkpoint copies: parameters and the optimizer's state
//!                  the page-locked memory through which numbers are sent and fetched
//! ```
//! Auxiliary vectors, and the rows of a classifier that lies on the CPU, pass through both memories and are counted in
//! both.

use super::bytes;
use crate::head::Head;
use crate::negatives::looked_at;
use crate::trainer::Trainer;
use engine::cuda::STAGING_BYTES;
use engine::{Packed, Shape, pooled_bytes};
use samplers::resident::search_bytes;
use std::fmt;

/// What a device will hold.
#[derive(Clone, Debug, PartialEq)]
pub struct DevicePlan {
    /// Its name, `cuda:0`.
    pub name: String,
    /// Bytes by purpose, in the order of the table.
    pub parts: Vec<(&'static str, usize)>,
    /// Bytes of its memory that nobody holds besides.
    pub free: usize,
}

/// What leaves the CPU.
const MOVES: [&str; 8] =
    ["parameters", "gradients", "AdamW", "LAMB", "activations", "working buffers", "loss", "embedding"];
/// What leaves it where label weights lie on the device.
const LABELS: [&str; 3] = ["label weights", "label optimizer", "head step"];
/// What passes through both memories.
const IN_BOTH: [&str; 2] = ["auxiliary", "head step"];
/// The pool may lend a buffer that is larger than what is asked for, and ids and masks pass through it: of what a step
/// takes, one part in so many.
const SLACK: usize = 8;
/// Labels that a validation or an evaluation ranks.
const RANKED: usize = 100;

impl DevicePlan {
    /// Splits the plan of a run whose largest piece of a batch is `live`; none where the CPU computes.
    pub(super) fn split(
        trainer: &Trainer,
        live: &Packed,
        parts: &mut Vec<(&'static str, usize)>,
    ) -> Option<DevicePlan> {
        let cuda = trainer.engine.cuda()?;
        let labels: &[&str] =
            if trainer.head.as_ref().is_some_and(Head::is_on_device) { &LABELS } else { &[] };
        let moves = |name: &str| MOVES.contains(&name) || labels.contains(&name);
        let here = |&(name, _): &(&str, usize)| moves(name) || IN_BOTH.contains(&name);
        let mut own: Vec<_> = parts.iter().copied().filter(here).collect();
        if cuda.is_bf16() {
            // Half of what halves save where many lie side by side: the pool may lend whole buffers for them.
            let halved = trainer.network.encoder.halved_bytes(live.tokens.len(), trainer.network.recompute);
            let activations = own.iter_mut().filter(|part| part.0 == "activations");
            activations.for_each(|part| part.1 = part.1.saturating_sub(halved / 2));
        }
        let of = |names: &[&str]| -> usize {
            own.iter().filter(|(name, _)| names.contains(name)).map(|(_, bytes)| bytes).sum()
        };
        let (trained, step) = (
            of(&["parameters", "AdamW", "LAMB"]),
            of(&["activations", "working buffers", "loss", "head step"]),
        );
        if cuda.is_bf16() {
            own.push(("rounded factors", rounded(trainer, live.tokens.len())));
        }
        own.push(("lent larger", step / SLACK));
        own.push(("cuBLAS", cuda.workspace_bytes()));
        own.push(("search", searches(trainer).saturating_sub(step)));
        parts.retain(|(name, _)| !moves(name));
        parts.extend([("checkpoint", trained), ("page-locked", STAGING_BYTES)]);
        // What the run holds already is not wanted again.
        let free = cuda.memory_free() + cuda.pool_stats().bytes_in_use;
        Some(DevicePlan { name: format!("{cuda:?}"), parts: own, free })
    }
    /// All bytes.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl fmt::Display for DevicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {}, which has {} to give", self.name, bytes(self.free))?;
        for (name, part) in self.parts.iter().filter(|(_, bytes)| *bytes > 0) {
            write!(f, "\n  {name:<16} {:>10}", bytes(*part))?;
        }
        write!(f, "\n  {:<16} {:>10}", "memory at peak", bytes(self.total()))
    }
}

/// The weights of layers in bf16, what else is rounded for the largest product, with so many rows, and what of it is
/// not rounded yet.
fn rounded(trainer: &Trainer, tokens: usize) -> usize {
    let model = &trainer.network.model;
    let table = model.architecture.token_table(&model.params);
    let shapes = model.params.ids().filter(|&id| id != table).map(|id| model.params.value(id).shape());
    let matrices: Vec<Shape> = shapes.filter(|shape| shape.rank() == 2).collect();
    let beside = |shape: &Shape| -> usize {
        [0, 1].map(|i| pooled_bytes(2 * tokens * shape.dim(i))).into_iter().sum()
    };
    // What cuBLAS makes in f32 before it is bent and rounded.
    let made = |shape: &Shape| pooled_bytes(4 * tokens * shape.dim(0).max(shape.dim(1)));
    let by_cublas = trainer.engine.cuda().is_some_and(|cuda| cuda.cublas().is_some());
    let products = if by_cublas { matrices.iter().map(made).max().unwrap_or(0) } else { 0 };
    let weights: usize = matrices.iter().map(|shape| pooled_bytes(2 * shape.len())).sum();
    weights + products + matrices.iter().map(beside).max().unwrap_or(0)
}

/// What the largest search of a run takes: for lists, for a classifier, for a validation.
fn searches(trainer: &Trainer) -> usize {
    let (config, labels, width) = (&trainer.config, trainer.data.labels().len(), trainer.network.width());
    let (queries, validated) = (trainer.text_ids.queries.len(), trainer.validation_rows.len());
    let lists = if config.negatives.listed() { looked_at(&config.negatives) } else { 0 };
    let head = if trainer.head.is_some() { config.head.shortlist } else { 0 };
    let of = |queries: usize, k: usize| if k == 0 { 0 } else { search_bytes([queries, labels, width], k) };
    of(queries, lists.max(head)).max(of(validated, if validated > 0 { RANKED } else { 0 }))
}
