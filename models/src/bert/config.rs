//! What a BERT-like encoder is: family, sizes, rates, pooling.

use super::names::{Names, PARTS};
use super::relative::BUCKETS;
use crate::latent;
use crate::layout::{Entry, Role};
use autograd::{Activation, Pool};

/// The family: how its files name things, and the few points in which its layers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BERT and MiniLM (Devlin et al. 2019; Wang et al. 2020).
    Bert,
    /// DistilBERT (Sanh et al. 2019): no token types, no dropout behind attention.
    DistilBert,
    /// RoBERTa (Liu et al. 2019): positions start behind the padding index.
    Roberta,
    /// XLM-RoBERTa (Conneau et al. 2020): as RoBERTa.
    XlmRoberta,
    /// MPNet (Song et al. 2020): positions as RoBERTa, no token types, and a learned bias by distance in the attention
    /// of every layer.
    Mpnet,
}

/// The four numbers that one chooses when training from scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Layers.
    pub layers: usize,
    /// Channels d.
    pub width: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// Channels inside the feed-forward part.
    pub ffn: usize,
}

impl Size {
    /// 2 layers × 128.
    pub const TINY: Size = Size { layers: 2, width: 128, heads: 4, ffn: 512 };
    /// 4 layers × 256.
    pub const SMALL: Size = Size { layers: 4, width: 256, heads: 8, ffn: 1024 };
}

/// All facts of a BERT-like encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family.
    pub family: Family,
    /// Layers, width, heads, feed-forward width.
    pub size: Size,
    /// Rows of the token table.
    pub vocab: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the token-type table; 0 where the family has none.
    pub types: usize,
    /// The id of the padding token. Packed text never holds it; it shifts the positions of RoBERTa.
    pub pad: u32,
    /// The non-linearity.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f64,
    /// Dropout of hidden states.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities.
    pub attention_dropout: f32,
    /// A latent attention between the hidden states and the pooling.
    pub latents: Option<latent::Config>,
    /// How the tokens of a text become one vector.
    pub pooling: Pool,
    /// Whether that vector is scaled to length 1.
    pub normalise: bool,
}

impl Config {
    /// A BERT from scratch: mean pooling, normalised, dropout 0.1.
    ///
    /// # Panics
    /// If the heads do not divide the width.
    #[track_caller]
    pub fn from_size(size: Size, vocab: usize, tokens_max: usize) -> Config {
        assert!(
            size.width.is_multiple_of(size.heads),
            "{} heads do not divide width {}",
            size.heads,
            size.width
        );
        Config {
            family: Family::Bert,
            size,
            vocab,
            positions: tokens_max,
            types: 2,
            pad: 0,
            activation: Activation::Gelu,
            eps: 1e-12,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            latents: None,
            pooling: Pool::Mean,
            normalise: true,
        }
    }
    /// The row of the position table that the first token of a text reads: RoBERTa's and MPNet's is behind the padding
    /// index.
    pub fn first_position(&self) -> u32 {
        match self.family {
            Family::Bert | Family::DistilBert => 0,
            Family::Roberta | Family::XlmRoberta | Family::Mpnet => self.pad + 1,
        }
    }
    /// The longest text that has positions.
    pub fn tokens_max(&self) -> usize {
        self.positions.saturating_sub(self.first_position() as usize)
    }
    /// How many tables of relative positions there are: one or none.
    pub(crate) fn relative(&self) -> usize {
        Names::of(self.family).relative.iter().len()
    }
    /// All parameters, in order.
    pub fn layout(&self) -> Vec<Entry> {
        let Size { layers, width, ffn, .. } = self.size;
        let names = Names::of(self.family);
        let mut all = vec![
            Entry::new(names.word, [self.vocab, width], Role::Table),
            Entry::new(names.position, [self.positions, width], Role::Table),
        ];
        if let Some(types) = names.token_type.filter(|_| self.types > 0) {
            all.push(Entry::new(types, [self.types, width], Role::Table));
        }
        let norm = |all: &mut Vec<Entry>, module: &str| {
            all.push(Entry::new(format!("{module}.weight"), [width], Role::Gain));
            all.push(Entry::new(format!("{module}.bias"), [width], Role::Bias));
        };
        norm(&mut all, names.norm);
        if let Some(relative) = names.relative {
            all.push(Entry::new(relative, [BUCKETS, self.size.heads], Role::Table));
        }
        for layer in 0..layers {
            for part in PARTS {
                let module = names.module(layer, part);
                let Some([to, from]) = part.dims(width, ffn) else {
                    norm(&mut all, &module);
                    continue;
                };
                all.push(Entry::new(format!("{module}.weight"), [to, from], Role::Weight));
                all.push(Entry::new(format!("{module}.bias"), [to], Role::Bias));
            }
        }
        all.extend(self.latents.iter().flat_map(|latents| latents.layout(width)));
        all
    }
}
