//! BERT and its relatives, as in `crate::bert`.

use super::graph::{Graph, Name, Told};
use super::latent;
use super::text::{Attention, Text, bent, looked_up, norm};
use crate::bert::relative::buckets;
use crate::bert::{Config, PER_LAYER};
use crate::latent::Latents;
use autograd::ParamId;

/// `[B, d]`; the parameters are those of the layout, in order.
pub(super) fn encoder(g: &mut Graph<'_>, config: &Config, ids: &[ParamId], text: &Text) -> Name {
    let (body, latents) = Latents::split(ids, config.latents);
    let (front, layers) = body.split_at(body.len() - PER_LAYER * config.size.layers);
    let (embeddings, relative) = front.split_at(front.len() - config.relative());
    let mut hidden = embedded(g, config, embeddings, text);
    g.part = "attention".to_owned();
    let seen = text.keys(g);
    let bias = relative.first().map(|&table| by_distance(g, config, table, text));
    let Config { size, .. } = config;
    let attention = Attention { heads: size.heads, width: size.width, seen: &seen, bias: bias.as_ref() };
    for (number, layer) in layers.chunks_exact(PER_LAYER).enumerate() {
        g.part = format!("layer{number}");
        hidden = run(g, config, &attention, &hidden, layer);
    }
    let hidden = latent::through(g, config.latents, latents, hidden);
    text.pooled(g, &hidden, config.pooling, config.normalise)
}

fn embedded(g: &mut Graph<'_>, config: &Config, ids: &[ParamId], text: &Text) -> Name {
    g.part = "embeddings".to_owned();
    let params: Vec<Name> = ids.iter().map(|&id| g.param(id)).collect();
    let (tables, learned) = params.split_at(params.len() - 2);
    let first = g.int(config.first_position().into());
    let rows = g.op("Add", &[&text.positions, &first], &[]);
    let (words, positions) = (looked_up(g, &tables[0], &text.ids), looked_up(g, &tables[1], &rows));
    let mut sum = g.op("Add", &[&words, &positions], &[]);
    if let Some(table) = tables.get(2) {
        // A family with one type has no input for it.
        let of = if config.types > 1 { Text::types(g) } else { g.int(0) };
        let types = looked_up(g, table, &of);
        sum = g.op("Add", &[&sum, &types], &[]);
    }
    norm(g, &sum, &[&learned[0], &learned[1]], config.eps)
}

/// The bias by distance, `[B, heads, S, S]`: a table of all distances that positions can have.
fn by_distance(g: &mut Graph<'_>, config: &Config, table: ParamId, text: &Text) -> Name {
    let most = config.tokens_max();
    let rows = g.values(table);
    let heads = config.size.heads;
    let rows: Vec<f32> =
        buckets(most).iter().flat_map(|&b| rows[b as usize * heads..][..heads].to_vec()).collect();
    let table = g.floats(&[2 * most - 1, heads], rows);
    let (distances, shift) = (text.distances(g), g.int(most as i64 - 1));
    let at = g.op("Add", &[&distances, &shift], &[]);
    let bias = looked_up(g, &table, &at);
    g.op("Transpose", &[&bias], &[("perm", Told::Ints(&[0, 3, 1, 2]))])
}

/// One layer, post-norm.
fn run(g: &mut Graph<'_>, config: &Config, attention: &Attention<'_>, x: &Name, ids: &[ParamId]) -> Name {
    let &[wq, bq, wk, bk, wv, bv, wo, bo, gain_a, bias_a, w1, b1, w2, b2, gain_y, bias_y] = ids else {
        unreachable!("a layer has sixteen parameters");
    };
    let [q, k, v] = [(wq, bq), (wk, bk), (wv, bv)].map(|(weight, bias)| {
        let projected = g.linear(x, weight, Some(bias));
        attention.by_head(g, &projected)
    });
    let mixed = attention.mixed(g, [&q, &k, &v]);
    let branch = g.linear(&mixed, wo, Some(bo));
    let a = residual(g, config, [x, &branch], [gain_a, bias_a]);
    let up = g.linear(&a, w1, Some(b1));
    let bent = bent(g, &up, config.activation);
    let branch = g.linear(&bent, w2, Some(b2));
    residual(g, config, [&a, &branch], [gain_y, bias_y])
}

/// LN(x + branch).
fn residual(g: &mut Graph<'_>, config: &Config, [x, branch]: [&Name; 2], learned: [ParamId; 2]) -> Name {
    let sum = g.op("Add", &[x, branch], &[]);
    let [gain, bias] = learned.map(|id| g.param(id));
    norm(g, &sum, &[&gain, &bias], config.eps)
}
