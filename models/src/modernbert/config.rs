//! What a ModernBERT is: sizes, rates, which layers see how far, pooling.

use crate::bert::Size;
use crate::latent;
use crate::layout::{Entry, Role};
use autograd::{Activation, Pool};

/// How far a layer sees, and the base of its rotary positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// The largest distance of a key; none: the whole text.
    pub window: Option<usize>,
    /// θ of the rotary positions.
    pub theta: f64,
}

/// All facts of a ModernBERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Layers, width, heads, channels behind the gate.
    pub size: Size,
    /// Rows of the token table.
    pub vocab: usize,
    /// The longest text that the model was made for.
    pub positions: usize,
    /// What each layer sees.
    pub layers: Vec<Sight>,
    /// The id of the padding token. Packed text never holds it.
    pub pad: u32,
    /// The non-linearity in front of the gate.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f64,
    /// Dropout of the embeddings.
    pub embedding_dropout: f32,
    /// Dropout of attention probabilities, and of what attention adds.
    pub attention_dropout: f32,
    /// Dropout behind the gate.
    pub mlp_dropout: f32,
    /// A latent attention between the hidden states and the pooling.
    pub latents: Option<latent::Config>,
    /// How the tokens of a text become one vector.
    pub pooling: Pool,
    /// Whether that vector is scaled to length 1.
    pub normalise: bool,
}

impl Config {
    /// All parameters, in order. The first layer has no norm before its attention: the embeddings have one.
    pub fn layout(&self) -> Vec<Entry> {
        let Size { width, ffn, .. } = self.size;
        let gain = |name: String| Entry::new(name, [width], Role::Gain);
        let weight = |name: String, shape: [usize; 2]| Entry::new(name, shape, Role::Weight);
        let mut all = vec![
            Entry::new("embeddings.tok_embeddings.weight", [self.vocab, width], Role::Table),
            gain("embeddings.norm.weight".into()),
        ];
        for layer in 0..self.size.layers {
            let name = |part: &str| format!("layers.{layer}.{part}.weight");
            if layer > 0 {
                all.push(gain(name("attn_norm")));
            }
            all.extend([
                weight(name("attn.Wqkv"), [3 * width, width]),
                weight(name("attn.Wo"), [width, width]),
                gain(name("mlp_norm")),
                weight(name("mlp.Wi"), [2 * ffn, width]),
                weight(name("mlp.Wo"), [width, ffn]),
            ]);
        }
        all.push(gain("final_norm.weight".into()));
        all.extend(self.latents.iter().flat_map(|latents| latents.layout(width)));
        all
    }
}
