//! Attention on a device (`kernels/attention.cu`): the arms of `kernels/attention.rs`.

use super::{Block, Cuda, args};
use crate::kernels::attention::Layout;
use crate::kernels::dropout::Dropout;
use crate::tensor::Tensor;

/// The widest head: its rows lie in shared memory.
const WIDE: usize = 128;
/// Queries, or keys, of one block.
const OWN: usize = 8;

/// What all three kernels read beside the tensors.
struct Work {
    tiles: Block,
    grid: [usize; 3],
    width: usize,
    d: u32,
    scale: f32,
    drops: u32,
    key: [u32; 2],
    below: u32,
    kept: f32,
}

impl Work {
    fn new(cuda: &Cuda, x: &Tensor, layout: Layout<'_>) -> Work {
        let (width, dropout) = (x.shape().last(), layout.dropout);
        let d = width / layout.heads;
        assert!(d <= WIDE, "attention on a device takes heads of at most {WIDE} channels, this one has {d}");
        let mut tiles = vec![];
        for text in layout.starts.windows(2) {
            let slot = dropout.filter(|_| text[0] < text[1]).map_or(0, |d| d.places.slots[text[0] as usize]);
            tiles.extend((text[0]..text[1]).step_by(OWN).map(|first| [text[0], text[1], first, slot]));
        }
        Work {
            grid: [tiles.len(), layout.heads, 1],
            tiles: cuda.send(&tiles),
            width,
            d: d as u32,
            scale: (1.0 / (d as f64).sqrt()) as f32,
            drops: u32::from(dropout.is_some()),
            key: dropout.map_or([0; 2], |d| d.key),
            below: dropout.map_or(0, Dropout::dropped_below),
            kept: dropout.map_or(1.0, Dropout::scale),
        }
    }
}

pub(crate) fn attention(cuda: &Cuda, qkv: [&Tensor; 3], layout: Layout<'_>) -> Tensor {
    let ([q, k, v], w) = (qkv.map(|x| cuda.here(x)), Work::new(cuda, qkv[0], layout));
    let (y, [k0, k1]) = (cuda.floats(q.shape()), w.key);
    cuda.launch(
        "attention",
        w.grid,
        128,
        args![y, q, k, v, w.tiles, w.width, w.d, w.scale, w.drops, k0, k1, w.below, w.kept],
    );
    y
}

/// q̄, k̄, v̄.
pub(crate) fn gradients(cuda: &Cuda, qkv: [&Tensor; 3], g: &Tensor, layout: Layout<'_>) -> [Tensor; 3] {
    let ([q, k, v], g, w) = (qkv.map(|x| cuda.here(x)), cuda.here(g), Work::new(cuda, qkv[0], layout));
    let ([dq, dk, dv], [k0, k1]) = ([(); 3].map(|()| cuda.floats(q.shape())), w.key);
    // Of every query in every head: the maximum, the reciprocal of the sum, and c.
    let stats = cuda.floats([q.shape().rows(), layout.heads, 3]);
    cuda.launch(
        "attention_back_queries",
        w.grid,
        128,
        args![dq, stats, q, k, v, g, w.tiles, w.width, w.d, w.scale, w.drops, k0, k1, w.below, w.kept],
    );
    cuda.launch(
        "attention_back_keys",
        w.grid,
        128,
        args![dk, dv, stats, q, k, v, g, w.tiles, w.width, w.d, w.scale, w.drops, k0, k1, w.below, w.kept],
    );
    [dq, dk, dv]
}
