//! Layer 2: text encoders over packed text, losses, and model directories in and out. Never reads a data set,
//! knows no label id and tokenizes nothing.
//!
//! ```
//! use engine::{Engine, Packed};
//! use models::{Architecture, Model, Scope, bert};
//!
//! let size = bert::Size { layers: 1, width: 8, heads: 2, ffn: 16 };
//! let config = bert::Config::from_size(size, 100, 16);        // 100 pieces, texts of up to 16 tokens
//! let model = Model::fresh(Architecture::Bert(config), 16, 7);
//!
//! let mut texts = Packed::default();
//! texts.push([2, 11, 12, 3]);
//! texts.push([2, 3]);
//! let tape = autograd::Tape::inference(&Engine::new(1));
//! let e = model.encoder().encode(&Scope::new(&tape, &model.params), &texts, 0).value();
//! assert_eq!(e.shape().dims(), [2, 8]);                       // one vector of length 1 a text
//! ```
//! Read `encoder.rs` for what an encoder is, `bag.rs` for the smallest, `bert/mod.rs` and `bert/layer.rs` for
//! the transformer, `modernbert/` for its successor, `losses/` for what is minimised, `hf/` and
//! `onnx/` for the files.
#![forbid(unsafe_code)]

pub mod architecture;
pub mod bag;
pub mod bert;
pub mod cross;
pub mod encoder;
pub mod heads;
pub mod hf;
pub mod latent;
pub mod layout;
pub mod losses;
pub mod model;
pub mod modernbert;
pub mod onnx;
pub mod protobuf;
mod streams;

pub use architecture::{Architecture, init_from_bag};
pub use encoder::{Encoder, Scope};
pub use losses::{
    Adversarial, CoSent, Debiased, Distil, InfoNce, ListLoss, MarginMse, Objective, Outcome, Pairwise,
    SetObjective, SetTerms, Terms, Triplet, Weighting,
};
pub use model::Model;
