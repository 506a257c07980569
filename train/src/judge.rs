//! A judge: a cross-encoder that reads a query and a label together and says how well they fit. It never changes here.
//!
//! It has a tokenizer of its own, and reads the texts as the data set keeps them, so it may be of another family than
//! the encoder that it judges for.

use crate::embed::CHUNK_TOKENS;
use autograd::Tape;
use data::Tokenizer;
use engine::container::checksum_of;
use engine::{Engine, Result};
use models::cross::PairTexts;
use models::{Scope, hf};
use std::path::Path;

/// A cross-encoder ready to judge.
pub struct Judge {
    import: hf::CrossImport,
    tokenizer: Tokenizer,
}

impl Judge {
    /// That of a directory.
    ///
    /// # Errors
    /// If it is none, or its tokenizer cannot be read.
    pub fn read(dir: &Path) -> Result<Judge> {
        let import = hf::read_cross(dir)?;
        let tokenizer = Tokenizer::from_dir(&import.tokenizer_folder)?;
        Ok(Judge { import, tokenizer })
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
    /// A hash of its numbers.
    pub fn fingerprint(&self) -> u64 {
        let params = &self.import.params;
        params.ids().fold(0, |sum: u64, id| sum.rotate_left(7) ^ checksum_of(params.value(id).data::<f32>()))
    }
    /// Bytes that it holds, and takes for a chunk of pairs.
    pub fn bytes(&self) -> usize {
        4 * self.import.params.count() + self.import.model.inference_bytes(CHUNK_TOKENS)
    }
}
