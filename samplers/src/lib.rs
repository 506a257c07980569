//! wip
#![forbid(unsafe_code)]
pub mod composer;
pub mod matrix;
mod ranking;
mod snapshot;
mod tags;
pub use matrix::{Csr, Matrix};
pub use snapshot::{Need, Snapshot};
