//! Layer 1: reading data, text to tokens, metrics.

pub mod metrics;
pub mod tokenizer;
pub mod wordpiece;

pub use tokenizer::Tokenizer;
