//! wip
#![forbid(unsafe_code)]
pub mod bank;
pub mod composer;
pub mod mask;
pub mod matrix;
pub mod miner;
mod ranking;
pub mod search;
pub mod shaper;
mod snapshot;
mod tags;
pub use matrix::{Csr, Matrix};
pub use snapshot::{Need, Snapshot};
