//! Exercise 4: the smallest encoder, without a tape.
//!
//! ```text
//! e = y/‖y‖,   y = 1/n Σ E[w]               over the n tokens between the first and the last one;  n = 0 → 0
//! ```

use lode::engine::Packed;

/// One vector a text, row by row: `[B · width]`. Row `w` of the table is `table[w * width..][..width]`.
pub(crate) fn encode(table: &[f32], width: usize, texts: &Packed) -> Vec<f32> {
    // HOLE: `texts.text(i)` are the tokens of text i, frame and all.
    vec![0.0 * table[0]; texts.len() * width]
}
