//! Latent attention in front of the pooling (Lee et al. 2024, "NV-Embed", section 3.1 and released code):
//!
//! ```text
//! O = H + W_o concat_h softmax(q_h k_hᵀ/√c) v_h,   q = W_q LN(H),  (k, v) = W_kv LN(Λ)       H, O, Y  [T, d]
//! Y = O + W_2 (u ∘ gelu(g)) + b_2,                 (u, g) = W_1 LN(O) + b_1                  u, g  [T, 4 d]
//! ```
//! Tokens are the queries; a learned table Λ `[r, d]` gives keys and values, the same ones for all tokens of all
//! texts, so k and v `[r, heads·c]` are made once for a batch. Y is then pooled as hidden states are: by the mean, as
//! published. No token looks at another here, so nothing depends on where a text begins.
//!
//! Two things are ours. W_o and W_2 begin at 0, so that Y = H and a model that takes the mean, to which latents are
//! added, begins as the model that it was, to the bit; the released code draws them like any matrix. And where
//! nothing else is said, a head has d/heads channels; the released configuration gives each all d, which for 8 heads
//! is 32 d² numbers instead of 4 d².

use crate::encoder::Scope;
use crate::layout::{Entry, Role};
use autograd::{ParamId, Params, Segment, Var};
use engine::pooled_bytes;
use std::rc::Rc;

/// Parameters of a latent attention.
const COUNT: usize = 14;
/// ε of its layer norms, as PyTorch's default.
pub(crate) const EPS: f64 = 1e-5;
/// Channels inside the feed-forward part for each channel outside.
const WIDER: usize = 4;
/// Latents and heads as published, at most.
const LATENTS: usize = 512;
const HEADS: usize = 8;
/// A head has at least so many channels where nobody says how many heads there are.
const CHANNELS: usize = 16;
const NUMBER: usize = size_of::<f32>();

/// What a latent attention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Rows of the table r.
    pub latents: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels of a head c.
    pub channels: usize,
}

impl Config {
    /// For hidden states of so many channels: what is 0 is chosen. Published are 512 latents and 8 heads, at a width of
    /// 4096; a narrow model gets as many latents as it has channels, and no head of fewer than 16 channels.
    ///
    /// # Errors
    /// If the heads do not divide the width, and nobody says how many channels they have.
    pub fn chosen(width: usize, latents: usize, heads: usize, channels: usize) -> Result<Config, String> {
        let fits = |heads: &usize| width.is_multiple_of(*heads) && width / heads >= CHANNELS;
        let own = (1..=HEADS).rev().filter(|heads| heads.is_power_of_two()).find(fits).unwrap_or(1);
        let heads = if heads == 0 { own } else { heads };
        if channels == 0 && !width.is_multiple_of(heads) {
            return Err(format!("{heads} heads do not divide width {width}"));
        }
        Ok(Config {
            latents: if latents == 0 { width.min(LATENTS) } else { latents },
            heads,
            channels: if channels == 0 { width / heads } else { channels },
        })
    }
    /// Channels of all heads.
    pub(crate) fn inner(self) -> usize {
        self.heads * self.channels
    }
    /// All parameters, in order, for hidden states of so many channels. Names are those of the released code.
    pub(crate) fn layout(self, width: usize) -> Vec<Entry> {
        let name = |part: &str| format!("latent_attention_model.{part}");
        let block = |part: &str| name(&format!("cross_attend_blocks.{part}"));
        let norm = |part: &str| {
            let [gain, bias] = ["weight", "bias"].map(|what| block(&format!("{part}.{what}")));
            [Entry::new(gain, [width], Role::Gain), Entry::new(bias, [width], Role::Bias)]
        };
        let matrix = |part: &str, [to, from]: [usize; 2], role| {
            Entry::new(block(&format!("{part}.weight")), [to, from], role)
        };
        let bias = |part: &str, to: usize| Entry::new(block(&format!("{part}.bias")), [to], Role::Bias);
        let (inner, wide) = (self.inner(), WIDER * width);
        let [gain_h, bias_h] = norm("0.norm");
        let [gain_l, bias_l] = norm("0.norm_context");
        let [gain_o, bias_o] = norm("1.norm");
        vec![
            Entry::new(name("latents"), [self.latents, width], Role::Table),
            gain_h,
            bias_h,
            gain_l,
            bias_l,
            matrix("0.fn.to_q", [inner, width], Role::Weight),
            matrix("0.fn.to_kv", [2 * inner, width], Role::Weight),
            matrix("0.fn.to_out", [width, inner], Role::Silent),
            gain_o,
            bias_o,
            matrix("1.fn.net.0", [2 * wide, width], Role::Weight),
            bias("1.fn.net.0", 2 * wide),
            matrix("1.fn.net.2", [width, wide], Role::Silent),
            bias("1.fn.net.2", width),
        ]
    }
    /// Floating-point operations of the forward for one token; keys and values are not counted.
    pub(crate) fn flops_per_token(self, width: usize) -> f64 {
        let matrices = 2 * width * self.inner() + 3 * WIDER * width * width;
        (2 * matrices + 4 * self.latents * self.inner()) as f64
    }
    /// Bytes that the tape holds of so many tokens between forward and backward, or, with recompute, while it lives
    /// again:
    ///
    /// ```text
    /// per token   H, LN(H), O, LN(O): 4 d    u, g, gelu(g), their product: 16 d    q and what heads mix: 2 heads·c
    ///             P: heads·r                 moments of two norms
    /// per latent  LN(Λ), k before and after the slices, v
    /// ```
    pub(crate) fn activation_bytes(self, width: usize, tokens: usize) -> usize {
        let row = buffer(tokens, width);
        let wide = 4 * buffer(tokens, WIDER * width);
        let heads = self.heads * (buffer(tokens, self.channels) + buffer(tokens, self.latents));
        let moments = 2 * pooled_bytes(2 * tokens * NUMBER);
        4 * row + wide + heads + buffer(tokens, self.inner()) + moments + self.table_bytes(width)
    }
    /// Bytes that backward needs at once besides: of the feed-forward part both halves as wide as both, twice while
    /// they are added, and a gradient of a half, when gelu(g) and the product have been forgotten; of the attention two
    /// of scores and two of queries.
    pub(crate) fn working_bytes(self, width: usize, tokens: usize) -> usize {
        let (both, half) = (buffer(tokens, 2 * WIDER * width), buffer(tokens, WIDER * width));
        let wide = 2 * both + half - 2 * half;
        let attention = 2 * (buffer(tokens, self.latents) + buffer(tokens, self.inner()));
        buffer(tokens, width) + wide.max(attention)
    }
    /// Bytes that so many tokens hold without a tape: the larger half. In the first H, LN(H), q, of one head q and
    /// twice its scores, and what heads mix; in the second H, O, LN(O), u and g together and apart, gelu(g) and the
    /// product, two of which may be lent the buffers of scores, if these are no more than thrice as large.
    pub(crate) fn inference_bytes(self, width: usize, tokens: usize) -> usize {
        let row = |width| buffer(tokens, width);
        let first = 2 * row(width) + 2 * row(self.inner()) + row(self.channels) + 2 * row(self.latents);
        let (half, scores) = (row(WIDER * width), row(self.latents));
        let lent = if scores <= 3 * half { scores.max(half) } else { half };
        let second = 3 * row(width) + row(2 * WIDER * width) + 2 * half + 2 * lent;
        (first + self.table_bytes(width)).max(second)
    }
    fn table_bytes(self, width: usize) -> usize {
        buffer(self.latents, width) + 4 * buffer(self.latents, self.inner())
    }
}

/// A latent attention over parameters that exist.
#[derive(Clone, Debug)]
pub(crate) struct Latents {
    config: Config,
    ids: Vec<ParamId>,
}

impl Latents {
    /// # Panics
    /// If a parameter of the layout is not there.
    #[track_caller]
    pub(crate) fn new(config: Config, width: usize, params: &Params) -> Latents {
        Latents { config, ids: crate::encoder::ids(&config.layout(width), params) }
    }
    /// What is pooled in the place of the hidden states: `[T, d]` → `[T, d]`.
    #[track_caller]
    pub(crate) fn run<'t>(&self, cx: &Scope<'t>, hidden: Var<'t>) -> Var<'t> {
        let mut inputs = vec![hidden];
        inputs.extend(self.ids.iter().map(|&id| cx.param(id)));
        let config = self.config;
        let segment: Segment = Rc::new(move |inputs| config.run(inputs));
        cx.segment("latents", segment, &inputs)
    }
    /// The parameters among those of an encoder whose layout ends with them.
    pub(crate) fn split(all: &[ParamId], config: Option<Config>) -> (&[ParamId], &[ParamId]) {
        all.split_at(all.len() - config.map_or(0, |_| COUNT))
    }
}

impl Config {
    /// `inputs`: H `[T, d]`, then the parameters. A pure function of them, so that it can run again in backward.
    fn run<'t>(self, inputs: &[Var<'t>]) -> Var<'t> {
        let &[hidden, latents, gain_h, bias_h, gain_l, bias_l, wq, wkv, wo, gain_o, bias_o, w1, b1, w2, b2] =
            inputs
        else {
            unreachable!("a latent attention takes hidden states and fourteen parameters");
        };
        let (tape, inner) = (hidden.tape(), self.inner());
        let o = tape.scope(|| {
            let kv = latents.layer_norm(gain_l, bias_l, EPS).linear(wkv, None);
            let q = hidden.layer_norm(gain_h, bias_h, EPS).linear(wq, None);
            let mixed = |head: usize| {
                let of = |x: Var<'t>, first: usize| {
                    x.slice(1, first + head * self.channels..first + (head + 1) * self.channels)
                };
                let (k, v) = (of(kv, 0).scale(1.0 / (self.channels as f64).sqrt()), of(kv, inner));
                of(q, 0).matmul_nt(k).softmax().matmul(v)
            };
            let heads: Vec<Var<'t>> = (0..self.heads).map(|head| tape.scope(|| mixed(head))).collect();
            hidden + Var::concat(&heads, 1).linear(wo, None)
        });
        tape.scope(|| {
            let both = o.layer_norm(gain_o, bias_o, EPS).linear(w1, Some(b1));
            let half = both.shape().last() / 2;
            let (u, gate) = (both.slice(1, 0..half), both.slice(1, half..2 * half));
            o + (u * gate.gelu()).linear(w2, Some(b2))
        })
    }
}

/// The pool's buffer for so many rows.
fn buffer(rows: usize, width: usize) -> usize {
    pooled_bytes(rows * width * NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::gradcheck::{Case, Draw, In};

    const SMALL: Config = Config { latents: 4, heads: 2, channels: 3 };

    /// Five tokens of four channels.
    #[test]
    fn derivatives_of_all_inputs_are_those_that_differences_measure() {
        // Channels of a row lie apart: the derivatives of a norm grow beyond what differences follow where they meet.
        const POINTS: In = In::drawn(&[5, 4], Draw::Distinct(0.5));
        const WIDTH: In = In::normal(&[4]);
        const INPUTS: [In; 15] = [
            POINTS,
            In::drawn(&[4, 4], Draw::Distinct(0.5)),
            WIDTH,
            WIDTH,
            WIDTH,
            WIDTH,
            In::normal(&[6, 4]),
            In::normal(&[12, 4]),
            In::normal(&[4, 6]),
            WIDTH,
            WIDTH,
            In::normal(&[32, 4]),
            In::normal(&[32]),
            In::normal(&[4, 16]),
            WIDTH,
        ];
        assert_eq!(SMALL.layout(4).len(), COUNT);
        Case::new("latent attention", &INPUTS, |x| SMALL.run(x)).check().expect("the derivatives are right");
    }

    #[test]
    fn what_is_not_said_is_chosen_by_the_width() {
        let chosen = |width, latents, heads, channels| {
            let c = Config::chosen(width, latents, heads, channels).expect("fits");
            [c.latents, c.heads, c.channels]
        };
        assert_eq!(chosen(4096, 0, 0, 0), [512, 8, 512]);
        assert_eq!(chosen(384, 0, 0, 0), [384, 8, 48]);
        assert_eq!(chosen(128, 0, 0, 0), [128, 8, 16]);
        assert_eq!(chosen(32, 0, 0, 0), [32, 2, 16]);
        assert_eq!(chosen(8, 0, 0, 0), [8, 1, 8]);
        assert_eq!(chosen(4096, 512, 8, 4096), [512, 8, 4096]);
        assert_eq!(Config::chosen(32, 0, 5, 0), Err("5 heads do not divide width 32".into()));
        assert_eq!(chosen(32, 7, 5, 3), [7, 5, 3]);
    }
}
