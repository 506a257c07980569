//! Layer 3: training. Joins data, samplers and models: the step, the loop, recipes, checkpoints, evaluation, serving.
//!
//! Reads no clock and no signal: the caller hands in an [`Observer`]. The heart is [`step`]; around it lie [`batch`]
//! (ids, masks, tokens), [`exec`] (whole or chunked), [`trainer`] (state), [`run`] (the loop).
#![forbid(unsafe_code)]

pub mod auxiliary;
pub mod batch;
pub mod checkpoint;
pub mod classifier;
pub mod config;
mod cross;
mod device;
pub mod embed;
pub mod evaluate;
pub mod exec;
pub mod explain;
pub mod finite;
#[cfg(test)]
mod fixture;
pub mod graph;
pub mod guide;
pub mod hardness;
mod head;
pub mod held;
pub mod index;
pub mod judge;
pub mod likeness;
pub mod load;
pub mod log;
mod memory;
pub mod mined;
pub mod mining;
pub(crate) mod negatives;
pub mod negatives_seen;
pub mod network;
mod noted;
pub mod observer;
pub mod overlay;
mod pace;
pub(crate) mod parts;
pub mod pipeline;
pub mod plan;
mod pooling;
pub mod predict;
pub mod presets;
pub mod race;
pub mod recipes;
pub mod run;
pub mod run_dir;
mod saver;
pub mod scoring;
pub mod step;
pub mod text_ids;
pub mod trainer;
mod truth;
mod validation;
pub mod vocabulary;
pub mod voting;
pub mod warm_start;

pub use auxiliary::Auxiliary;
pub use checkpoint::{Checkpoint, Progress, Trained};
pub use classifier::Classifier;
pub use config::{Config, Origin, Settings};
pub use device::Inference;
pub use evaluate::Evaluation;
pub use graph::Graph;
pub use held::Held;
pub use mined::Mined;
pub use network::Network;
pub use observer::{Event, Observer, Silent};
pub use overlay::Overlay;
pub use run::Outcome;
pub use run_dir::RunDir;
pub use step::StepReport;
pub use trainer::Trainer;
pub use warm_start::{OldLabels, WarmStart};
