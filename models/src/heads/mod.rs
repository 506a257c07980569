//! Heads: label weights that learn beside the encoder, or without it.

pub mod factored;
pub mod one_vs_all;
mod z_loss;

pub use factored::{Factored, Factors};
pub use one_vs_all::{Ids, OneVsAll, Soft, Truth};
pub use z_loss::{Moments, Slopes, ZLoss};
