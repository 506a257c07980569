//! Layer 1: reading data, text to tokens, metrics.

pub mod tokenizer;

pub use tokenizer::Tokenizer;
