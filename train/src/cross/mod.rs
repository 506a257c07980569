//! A cross-encoder that learns: in the place of the encoder, or in turns with it.
//!
//! ```text
//! steps of a round      0 ……………… share·n ……………………………………………… n      a round ends where the lists are made anew
//! cross-encoder         learns          reads the lists of a batch, if the loss wants a teacher
//! encoder               rests           learns
//! ```
//! Both learn from the same batches: a row, its positive, and the labels that it meets as negatives. The encoder scores
//! them all at once; the cross-encoder reads each pair as one text ([`step`]). Without rounds (lists that are made
//! once) the whole run is one. What a step of either is depends on its number alone, so a run resumes inside a round.

pub(crate) mod lists;
mod step;
pub(crate) mod validation;

use crate::batch::Batch;
use crate::checkpoint::restore_params;
use crate::config::{Config, OWN};
use crate::embed::CHUNK_TOKENS;
use crate::guide::START;
use crate::judge::Judge;
use crate::load;
use crate::memory::taken;
use crate::network::Network;
use crate::pace;
use crate::trainer::Trainer;
use autograd::optim::Optimizer;
use data::DataSet;
use engine::{Error, Result, Tensor};
use lists::{Pairs, lists};
use models::cross::CrossEncoder;
use models::{ListLoss, Model, hf};
use std::path::Path;

/// What a checkpoint calls its parameters and the state of its optimizer.
pub(crate) const PARAMS: &str = "cross.params.";
const OPTIMIZER: &str = "cross.optimizer.";

/// A cross-encoder of a run.
pub(crate) struct Cross {
    pub(crate) judge: Judge,
    optimizer: Box<dyn Optimizer>,
    loss: ListLoss,
}

impl Cross {
    /// That which a configuration names, beside the encoder that the run starts from; none where none is named.
    ///
    /// # Errors
    /// If it cannot be read, or is no cross-encoder and can become none.
    pub(crate) fn of(config: &Config, data: &DataSet, start: &Network) -> Result<Option<Cross>> {
        if !config.cross.is_on() {
            return Ok(None);
        }
        let (source, encoder) = (&*config.model.source, &*config.cross.model);
        let fresh = |name: &str| load::TRANSFORMERS.contains(&name) && !Path::new(name).is_dir();
        // Of a fresh encoder nothing is lost if the cross-encoder is another, with positions for two texts.
        let name = if encoder == START && fresh(source) { source } else { encoder };
        let judge = if fresh(name) {
            fresh_one(name, config, data)?
        } else if name == START {
            on(&start.model, config, data.tokenizer()?)?
        } else {
            named(Path::new(name), config)?
        };
        Ok(Some(Cross::learning(judge, config)))
    }
    /// One that learns as the configuration says.
    pub(crate) fn learning(mut judge: Judge, config: &Config) -> Cross {
        let of = &config.cross;
        if config.model.dropout >= 0.0 {
            judge.model = judge.model.clone().with_dropout(config.model.dropout, &judge.params);
        }
        let loss = if of.loss == "pairs" { ListLoss::Pairs } else { ListLoss::Softmax };
        if of.learns() {
            judge.sigmoid = loss == ListLoss::Pairs;
        }
        Cross { judge, optimizer: pace::optimizer(&config.train), loss }
    }
    /// All that its next steps depend on, by name.
    pub(crate) fn state(&self) -> Vec<(String, Tensor)> {
        let params = &self.judge.params;
        let numbers =
            params.ids().map(|id| (format!("{PARAMS}{}", params.name(id)), params.value(id).clone()));
        let state = self.optimizer.state(params).into_iter();
        numbers.chain(state.map(|(name, value)| (format!("{OPTIMIZER}{name}"), value))).collect()
    }
    /// Goes back to a checkpoint, and takes what is its own from what that holds.
    ///
    /// # Errors
    /// If something is missing or does not fit.
    pub(crate) fn restore(&mut self, state: &mut Vec<(String, Tensor)>) -> Result<()> {
        let (params, optimizer) = (taken(state, PARAMS), taken(state, OPTIMIZER));
        restore_params(&mut self.judge.params, params)?;
        self.optimizer.restore(&self.judge.params, optimizer)
    }
    /// Bytes of its numbers, and of what its optimizer keeps where it learns.
    pub(crate) fn bytes(&self, learns: bool) -> usize {
        let params = &self.judge.params;
        4 * params.count() + if learns { 8 * params.count() + self.optimizer.bytes(params) } else { 0 }
    }
}

impl Trainer {
    /// Steps between two refreshes of the lists; those of the run where they are made once.
    fn round(&self) -> u64 {
        match self.config.negatives.refreshed_every() {
            0 => self.total_steps(),
            every => every,
        }
    }
    /// Whether the step at hand is the cross-encoder's.
    pub(crate) fn cross_learns(&self) -> bool {
        let round = self.round().max(1);
        self.progress.step % round < self.config.cross.steps_of(round)
    }
    /// Whether the cross-encoder of this run judges its lists from here on, which were made before it had learned.
    pub(crate) fn wants_judged_lists(&self) -> bool {
        let learned = self.config.cross.steps_of(self.round());
        let made = self.parts.miner.lists().filter(|lists| lists.rows() > 0).map(|lists| lists.made_at_step);
        self.judges_itself() && made.is_some_and(|made| made < learned)
    }
    /// Whether its own cross-encoder judges the lists that are made now.
    pub(crate) fn judges_itself(&self) -> bool {
        let own = self.config.negatives.rescore == OWN;
        own && self.progress.step >= self.config.cross.steps_of(self.round())
    }
    /// The cross-encoder, where the loss asks what it says.
    fn reader(&self) -> Option<&Cross> {
        self.cross.as_ref().filter(|_| self.config.loss.is_taught())
    }
    /// Pairs of a batch that it reads to teach.
    pub(crate) fn pairs_read(&self, batch: &Batch) -> u64 {
        self.reader().map_or(0, |_| lists(batch, self.config.negatives.own).items().len() as u64)
    }
    /// What a teacher says of the pairs of a batch, `[n, C]`: a guide of all, a cross-encoder of those that a row meets
    /// (0 of the others, which do not count); none where there is none, or the loss asks none.
    ///
    /// # Errors
    /// If the cross-encoder's tokenizer cannot spell a text.
    pub(crate) fn taught(&self, batch: &Batch) -> Result<Option<Tensor>> {
        if let Some(guide) = &self.guide {
            return Ok(Some(guide.scores(&self.engine, batch)));
        }
        let Some(cross) = self.reader() else { return Ok(None) };
        let of = lists(batch, self.config.negatives.own);
        let pairs = Pairs::of(&cross.judge, &self.data, batch, &of)?;
        let (n, width) = (batch.rows.len(), batch.keep.len() / batch.rows.len().max(1));
        let mut all = vec![0.0; n * width];
        let mut read = pairs
            .chunks(CHUNK_TOKENS)
            .into_iter()
            .flat_map(|chunk| cross.judge.numbers(&self.engine, &pairs.part(chunk)));
        for i in 0..n {
            for &column in of.row(i) {
                all[i * width + column as usize] = read.next().expect("a number for each pair");
            }
        }
        Ok(Some(Tensor::from_vec([n, width], all)))
    }
}

/// A fresh one over the vocabulary of the data set, with positions for two of its texts.
fn fresh_one(name: &str, config: &Config, data: &DataSet) -> Result<Judge> {
    let positions = 2 * data.max_len().max(2);
    let architecture = load::fresh(name, data.vocab_size(), config.model.width, positions)?;
    on(&Model::fresh(architecture, positions, config.train.seed), config, data.tokenizer()?)
}

/// A fresh head on an encoder.
fn on(model: &Model, config: &Config, tokenizer: data::Tokenizer) -> Result<Judge> {
    let made = CrossEncoder::on(model, config.train.seed).map_err(|family| {
        let e = Error::input(format!("a {family} cannot read two texts as one here"));
        e.help("--set cross.model=tiny, small, or the directory of a bert, roberta or xlm-roberta")
    })?;
    Judge::new(made, false, tokenizer)
}

/// A cross-encoder, or an encoder that gets a head.
fn named(path: &Path, config: &Config) -> Result<Judge> {
    let judge = Judge::read(path);
    let Err(error) = judge else { return judge };
    // Whatever has a head is a cross-encoder, and what is wrong with it is to be told.
    let encoder = hf::read(path).ok();
    match encoder.filter(|import| !import.unused.iter().any(|name| name.contains("classifier"))) {
        Some(import) => {
            let tokenizer = data::Tokenizer::from_dir(&import.tokenizer_folder)?;
            on(&import.model, config, tokenizer).map_err(|e| e.at(path))
        }
        None => Err(error),
    }
}
