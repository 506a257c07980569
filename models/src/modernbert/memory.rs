//! What a training step holds of this encoder, in bytes: the sum of what the operations of a layer keep.
//!
//! ```text
//! per token and layer   x, LN(x), q, k, v, attention, a, LN(a): 8 d  (the first layer has no LN(x))
//!                       u, φ(u), the gate, their product: 4 f;  moments of two norms
//! ```
//! As in `bert/memory.rs` each is as large as the pool's buffer for it.

use super::{Config, Size};
use engine::{Packed, pooled_bytes};

const NUMBER: usize = size_of::<f32>();

/// Bytes that the tape holds between forward and backward; with recompute, also one layer that lives again.
pub(super) fn activation_bytes(config: &Config, text: &Packed, recompute: bool) -> usize {
    let Size { layers, width, .. } = config.size;
    let tokens = text.tokens.len();
    let row = buffer(tokens, width);
    let moments = pooled_bytes(2 * tokens * NUMBER);
    // The token rows before the first norm; what the last layer gives, before the last norm.
    let ends = 2 * row + 2 * moments + buffer(text.len(), width) + NUMBER * text.len();
    let latents = config.latents.map_or(0, |latents| latents.activation_bytes(width, tokens));
    let kept = match recompute {
        // Of layer and latents one lives again at a time; of these it is what came out that stays, too.
        true => layers * row + layer(config, tokens).max(latents) + config.latents.map_or(0, |_| row),
        false => layers * layer(config, tokens) + latents,
    };
    ends + kept
}

/// Bytes that backward needs at once besides, parameters' gradients not counted: those of u and the gate, each as wide
/// as both, and the gradient of the residual.
pub(super) fn working_bytes(config: &Config, text: &Packed) -> usize {
    let tokens = text.tokens.len();
    let Size { width, ffn, .. } = config.size;
    let latents = config.latents.map_or(0, |latents| latents.working_bytes(width, tokens));
    (2 * buffer(tokens, 2 * ffn) + buffer(tokens, ffn) + buffer(tokens, width)).max(latents)
}

/// Bytes that encoding without a tape holds: the larger half of a layer. In the first x, LN(x), q k v together and
/// apart, q and k turned, attention, its projection and a; in the second x, a, LN(a), u and the gate together and
/// apart, φ(u), the product, its projection and y.
pub(super) fn inference_bytes(config: &Config, tokens: usize) -> usize {
    let row = |width| buffer(tokens, width);
    let (d, f) = (config.size.width, config.size.ffn);
    let latents = config.latents.map_or(0, |latents| latents.inference_bytes(d, tokens));
    (row(3 * d) + 10 * row(d)).max(5 * row(d) + row(2 * f) + 4 * row(f)).max(latents)
}

/// Bytes that one layer keeps.
fn layer(config: &Config, tokens: usize) -> usize {
    8 * buffer(tokens, config.size.width)
        + 4 * buffer(tokens, config.size.ffn)
        + 2 * pooled_bytes(2 * tokens * NUMBER)
}

/// The pool's buffer for a matrix with a row for each token.
fn buffer(rows: usize, width: usize) -> usize {
    pooled_bytes(rows * width * NUMBER)
}
