//! An encoder as an ONNX graph: whole texts in, one vector a text out, for programs that run no Lode.
//!
//! ```text
//! input_ids, attention_mask  [batch, sequence]  int64      BERT also token_type_ids; 1 in the mask where a token is
//! sentence_embedding         [batch, width]     float      pooled, and scaled to length 1 where the model does
//! ```
//! Other programs pad, so here a text has a mask, and a token's position is the number of tokens before it: texts may
//! be padded on either side. What the mask leaves out gets the lowest score there is before each softmax, and no weight
//! in the pooling. Dropout is not there. Opset 17, and no operator that a program adds of its own.

mod bag;
mod bert;
mod graph;
mod latent;
mod modernbert;
mod text;

use crate::architecture::Architecture;
use crate::model::Model;
use engine::Result;
use graph::{Dim, Graph};
use text::Text;

/// Hands out the bytes of an ONNX file, in pieces.
///
/// # Errors
/// `Refused` if the file would be larger than 2³¹ − 1 bytes, which ONNX cannot hold in one piece; and what `put` says.
///
/// # Panics
/// If a parameter of the architecture is not there, or the model is rounded.
pub fn write(model: &Model, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut graph = Graph::new(&model.params);
    let ids: Vec<_> = model.encoder().params().to_vec();
    let text = Text::new(&mut graph);
    let embedding = match &model.architecture {
        Architecture::Bert(config) => bert::encoder(&mut graph, config, &ids, &text),
        Architecture::ModernBert(config) => modernbert::encoder(&mut graph, config, &ids, &text),
        Architecture::Bag(config) => bag::encoder(&mut graph, config, &ids, &text),
    };
    graph.output(&embedding, "sentence_embedding", &[text::BATCH, Dim::Fixed(model.architecture.width())]);
    graph.write(&[("max_seq_length", model.tokens_max.to_string())], put)
}
