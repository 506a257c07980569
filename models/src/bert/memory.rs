//! What a training step holds of this encoder, in bytes: the sum of what the operations of a layer keep.
//!
//! ```text
//! per token and layer   x q k v, attention, x + attention, a, a + ffn: 8 d
//!                       before and behind φ: 2 f;  moments of two norms: 4
//! backward on top       gradients of both sides of φ: 2 f;  of the residual, inside, of x: 3 d
//! ```
//! The buffers of the pool are up to a quarter larger than their contents; that is not counted here.

use super::{Config, Size};
use engine::Packed;

const NUMBER: usize = size_of::<f32>();

/// Bytes that the tape holds between forward and backward; with recompute, also one layer that lives again.
pub(super) fn activation_bytes(config: &Config, text: &Packed, recompute: bool) -> usize {
    let Size { layers, width, .. } = config.size;
    let (tokens, texts) = (text.tokens.len(), text.len());
    // Before the first layer norm, and its moments; what is behind it is the input of the first layer.
    let embeddings = width + 2;
    let inside = if recompute { layers * width + layer(config) } else { layers * layer(config) };
    NUMBER * (tokens * (embeddings + inside) + texts * (width + 1))
}

/// Bytes that backward needs at once besides, parameters' gradients not counted.
pub(super) fn working_bytes(config: &Config, text: &Packed) -> usize {
    NUMBER * text.tokens.len() * (2 * config.size.ffn + 3 * config.size.width)
}

/// Numbers that one layer keeps for a token.
fn layer(config: &Config) -> usize {
    8 * config.size.width + 2 * config.size.ffn + 4
}
