//! Which encoder a model is, without its numbers.

use crate::bag::{self, Bag};
use crate::bert::{self, Bert};
use crate::encoder::Encoder;
use crate::latent;
use crate::layout::Entry;
use crate::modernbert::{self, ModernBert};
use autograd::{ParamId, Params, Pool};

/// All facts about an encoder but its numbers. Exchanged as the directory that [`crate::hf`] reads and
/// writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// A transformer of the BERT family.
    Bert(bert::Config),
    /// A ModernBERT.
    ModernBert(modernbert::Config),
    /// The mean of token embeddings.
    Bag(bag::Config),
}

impl Architecture {
    /// All parameters, in order.
    pub fn layout(&self) -> Vec<Entry> {
        match self {
            Architecture::Bert(config) => config.layout(),
            Architecture::ModernBert(config) => config.layout(),
            Architecture::Bag(config) => config.layout(),
        }
    }
    /// The length of a vector.
    pub fn width(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.size.width,
            Architecture::ModernBert(config) => config.size.width,
            Architecture::Bag(config) => config.width,
        }
    }
    /// Channels of a head of attention; none where there is no attention.
    pub fn head_width(&self) -> Option<usize> {
        let size = match self {
            Architecture::Bert(config) => config.size,
            Architecture::ModernBert(config) => config.size,
            Architecture::Bag(_) => return None,
        };
        Some(size.width / size.heads)
    }
    /// Whether a vector has length 1.
    pub fn is_normalised(&self) -> bool {
        match self {
            Architecture::Bert(config) => config.normalise,
            Architecture::ModernBert(config) => config.normalise,
            Architecture::Bag(config) => config.normalise,
        }
    }
    /// The number of rows of the token table: every token id is below.
    pub fn vocab(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.vocab,
            Architecture::ModernBert(config) => config.vocab,
            Architecture::Bag(config) => config.vocab,
        }
    }
    /// The longest text that it has positions for; none where it has no positions.
    pub fn positions(&self) -> Option<usize> {
        match self {
            Architecture::Bert(config) => Some(config.tokens_max()),
            Architecture::ModernBert(config) => Some(config.positions),
            Architecture::Bag(_) => None,
        }
    }
    /// Sets every rate of dropout; a bag has none.
    pub fn set_dropout(&mut self, rate: f32) {
        match self {
            Architecture::Bert(config) => {
                (config.hidden_dropout, config.attention_dropout) = (rate, rate);
            }
            Architecture::ModernBert(config) => {
                (config.embedding_dropout, config.attention_dropout, config.mlp_dropout) = (rate, rate, rate);
            }
            Architecture::Bag(_) => {}
        }
    }
    /// The latent attention before the pooling, where there is one.
    pub fn latents(&self) -> Option<latent::Config> {
        match self {
            Architecture::Bert(config) => config.latents,
            Architecture::ModernBert(config) => config.latents,
            Architecture::Bag(_) => None,
        }
    }
    /// How the tokens of a text become one vector.
    pub fn pooling(&self) -> Pool {
        match self {
            Architecture::Bert(config) => config.pooling,
            Architecture::ModernBert(config) => config.pooling,
            Architecture::Bag(_) => Pool::Mean,
        }
    }
    /// The same with a latent attention before this pooling; none of a bag, which has no hidden states.
    #[must_use]
    pub fn with_latents(&self, latents: latent::Config, pooling: Pool) -> Option<Architecture> {
        let latents = Some(latents);
        match self.clone() {
            Architecture::Bert(c) => Some(bert::Config { latents, pooling, ..c }.into()),
            Architecture::ModernBert(c) => Some(modernbert::Config { latents, pooling, ..c }.into()),
            Architecture::Bag(_) => None,
        }
    }
    /// The number of learned numbers.
    pub fn parameter_count(&self) -> usize {
        self.layout().iter().map(|entry| entry.shape.len()).sum()
    }
    /// Adds fresh parameters. Each depends on the seed and on its own name alone.
    ///
    /// # Panics
    /// If one of them exists.
    #[track_caller]
    pub fn initialise(&self, params: &mut Params, seed: u64) {
        for entry in self.layout() {
            entry.add(params, entry.initial(seed));
        }
    }
    /// The encoder over parameters that exist.
    ///
    /// # Panics
    /// If one of them does not.
    #[track_caller]
    pub fn encoder(&self, params: &Params) -> Box<dyn Encoder> {
        match self {
            Architecture::Bert(config) => Box::new(Bert::new(config.clone(), params)),
            Architecture::ModernBert(config) => Box::new(ModernBert::new(config.clone(), params)),
            Architecture::Bag(config) => Box::new(Bag::new(config.clone(), params)),
        }
    }
    /// The table of token embeddings.
    ///
    /// # Panics
    /// If the parameters do not exist.
    #[track_caller]
    pub fn token_table(&self, params: &Params) -> ParamId {
        crate::encoder::ids(&self.layout()[..1], params)[0]
    }
}

impl From<bert::Config> for Architecture {
    fn from(config: bert::Config) -> Architecture {
        Architecture::Bert(config)
    }
}

impl From<modernbert::Config> for Architecture {
    fn from(config: modernbert::Config) -> Architecture {
        Architecture::ModernBert(config)
    }
}

impl From<bag::Config> for Architecture {
    fn from(config: bag::Config) -> Architecture {
        Architecture::Bag(config)
    }
}

/// Copies the token embeddings of a trained bag into an encoder of the same width, scaled to the standard
/// deviation of fresh weights so that the first layer norm sees tokens and positions in proportion.
///
/// # Panics
/// If the tables differ in shape.
#[track_caller]
pub fn init_from_bag(params: &mut Params, table: ParamId, bag: &engine::Tensor) {
    let (want, got) = (params.value(table).shape(), bag.shape());
    assert_eq!(
        want, got,
        "the encoder's token table and the bag's differ: choose the encoder's width after the bag's"
    );
    let values: &[f32] = bag.data();
    let mean_square = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len().max(1) as f64;
    let factor = if mean_square > 0.0 { f64::from(crate::layout::STD) / mean_square.sqrt() } else { 1.0 };
    let scaled = values.iter().map(|&x| (f64::from(x) * factor) as f32).collect();
    params.set(table, engine::Tensor::from_vec(got, scaled));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::{Config, Size};

    #[test]
    fn another_layer_shifts_no_parameter() {
        let values = |layers| {
            let mut params = Params::default();
            let config = Config::from_size(Size { layers, width: 8, heads: 2, ffn: 16 }, 10, 12);
            Architecture::Bert(config).initialise(&mut params, 5);
            params
        };
        let (two, three) = (values(2), values(3));
        assert_eq!((two.len(), three.len()), (5 + 2 * 16, 5 + 3 * 16));
        for id in two.ids() {
            let other = three.find(two.name(id)).unwrap();
            assert_eq!(two.value(id).to_f64(), three.value(other).to_f64(), "{}", two.name(id));
        }
        let count = Architecture::Bert(Config::from_size(Size::TINY, 1000, 32)).parameter_count();
        // By hand: (1000 + 32 + 2 + 2)·128 + 2·(4·(128² + 128) + (128·512 + 512) + (512·128 + 128) + 4·128).
        assert_eq!(count, 132_608 + 2 * (66_048 + 66_048 + 65_664 + 512));
    }

    #[test]
    fn an_encoder_starts_from_the_directions_of_a_bag() {
        let mut params = Params::default();
        let arch =
            Architecture::Bert(Config::from_size(Size { layers: 1, width: 2, heads: 1, ffn: 2 }, 3, 4));
        arch.initialise(&mut params, 1);
        let table = arch.token_table(&params);
        init_from_bag(
            &mut params,
            table,
            &engine::Tensor::from_vec([3, 2], vec![2.0f32, -2.0, 4.0, 0.0, 0.0, 0.0]),
        );
        // The root mean square of the bag is 2; it becomes 0.02.
        let want = [0.02, -0.02, 0.04, 0.0, 0.0, 0.0];
        assert!(params.value(table).to_f64().iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-8));
    }
}
