//! A judge: a cross-encoder that reads a query and a label together and says how well they fit. It never changes here.
//!
//! It has a tokenizer of its own, and reads the texts as the data set keeps them, so it may be of another family than
//! the encoder that it judges for.

use crate::embed::CHUNK_TOKENS;
use autograd::Tape;
use data::Tokenizer;
use engine::container::{checksum, checksum_of};
use engine::{Engine, Error, Result};
use models::cross::PairTexts;
use models::{Scope, hf};
use std::path::Path;

/// A cross-encoder ready to judge.
pub struct Judge {
    import: hf::CrossImport,
    tokenizer: Tokenizer,
    /// A hash of the tokenizer.
    words: u64,
}

/// The frame of a pair, and a token of each text.
const POSITIONS: usize = 6;

impl Judge {
    /// That of a directory.
    ///
    /// # Errors
    /// If it is none, or its tokenizer cannot be read.
    pub fn read(dir: &Path) -> Result<Judge> {
        let import = hf::read_cross(dir)?;
        let tokenizer = Tokenizer::from_dir(&import.tokenizer_folder)?;
        let (tokens, config) = (tokenizer.vocab_size(), import.model.config());
        if tokens > config.vocab {
            let what = format!("the tokenizer has {tokens} tokens, the model rows for {}", config.vocab);
            return Err(Error::input(what).at(dir).help("is tokenizer.json that of this model?"));
        }
        if config.tokens_max() < POSITIONS {
            let what = format!("the model has {} positions: too few for two texts", config.tokens_max());
            return Err(Error::input(what).at(dir));
        }
        if tokenizer.encode("", config.tokens_max())?.len() != 2 {
            let e =
                Error::input("the tokenizer does not put one token before a text and one behind it").at(dir);
            return Err(
                e.help("a cross-encoder joins two texts by these: `post_processor` of tokenizer.json")
            );
        }
        let words = checksum(&tokenizer.to_json()?);
        Ok(Judge { import, tokenizer, words })
    }
    /// The scores of a query against labels: probabilities where the model says so, else numbers of any size.
    ///
    /// # Errors
    /// If the tokenizer cannot spell a text.
    pub fn scores<'t>(
        &self,
        engine: &Engine,
        query: &str,
        labels: impl IntoIterator<Item = &'t str>,
    ) -> Result<Vec<f32>> {
        let most = self.import.model.config().tokens_max();
        let query = self.tokenizer.encode(query, most)?;
        let (mut pairs, mut all) = (PairTexts::default(), vec![]);
        for label in labels {
            let label = self.tokenizer.encode(label, most)?;
            self.import.model.join(&mut pairs, &query, &label);
            if pairs.texts.tokens.len() >= CHUNK_TOKENS {
                self.judge(engine, std::mem::take(&mut pairs), &mut all);
            }
        }
        self.judge(engine, pairs, &mut all);
        Ok(all)
    }
    fn judge(&self, engine: &Engine, pairs: PairTexts, all: &mut Vec<f32>) {
        if pairs.texts.is_empty() {
            return;
        }
        let tape = Tape::inference(engine);
        let scores = self.import.model.score(&Scope::new(&tape, &self.import.params), &pairs, 0).value();
        let activated = |&x: &f32| if self.import.sigmoid { 1.0 / (1.0 + (-x).exp()) } else { x };
        all.extend(scores.data::<f32>().iter().map(activated));
    }
    /// A hash of all that decides its scores.
    pub fn fingerprint(&self) -> u64 {
        let params = &self.import.params;
        let facts = format!("{:?} {} {:x}", self.import.model.config(), self.import.sigmoid, self.words);
        let numbers = params.ids().map(|id| checksum_of(params.value(id).data::<f32>()));
        numbers.fold(checksum(facts.as_bytes()), |sum: u64, number| sum.rotate_left(7) ^ number)
    }
    /// Bytes that it holds, and takes for a chunk of pairs.
    pub fn bytes(&self) -> usize {
        4 * self.import.params.count() + self.import.model.inference_bytes(CHUNK_TOKENS)
    }
}
