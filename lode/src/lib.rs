//! Lode trains text encoders on mined hard negatives, and predicts labels with them: tensors, tape, encoders, samplers
//! and data sets in one library, nothing but Rust below.
//!
//! # The tape alone
//!
//! A linear regression, y = 2·x₀ − 3·x₁ + 1, found by gradient descent:
//!
//! ```
#![doc = include_str!("../examples/linear_regression.rs")]
//! ```
#![forbid(unsafe_code)]

pub use autograd::{self, Optimizer, Params, Sgd, Tape, Var};
pub use engine::{self, Engine, Error, Kind, Result, Stream, Tensor};
