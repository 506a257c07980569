//! One layer, pre-norm, gated, without biases (Warner et al. 2024, section 2.1):
//!
//! ```text
//! (q, k, v) = W_qkv LN(x)                                                   x, a, y  [T, d]
//! a = x + dropout(W_o attention(R q, R k, v))                               R: rotary positions
//! y = a + W_2 dropout(φ(u) ∘ g),   (u, g) = W_1 LN(a)                       u, g  [T, f]   (Shazeer 2020, "GeGLU")
//! ```
//! The first layer takes x as it is in place of LN(x). A pure function of x and the parameters, so that it can run
//! again in backward.

use super::config::Config;
use crate::streams::{Site, dropout, dropped};
use autograd::{Activation, Dropout, Var};
use engine::{Places, Stream, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a layer needs besides numbers.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    heads: usize,
    eps: f64,
    theta: f64,
    activation: Activation,
    starts: Arc<[u32]>,
    positions: Arc<[u32]>,
    /// −∞ beyond the window, by distance; none where no text is longer than the window.
    window: Option<Tensor>,
    probabilities: Option<Dropout>,
    attention: Option<Dropout>,
    gated: Option<Dropout>,
}

impl Layer {
    pub(super) fn new(
        config: &Config,
        number: usize,
        (starts, masks): (&Arc<[u32]>, &Masks),
        stream: Option<Stream>,
        places: &Arc<Places>,
    ) -> Layer {
        let (sight, heads) = (config.layers[number], config.size.heads);
        let drop = |site, rate| dropout(stream, site, rate, places);
        Layer {
            heads,
            eps: config.eps,
            theta: sight.theta,
            activation: config.activation,
            starts: starts.clone(),
            positions: places.positions().into(),
            window: sight.window.and_then(|window| masks[&window].clone()),
            probabilities: drop(Site::Probabilities(number), config.attention_dropout),
            attention: drop(Site::Attention(number), config.attention_dropout),
            gated: drop(Site::FeedForward(number), config.mlp_dropout),
        }
    }
    /// `inputs`: x `[T, d]`, then the gain of the first norm unless the layer has none, W_qkv, W_o, the gain of the
    /// second norm, W_1, W_2.
    pub(super) fn run<'t>(&self, inputs: &[Var<'t>]) -> Var<'t> {
        let &[x, ref gain @ .., qkv, wo, gain_a, w1, w2] = inputs else {
            unreachable!("a layer takes its input and five or six parameters");
        };
        let (tape, d) = (x.tape(), x.shape().last());
        let a = tape.scope(|| {
            let normed = gain.first().map_or(x, |&gain| norm(x, gain, self.eps));
            let qkv = normed.linear(qkv, None);
            let [q, k, v] = [0, 1, 2].map(|part| qkv.slice(1, part * d..(part + 1) * d));
            let [q, k] = [q, k].map(|x| x.rotary(self.positions.clone(), self.heads, self.theta));
            let (starts, probabilities) = (self.starts.clone(), self.probabilities.clone());
            let mixed = match &self.window {
                None => q.attention(k, v, starts, self.heads, probabilities),
                Some(window) => {
                    let window = tape.constant(window.clone());
                    q.biased_attention([k, v, window], starts, self.heads, probabilities)
                }
            };
            x + dropped(mixed.linear(wo, None), &self.attention)
        });
        tape.scope(|| {
            let both = norm(a, gain_a, self.eps).linear(w1, None);
            let f = both.shape().last() / 2;
            let [u, gate] = [both.slice(1, 0..f), both.slice(1, f..2 * f)];
            let bent = match self.activation {
                Activation::Gelu => u.gelu(),
                Activation::GeluTanh => u.gelu_tanh(),
                Activation::Relu => u.relu(),
            };
            a + dropped(bent * gate, &self.gated).linear(w2, None)
        })
    }
}

/// A layer norm without bias.
pub(super) fn norm<'t>(x: Var<'t>, gain: Var<'t>, eps: f64) -> Var<'t> {
    let width = x.shape().last();
    x.layer_norm(gain, x.tape().constant(Tensor::from_vec([width], vec![0.0f32; width])), eps)
}

/// The mask of each window; none where no text is longer.
pub(super) type Masks = BTreeMap<usize, Option<Tensor>>;

/// The masks of all layers, for texts of up to `longest` tokens.
pub(super) fn masks(config: &Config, longest: usize) -> Masks {
    let windows = config.layers.iter().filter_map(|sight| sight.window);
    windows.map(|window| (window, mask(window, longest, config.size.heads))).collect()
}

/// 0 up to a distance of `window`, −∞ beyond: `[2·longest − 1, heads]`.
fn mask(window: usize, longest: usize, heads: usize) -> Option<Tensor> {
    let most = longest.checked_sub(1).filter(|&most| most > window)?;
    let seen = |at: usize| if at.abs_diff(most) > window { f32::NEG_INFINITY } else { 0.0 };
    let rows = (0..=2 * most).flat_map(|at| std::iter::repeat_n(seen(at), heads));
    Some(Tensor::from_vec([2 * most + 1, heads], rows.collect()))
}
