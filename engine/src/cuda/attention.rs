//! Attention on a device (`kernels/attention.cu`): the arms of `kernels/attention.rs`.

use super::{Block, Cuda, args};
use crate::kernels::attention::{Gradients, Layout};
use crate::kernels::dropout::Dropout;
use crate::tensor::Tensor;

/// Channels of the widest head of attention that a device computes: its rows lie in shared memory.
pub const HEAD_WIDTH_MAX: usize = 128;
/// Queries, or keys, of one block.
const OWN: usize = 8;

/// What all kernels read beside the tensors.
struct Work {
    /// None where there is no bias.
    bias: Option<Tensor>,
    /// The row of distance 0 in it.
    zero: u32,
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
    /// Tiles of `own` tokens at most.
    fn new(cuda: &Cuda, x: &Tensor, layout: Layout<'_>, own: usize) -> Work {
        let (width, dropout) = (x.shape().last(), layout.dropout);
        let d = width / layout.heads;
        assert!(
            d <= HEAD_WIDTH_MAX,
            "a head of {d} channels, at most {HEAD_WIDTH_MAX} are computed on a device"
        );
        let mut tiles = vec![];
        for text in layout.starts.windows(2) {
            let slot =
                dropout.filter(|_| text[0] < text[1]).map_or(0, |d| d.places.slots()[text[0] as usize]);
            tiles.extend((text[0]..text[1]).step_by(own).map(|first| [text[0], text[1], first, slot]));
        }
        Work {
            bias: layout.bias.map(|bias| cuda.here(bias)),
            zero: layout.bias.map_or(0, |bias| bias.shape().dim(0) as u32 / 2),
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
    let ([q, k, v], w) = (qkv.map(|x| cuda.here(x)), Work::new(cuda, qkv[0], layout, OWN));
    let (y, [k0, k1]) = (cuda.floats(q.shape()), w.key);
    cuda.launch(
        "attention",
        w.grid,
        128,
        args![y, q, k, v, w.bias, w.zero, w.tiles, w.width, w.d, w.scale, w.drops, k0, k1, w.below, w.kept],
    );
    y
}

/// The gradients; that of the bias if there is one and `of_bias` says so.
pub(crate) fn gradients(
    cuda: &Cuda,
    qkv: [&Tensor; 3],
    g: &Tensor,
    layout: Layout<'_>,
    of_bias: bool,
) -> Gradients {
    let ([q, k, v], g) = (qkv.map(|x| cuda.here(x)), cuda.here(g));
    let w = Work::new(cuda, &q, layout, OWN);
    let ([dq, dk, dv], [k0, k1]) = ([(); 3].map(|()| cuda.floats(q.shape())), w.key);
    // Of every query in every head: the maximum, the reciprocal of the sum, and c.
    let stats = cuda.floats([q.shape().rows(), layout.heads, 3]);
    macro_rules! launch {
        ($name:literal, $w:expr, $($first:expr),*) => {
            cuda.launch($name, $w.grid, 128, args![
                $($first,)* q, k, v, g, w.bias, w.zero, $w.tiles, w.width, w.d, w.scale, w.drops, k0, k1,
                w.below, w.kept
            ])
        };
    }
    launch!("attention_back_queries", w, dq, stats);
    launch!("attention_back_keys", w, dk, dv, stats);
    let bias = w.bias.as_ref().filter(|_| of_bias).map(|bias| {
        let texts = Work::new(cuda, &q, layout, usize::MAX);
        let [parts, numbers] = [texts.grid[0], bias.len()];
        let (sum, sums) = (cuda.floats(bias.shape()), cuda.floats([parts, numbers]));
        launch!("attention_back_bias", texts, sums, stats);
        cuda.each("sum_total", numbers, args![sum, sums, numbers, parts]);
        sum
    });
    Gradients { qkv: [dq, dk, dv], bias }
}
