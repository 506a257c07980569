//! Exercise 4: the smallest encoder, without a tape.
//!
//! ```text
//! e = y/‖y‖,   y = 1/n Σ E[w]               over the n tokens between the first and the last one;  n = 0 → 0
//! ```
//! A sum has the direction of the mean, so n need not be divided by.

use lode::engine::Packed;

/// One vector a text, row by row: `[B · width]`. Row `w` of the table is `table[w * width..][..width]`.
pub(crate) fn encode(table: &[f32], width: usize, texts: &Packed) -> Vec<f32> {
    let mut all = Vec::with_capacity(texts.len() * width);
    for i in 0..texts.len() {
        let tokens = texts.text(i);
        let inner = tokens.get(1..tokens.len().saturating_sub(1)).unwrap_or(&[]);
        let mut y = vec![0.0f32; width];
        for &w in inner {
            let row = &table[w as usize * width..][..width];
            y.iter_mut().zip(row).for_each(|(y, x)| *y += x);
        }
        let length = y.iter().map(|y| y * y).sum::<f32>().sqrt();
        all.extend(y.iter().map(|y| if length > 0.0 { y / length } else { 0.0 }));
    }
    all
}
