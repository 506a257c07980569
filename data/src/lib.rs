//! Layer 1: data sets. Reads what the field writes, and makes one mapped file of it.

pub(crate) mod build;
pub mod delimited;
pub(crate) mod lines;
pub(crate) mod read;
pub(crate) mod reject;
pub mod source;
pub mod title;
pub mod tokenizer;

pub use tokenizer::Tokenizer;

pub use build::Split;
