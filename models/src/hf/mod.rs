//! Model directories of Hugging Face and sentence-transformers, in ([`read`]) and out ([`write`]).
//!
//! ```text
//! config.json  model.safetensors  tokenizer.json  vocab.txt  tokenizer_config.json  special_tokens_map.json
//! modules.json  sentence_bert_config.json  config_sentence_transformers.json  1_Pooling/  2_Normalize/
//! README.md
//! ```
//! A bag is a `StaticEmbedding`: `modules.json`, `0_StaticEmbedding/{model.safetensors, tokenizer.json}`,
//! `1_Normalize/`.

mod card;
mod config;
mod cross;
mod json;
mod modernbert;
mod modules;
mod prompts;
mod read;
mod tokenizer;
mod weights;
mod write;

pub use card::Card;
pub use cross::{CrossExport, CrossImport, read_cross, write_cross};
pub use prompts::{Prompts, prompts};
pub use read::{Import, read, tokenizer_folder};
pub use write::{Export, write};
