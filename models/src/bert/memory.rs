//! What a training step holds of this encoder, in bytes: the sum of what the operations of a layer keep.
//!
//! ```text
//! per token and layer   x q k v, attention, x + attention, a, a + ffn: 8 d
//!                       before φ: f;  moments of two norms: 4
//! backward on top       the gradient before φ and what is behind it: 2 f;  gradient of the residual: d
//! a layer that lives again (recompute), until it ends: 3 d more
//! ```
//! The three are the two projections before they are added and the layer's output: a tape forgets these at once, a
//! layer that runs inside a scope of its own when the scope ends. The gradient that waits for it is that of the
//! residual. Each is as large as the pool's buffer for it. Without a tape a half of a layer is forgotten when it ends.

use super::{Config, Size};
use engine::{Packed, pooled_bytes};

const NUMBER: usize = size_of::<f32>();

/// Bytes that the tape holds between forward and backward; with recompute, also one layer that lives again.
pub(super) fn activation_bytes(config: &Config, text: &Packed, recompute: bool) -> usize {
    let Size { layers, width, .. } = config.size;
    let tokens = text.tokens.len();
    let row = buffer(tokens, width);
    let latents = config.latents.map_or(0, |latents| latents.activation_bytes(width, tokens));
    let ends = config.latents.map_or(0, |_| row);
    // Before the first layer norm, and its moments; what is behind it is the input of the first layer.
    let small = NUMBER * (2 * tokens + text.len());
    let inside = match recompute {
        // Of layer and latents one lives again at a time; of these it is what came out that stays, too.
        true => layers * row + (layer(config, tokens) + 3 * row).max(latents) + ends,
        false => layers * layer(config, tokens) + latents,
    };
    row + inside + buffer(text.len(), width) + small
}

/// Bytes that backward needs at once besides, parameters' gradients not counted.
pub(super) fn working_bytes(config: &Config, text: &Packed) -> usize {
    let tokens = text.tokens.len();
    let Size { width, ffn, .. } = config.size;
    let latents = config.latents.map_or(0, |latents| latents.working_bytes(width, tokens));
    (2 * buffer(tokens, ffn) + buffer(tokens, width)).max(latents)
}

/// Of [`activation_bytes`] what is before φ.
pub(super) fn halved_bytes(config: &Config, tokens: usize, recompute: bool) -> usize {
    let Size { layers, ffn, .. } = config.size;
    let live = if recompute { 1 } else { layers };
    live * buffer(tokens, ffn)
}

/// Bytes that encoding without a tape holds: the larger half of a layer. In the first x q k v, attention, its
/// projection, the sum and a; in the second x, a, φ, the projection and y.
pub(super) fn inference_bytes(config: &Config, tokens: usize) -> usize {
    let (row, wide) = (buffer(tokens, config.size.width), buffer(tokens, config.size.ffn));
    let latents = config.latents.map_or(0, |latents| latents.inference_bytes(config.size.width, tokens));
    (8 * row).max(4 * row + wide).max(latents)
}

/// Bytes that one layer keeps.
fn layer(config: &Config, tokens: usize) -> usize {
    8 * buffer(tokens, config.size.width)
        + buffer(tokens, config.size.ffn)
        + 2 * pooled_bytes(2 * tokens * NUMBER)
}

/// The pool's buffer for a matrix with a row for each token.
fn buffer(rows: usize, width: usize) -> usize {
    pooled_bytes(rows * width * NUMBER)
}
