//! ModernBERT, as in `crate::modernbert`.
//!
//! The turns of the rotary positions are tables of cos and sin, computed in f64.

use super::graph::{Graph, Name, Told};
use super::latent;
use super::text::{Attention, Text, bent, looked_up, norm};
use crate::latent::Latents;
use crate::modernbert::{Config, PER_LAYER};
use autograd::ParamId;
use std::collections::BTreeMap;

/// cos and sin of every channel's turn, `[B, 1, S, d_h/2]`.
type Turns = [Name; 2];

/// `[B, d]`; the parameters are those of the layout, in order.
pub(super) fn encoder(g: &mut Graph<'_>, config: &Config, ids: &[ParamId], text: &Text) -> Name {
    let (body, latents) = Latents::split(ids, config.latents);
    let &[table, embedding_norm, ref layers @ .., last_norm] = body else {
        unreachable!("the layout has the embeddings and the last norm");
    };
    g.part = "embeddings".to_owned();
    let [table, gain] = [table, embedding_norm].map(|id| g.param(id));
    let words = looked_up(g, &table, &text.ids);
    let mut hidden = norm(g, &words, &[&gain], config.eps);
    g.part = "attention".to_owned();
    let keys = text.keys(g);
    // Layers with the same window or the same base share what is made of it.
    let (mut windows, mut turns) = (BTreeMap::new(), BTreeMap::new());
    for sight in &config.layers {
        if let Some(window) = sight.window {
            windows.entry(window).or_insert_with(|| within(g, text, window, &keys));
        }
        turns.entry(sight.theta.to_bits()).or_insert_with(|| turned(g, config, text, sight.theta));
    }
    let mut rest = layers;
    for (number, sight) in config.layers.iter().enumerate() {
        g.part = format!("layer{number}");
        let (ids, behind) = rest.split_at(if number == 0 { PER_LAYER - 1 } else { PER_LAYER });
        rest = behind;
        let seen = sight.window.map_or(&keys, |window| &windows[&window]);
        let attention = Attention { heads: config.size.heads, width: config.size.width, seen, bias: None };
        hidden = run(g, config, &attention, &turns[&sight.theta.to_bits()], &hidden, ids);
    }
    g.part = "last".to_owned();
    let gain = g.param(last_norm);
    let last = norm(g, &hidden, &[&gain], config.eps);
    let last = latent::through(g, config.latents, latents, last);
    text.pooled(g, &last, config.pooling, config.normalise)
}

/// What a layer with a window sees, `[B, 1, S, S]`, bool.
fn within(g: &mut Graph<'_>, text: &Text, window: usize, keys: &Name) -> Name {
    let (distances, most, axis) = (text.distances(g), g.int(window as i64), g.ints(&[1]));
    let distances = g.op("Abs", &[&distances], &[]);
    let near = g.op("LessOrEqual", &[&distances, &most], &[]);
    let near = g.op("Unsqueeze", &[&near, &axis], &[]);
    g.op("And", &[&near, keys], &[])
}

fn turned(g: &mut Graph<'_>, config: &Config, text: &Text, theta: f64) -> Turns {
    let half = config.size.width / config.size.heads / 2;
    let angle = |at: usize| {
        let (position, channel) = ((at / half) as f64, (at % half) as f64);
        position * theta.powf(-channel / half as f64)
    };
    [f64::cos, f64::sin].map(|of| {
        let values = (0..config.positions * half).map(|at| of(angle(at)) as f32).collect();
        let (table, axis) = (g.floats(&[config.positions, half], values), g.ints(&[1]));
        let rows = looked_up(g, &table, &text.positions);
        g.op("Unsqueeze", &[&rows, &axis], &[])
    })
}

/// (a, b) → (a cos − b sin, b cos + a sin), a and b the halves of every head.
fn rotary(g: &mut Graph<'_>, x: &Name, [cos, sin]: &Turns) -> Name {
    let [a, b] = g.ops("Split", &[x], &[("axis", Told::Int(-1))]);
    let mut times = |x: &Name, by: &Name| g.op("Mul", &[x, by], &[]);
    let [ac, bs, bc, as_] = [times(&a, cos), times(&b, sin), times(&b, cos), times(&a, sin)];
    let first = g.op("Sub", &[&ac, &bs], &[]);
    let second = g.op("Add", &[&bc, &as_], &[]);
    g.op("Concat", &[&first, &second], &[("axis", Told::Int(-1))])
}

/// One layer, pre-norm, gated.
fn run(
    g: &mut Graph<'_>,
    config: &Config,
    attention: &Attention<'_>,
    turns: &Turns,
    x: &Name,
    ids: &[ParamId],
) -> Name {
    let &[ref gain @ .., qkv, wo, gain_a, w1, w2] = ids else {
        unreachable!("a layer has five or six parameters");
    };
    let normed = match gain.first() {
        None => x.clone(),
        Some(&gain) => {
            let gain = g.param(gain);
            norm(g, x, &[&gain], config.eps)
        }
    };
    let together = g.linear(&normed, qkv, None);
    let apart: [Name; 3] = g.ops("Split", &[&together], &[("axis", Told::Int(-1))]);
    let [q, k, v] = apart.map(|part| attention.by_head(g, &part));
    let [q, k] = [q, k].map(|x| rotary(g, &x, turns));
    let mixed = attention.mixed(g, [&q, &k, &v]);
    let branch = g.linear(&mixed, wo, None);
    let a = g.op("Add", &[x, &branch], &[]);
    let gain = g.param(gain_a);
    let normed = norm(g, &a, &[&gain], config.eps);
    let both = g.linear(&normed, w1, None);
    let [u, gate] = g.ops("Split", &[&both], &[("axis", Told::Int(-1))]);
    let bent = bent(g, &u, config.activation);
    let gated = g.op("Mul", &[&bent, &gate], &[]);
    let branch = g.linear(&gated, w2, None);
    g.op("Add", &[&a, &branch], &[])
}
