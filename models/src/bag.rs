//! `bag`: the mean of token embeddings, the smallest encoder.
//!
//! ```text
//! e = normalise( 1/n Σ_{i=1..n} E[w_i] )        w: the tokens strictly between [CLS] and [SEP];  n = 0 → 0
//! ```
//! The special tokens stay out, as in the static embeddings of sentence-transformers, to which it exports:
//! there they are not even made. Gradients are rows of E.

use crate::encoder::{Encoder, Scope};
use crate::layout::{Entry, Role};
use autograd::{ParamId, Params, Pool, Var};
use engine::Packed;
use std::sync::Arc;

/// The one parameter.
const TABLE: &str = "embedding.weight";

/// What a bag is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Rows of the table.
    pub vocab: usize,
    /// Channels.
    pub width: usize,
    /// Whether the mean is scaled to length 1.
    pub normalise: bool,
}

impl Config {
    /// All parameters.
    pub fn layout(&self) -> Vec<Entry> {
        vec![Entry::new(TABLE, [self.vocab, self.width], Role::Table)]
    }
}

/// The encoder.
#[derive(Clone, Debug)]
pub struct Bag {
    config: Config,
    ids: Vec<ParamId>,
}

impl Bag {
    /// The encoder over a table that exists.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn new(config: Config, params: &Params) -> Bag {
        let ids = crate::encoder::ids(&config.layout(), params);
        Bag { config, ids }
    }
    /// What it is.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// The table of token embeddings.
    pub fn table(&self) -> ParamId {
        self.ids[0]
    }
}

/// The texts without their first and last token.
fn inner(text: &Packed) -> Packed {
    let mut inner = Packed::default();
    for i in 0..text.len() {
        let tokens = text.text(i);
        inner.push(tokens.get(1..tokens.len().saturating_sub(1)).unwrap_or(&[]).iter().copied());
    }
    inner
}

impl Encoder for Bag {
    fn width(&self) -> usize {
        self.config.width
    }
    /// There are no positions.
    fn tokens_max(&self) -> usize {
        usize::MAX
    }
    fn params(&self) -> &[ParamId] {
        &self.ids
    }
    #[track_caller]
    fn encode<'t>(&self, cx: &Scope<'t>, text: &Packed, _: u32) -> Var<'t> {
        let inner = inner(text);
        let starts: Arc<[u32]> = inner.starts.into();
        cx.tape.scope(|| {
            let mean = cx.param(self.ids[0]).gather(inner.tokens.into()).pool(Pool::Mean, starts);
            if self.config.normalise { mean.normalise() } else { mean }
        })
    }
    fn flops_per_token(&self, _: f64) -> f64 {
        self.config.width as f64
    }
    fn activation_bytes(&self, text: &Packed, _: bool) -> usize {
        // The vectors and the lengths that they had.
        text.len() * (self.config.width + 1) * size_of::<f32>()
    }
    fn working_bytes(&self, text: &Packed) -> usize {
        // The gradients of the means and of each inner token's row; the sums by row are gradients of parameters.
        let inner = text.tokens.len().saturating_sub(2 * text.len());
        (text.len() + inner) * self.config.width * size_of::<f32>()
    }
    fn inference_bytes(&self, tokens: usize) -> usize {
        tokens * self.config.width * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::Tape;
    use engine::{Engine, Tensor};

    fn bag() -> (Params, Bag) {
        let config = Config { vocab: 5, width: 2, normalise: true };
        let mut params = Params::default();
        let table = vec![9.0f32, 9.0, 9.0, 9.0, 9.0, 9.0, 3.0, 0.0, 0.0, 4.0];
        config.layout()[0].add(&mut params, Tensor::from_vec([5, 2], table));
        (params.clone(), Bag::new(config, &params))
    }
    fn texts() -> Packed {
        let mut text = Packed::default();
        for tokens in [&[1u32, 3, 4, 2][..], &[1, 2], &[1, 3, 3, 2], &[1], &[]] {
            text.push(tokens.iter().copied());
        }
        text
    }

    #[test]
    fn a_text_is_the_mean_of_the_tokens_between_the_special_ones() {
        let (params, bag) = bag();
        let tape = Tape::new(&Engine::poisoned(1));
        let e = bag.encode(&Scope::new(&tape, &params), &texts(), 0).value().to_f64();
        // (3, 4)/2 has length 2.5; texts without inner tokens are the zero vector.
        let want = [0.6, 0.8, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert!(e.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{e:?}");
    }

    #[test]
    fn only_rows_that_were_read_get_a_gradient() {
        let (params, bag) = bag();
        let tape = Tape::new(&Engine::poisoned(1));
        let e = bag.encode(&Scope::new(&tape, &params), &texts(), 0);
        let grads = tape.backward(vec![(e, Tensor::from_vec([5, 2], vec![1.0f32; 10]))]).into_params();
        match grads.get(bag.table()) {
            Some(autograd::Grad::Rows(g)) => {
                assert_eq!(g.rows, [3, 4]);
                // ∂e/∂mean of text 0 is (I − eeᵀ)/2.5; times (1, 1) it is (0.064, −0.048); half of it for
                // each token. Text 2 points along its only token and gives (0, 1/3).
                let want = [0.032, -0.024 + 1.0 / 3.0, 0.032, -0.024];
                let got = g.values.to_f64();
                assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
            }
            other => panic!("expected rows, got {other:?}"),
        }
    }

    #[test]
    fn a_batch_of_empty_texts_is_zero() {
        let (params, bag) = bag();
        let tape = Tape::new(&Engine::poisoned(1));
        let mut text = Packed::default();
        text.push([1, 2]);
        text.push([1, 2]);
        let e = bag.encode(&Scope::new(&tape, &params), &text, 0);
        assert_eq!(e.value().to_f64(), [0.0; 4]);
    }
}
