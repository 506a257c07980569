//! One layer, post-norm (Vaswani et al. 2017; Devlin et al. 2019):
//!
//! ```text
//! a = LN(x + dropout(W_o attention(W_q x, W_k x, W_v x) + b_o))        x, a, y  [T, d]
//! y = LN(a + dropout(W_2 φ(W_1 a + b_1) + b_2))
//! ```
//! LN(x + dropout(·)) is one operation, `residual_norm`, and so is W_2 φ(W_1 · + b_1) + b_2, `feed_forward`.
//! A pure function of x, the sixteen parameters and the bias by distance where there is one, so that it can run again
//! in backward.

use super::config::{Config, Family};
use crate::streams::{Site, dropout};
use autograd::{Activation, Dropout, Var};
use engine::{Places, Stream};
use std::sync::Arc;

/// What a layer needs besides numbers.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    heads: usize,
    eps: f64,
    activation: Activation,
    starts: Arc<[u32]>,
    probabilities: Option<Dropout>,
    attention: Option<Dropout>,
    feed_forward: Option<Dropout>,
}

impl Layer {
    pub(super) fn new(
        config: &Config,
        number: usize,
        starts: &Arc<[u32]>,
        stream: Option<Stream>,
        places: &Arc<Places>,
    ) -> Layer {
        let hidden = config.hidden_dropout;
        let behind_attention = if config.family == Family::DistilBert { 0.0 } else { hidden };
        let drop = |site, rate| dropout(stream, site, rate, places);
        Layer {
            heads: config.size.heads,
            eps: config.eps,
            activation: config.activation,
            starts: starts.clone(),
            probabilities: drop(Site::Probabilities(number), config.attention_dropout),
            attention: drop(Site::Attention(number), behind_attention),
            feed_forward: drop(Site::FeedForward(number), hidden),
        }
    }
    /// `inputs`: x `[T, d]`, then weight and bias of query, key, value, attention output, norm, up, down,
    /// norm; then the bias by distance, if there is one.
    pub(super) fn run<'t>(&self, inputs: &[Var<'t>]) -> Var<'t> {
        let &[
            x,
            wq,
            bq,
            wk,
            bk,
            wv,
            bv,
            wo,
            bo,
            gain_a,
            bias_a,
            w1,
            b1,
            w2,
            b2,
            gain_y,
            bias_y,
            ref by_distance @ ..,
        ] = inputs
        else {
            unreachable!("a layer takes its input and sixteen parameters");
        };
        let tape = x.tape();
        let a = tape.scope(|| {
            let (q, k, v) = (x.linear(wq, Some(bq)), x.linear(wk, Some(bk)), x.linear(wv, Some(bv)));
            let (starts, dropout) = (self.starts.clone(), self.probabilities.clone());
            let mixed = match by_distance {
                [] => q.attention(k, v, starts, self.heads, dropout),
                &[bias, ..] => q.biased_attention([k, v, bias], starts, self.heads, dropout),
            };
            x.residual_norm(mixed.linear(wo, Some(bo)), &self.attention, gain_a, bias_a, self.eps)
        });
        tape.scope(|| {
            let branch = a.feed_forward(w1, b1, w2, b2, self.activation);
            a.residual_norm(branch, &self.feed_forward, gain_y, bias_y, self.eps)
        })
    }
}
