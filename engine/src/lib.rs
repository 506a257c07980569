//! Layer 0: tensors, kernels, threads, random numbers, mapped files. Knows no gradient, no token, no label.
//!
//! All `unsafe` code of the house lives in this crate.

pub mod error;
pub mod packed;
pub mod random;

pub use error::{Error, Kind, Result};
pub use packed::Packed;
pub use random::Stream;
