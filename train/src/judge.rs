//! A judge: a cross-encoder that reads a query and a label together and says how well they fit. It never changes here;
//! [`crate::cross`] has one that learns.
//!
//! It has a tokenizer of its own, and reads the texts as the data set keeps them, so it may be of another family than
//! the encoder that it judges for.

use crate::checkpoint::{self, Trained, restore_params};
use crate::cross::PARAMS;
use crate::embed::CHUNK_TOKENS;
use crate::run_dir::RunDir;
use autograd::{Params, Tape};
use data::{DataSet, Tokenizer};
use engine::container::{checksum, checksum_of};
use engine::{Engine, Error, Result};
use models::Scope;
use models::cross::{CrossEncoder, PairTexts};
use models::hf::{self, Card, CrossExport};
use std::path::Path;

/// A cross-encoder ready to judge.
pub struct Judge {
    pub(crate) model: CrossEncoder,
    pub(crate) params: Params,
    /// Whether a number becomes a probability by a sigmoid.
    pub(crate) sigmoid: bool,
    tokenizer: Tokenizer,
    /// A hash of the tokenizer.
    words: u64,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Judge({:?}, {} numbers, sigmoid {})",
            self.model.config(),
            self.params.count(),
            self.sigmoid
        )
    }
}

/// The frame of a pair, and a token of each text.
const POSITIONS: usize = 6;

impl Judge {
    /// That of a directory, or of a run that has one: then as it is after the newest checkpoint.
    ///
    /// # Errors
    /// If there is none, or its tokenizer cannot be read.
    pub fn read(path: &Path) -> Result<Judge> {
        if !RunDir::is_run(path) {
            return Judge::of_directory(path);
        }
        let run = RunDir::at(path);
        run.restore_model()?;
        if !run.cross().is_dir() {
            let e = Error::input("this run has no cross-encoder").at(path);
            return Err(e.help("`lode train … --strategy cross-encoder` makes one that has"));
        }
        let mut judge = Judge::of_directory(&run.cross())?;
        if !checkpoint::list(&run.checkpoints()).is_empty() {
            let learned = Trained::newest(&run.checkpoints())?.remembered(PARAMS)?;
            // Of one that never learns a checkpoint holds nothing.
            if !learned.is_empty() {
                restore_params(&mut judge.params, learned)?;
            }
        }
        Ok(judge)
    }
    /// That of a directory.
    ///
    /// # Errors
    /// If there is none, or its tokenizer cannot be read.
    pub(crate) fn of_directory(dir: &Path) -> Result<Judge> {
        let hf::CrossImport { model, params, tokenizer_folder, sigmoid } = hf::read_cross(dir)?;
        let tokenizer = Tokenizer::from_dir(&tokenizer_folder)?;
        Judge::new((model, params), sigmoid, tokenizer).map_err(|e| e.at(dir))
    }
    /// A cross-encoder that reads with this tokenizer.
    ///
    /// # Errors
    /// If they do not fit each other.
    pub(crate) fn new(
        (model, params): (CrossEncoder, Params),
        sigmoid: bool,
        tokenizer: Tokenizer,
    ) -> Result<Judge> {
        let (tokens, config) = (tokenizer.vocab_size(), model.config());
        if tokens > config.vocab {
            let what = format!("the tokenizer has {tokens} tokens, the model rows for {}", config.vocab);
            return Err(Error::input(what).help("is tokenizer.json that of this model?"));
        }
        if config.tokens_max() < POSITIONS {
            let what = format!("the model has {} positions: too few for two texts", config.tokens_max());
            return Err(Error::input(what));
        }
        if tokenizer.encode("", config.tokens_max())?.len() != 2 {
            let e = Error::input("the tokenizer does not put one token before a text and one behind it");
            return Err(
                e.help("a cross-encoder joins two texts by these: `post_processor` of tokenizer.json")
            );
        }
        let words = checksum(&tokenizer.to_json()?);
        Ok(Judge { model, params, sigmoid, tokenizer, words })
    }
    /// Whether its tokenizer is that of a data set.
    pub(crate) fn spells_as(&self, data: &DataSet) -> bool {
        let json = data.tokenizer().and_then(|tokenizer| tokenizer.to_json());
        json.is_ok_and(|json| checksum(&json) == self.words)
    }
    /// The tokens of a text, as many of them as it could ever read.
    ///
    /// # Errors
    /// If the tokenizer cannot spell it.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text, self.model.config().tokens_max())
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
        let query = self.tokens(query)?;
        let (mut pairs, mut all) = (PairTexts::default(), vec![]);
        for label in labels {
            self.model.join(&mut pairs, &query, &self.tokens(label)?);
            if pairs.texts.tokens.len() >= CHUNK_TOKENS {
                all.extend(self.numbers(engine, &std::mem::take(&mut pairs)));
            }
        }
        all.extend(self.numbers(engine, &pairs));
        if self.sigmoid {
            all.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp()));
        }
        Ok(all)
    }
    /// The numbers of pairs, before any activation.
    pub(crate) fn numbers(&self, engine: &Engine, pairs: &PairTexts) -> Vec<f32> {
        if pairs.texts.is_empty() {
            return vec![];
        }
        let tape = Tape::inference(engine);
        self.model.score(&Scope::new(&tape, &self.params), pairs, 0).value().data::<f32>().to_vec()
    }
    /// Writes it as a directory that `CrossEncoder` of sentence-transformers loads.
    ///
    /// # Errors
    /// If the directory holds something else, or the system refuses.
    pub fn write(&self, card: &Card, dir: &Path) -> Result<()> {
        let Judge { model, params, sigmoid, .. } = self;
        let tokenizer_json = &self.tokenizer.to_json()?;
        hf::write_cross(&CrossExport { model, params, sigmoid: *sigmoid, tokenizer_json, card }, dir)
    }
    /// A hash of all that decides its scores.
    pub fn fingerprint(&self) -> u64 {
        let params = &self.params;
        let facts = format!("{:?} {} {:x}", self.model.config(), self.sigmoid, self.words);
        let numbers = params.ids().map(|id| checksum_of(params.value(id).data::<f32>()));
        numbers.fold(checksum(facts.as_bytes()), |sum: u64, number| sum.rotate_left(7) ^ number)
    }
    /// Bytes that it holds, and takes for a chunk of pairs.
    pub fn bytes(&self) -> usize {
        4 * self.params.count() + self.model.inference_bytes(CHUNK_TOKENS)
    }
}
