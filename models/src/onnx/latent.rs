//! The latent attention, as in `crate::latent`: its keys and values are the same for all texts.

use super::graph::{Graph, Name, Told};
use super::text::{Attention, bent, looked_up, norm};
use crate::latent::{Config, EPS};
use autograd::{Activation, ParamId};

/// What is pooled in the place of hidden states, `[B, S, d]`; `ids` are none where there is no latent attention.
pub(super) fn through(g: &mut Graph<'_>, config: Option<Config>, ids: &[ParamId], hidden: Name) -> Name {
    let (
        Some(config),
        &[latents, gain_h, bias_h, gain_l, bias_l, wq, wkv, wo, gain_o, bias_o, w1, b1, w2, b2],
    ) = (config, ids)
    else {
        return hidden;
    };
    g.part = "latents".to_owned();
    let table = g.param(latents);
    let table = normed(g, &table, [gain_l, bias_l]);
    let [k, v] = keys_and_values(g, config, &table, wkv);
    let query = normed(g, &hidden, [gain_h, bias_h]);
    let query = g.linear(&query, wq, None);
    let (scale, shape) =
        (g.float(1.0 / (config.channels as f32).sqrt()), g.ints(&[0, 0, config.inner() as i64]));
    // Every query sees every latent, so no mask is asked.
    let by_head = Attention { heads: config.heads, width: config.inner(), seen: &hidden, bias: None };
    let query = by_head.by_head(g, &query);
    let query = g.op("Mul", &[&query, &scale], &[]);
    let scores = g.op("MatMul", &[&query, &k], &[]);
    let probabilities = g.op("Softmax", &[&scores], &[("axis", Told::Int(-1))]);
    let mixed = g.op("MatMul", &[&probabilities, &v], &[]);
    let together = g.op("Transpose", &[&mixed], &[("perm", Told::Ints(&[0, 2, 1, 3]))]);
    let together = g.op("Reshape", &[&together, &shape], &[]);
    let branch = g.linear(&together, wo, None);
    let o = g.op("Add", &[&hidden, &branch], &[]);
    let inside = normed(g, &o, [gain_o, bias_o]);
    let both = g.linear(&inside, w1, Some(b1));
    let [u, gate] = g.ops("Split", &[&both], &[("axis", Told::Int(-1))]);
    let gate = bent(g, &gate, Activation::Gelu);
    let gated = g.op("Mul", &[&u, &gate], &[]);
    let branch = g.linear(&gated, w2, Some(b2));
    g.op("Add", &[&o, &branch], &[])
}

fn normed(g: &mut Graph<'_>, x: &Name, learned: [ParamId; 2]) -> Name {
    let [gain, bias] = learned.map(|id| g.param(id));
    norm(g, x, &[&gain, &bias], EPS)
}

/// kᵀ `[heads, c, r]` and v `[heads, r, c]`.
fn keys_and_values(g: &mut Graph<'_>, config: Config, table: &Name, wkv: ParamId) -> [Name; 2] {
    let both = g.linear(table, wkv, None);
    let shape = g.ints(&[0, 2, config.heads as i64, config.channels as i64]);
    let apart = g.op("Reshape", &[&both, &shape], &[]);
    let [k, v] = [([1, 2, 3, 0], 0), ([1, 2, 0, 3], 1)].map(|(perm, which)| {
        let turned = g.op("Transpose", &[&apart], &[("perm", Told::Ints(&perm))]);
        let which = g.int(which);
        looked_up(g, &turned, &which)
    });
    [k, v]
}
