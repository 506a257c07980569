//! Layer 1: data sets. Reads what the field writes, and makes one mapped file of it.

pub mod delimited;
pub(crate) mod lines;
pub mod title;
pub mod tokenizer;

pub use tokenizer::Tokenizer;
