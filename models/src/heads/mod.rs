//! Heads: label weights that learn beside the encoder, or without it.

pub mod one_vs_all;

pub use one_vs_all::{Ids, OneVsAll, Soft, Truth};
