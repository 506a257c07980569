//! What a job will hold at its peak, by purpose. It is told to the [`crate::Observer`] before the job starts, which may
//! refuse.
//!
//! ```text
//! looking at negatives   a run taken up: parameters 4·P   optimizer   memory bank 4·N·d   lists   label tables
//!                        embeddings of labels and of training titles 4·(L + N)·d   what is found
//! explaining             parameters 4·P   the same embeddings, where no mapped file has them   a classifier's 4·L·d
//!                        a text of n tokens, and n without one of them each   its tape, and gradients of parameters
//! the tape of a step     what the step takes: `plan.rs`
//! ```

use crate::embed::CHUNK_TOKENS;
use crate::negatives::looked_at;
use crate::network::Network;
use crate::plan::{PROGRAM, WORKER, bytes};
use crate::trainer::Trainer;
use data::Split;
use engine::{Engine, Error, Kind, Result};

/// Bytes by purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who needs them, such as `this run`.
    pub what: &'static str,
    /// By purpose, in the order of the table.
    pub parts: Vec<(&'static str, usize)>,
    /// What needs less.
    pub help: &'static str,
}

impl Held {
    /// All bytes.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
    /// Refuses what would not fit.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the table and what would help.
    pub fn demand(&self, limit: usize) -> Result<()> {
        if self.total() <= limit {
            return Ok(());
        }
        let (needs, limit) = (bytes(self.total()), bytes(limit));
        let what = format!("{} needs {needs}, the limit is {limit}; nothing was started", self.what);
        let note = |e: Error, (name, b): &(&str, usize)| e.note(format!("{name:<16} {:>10}", bytes(*b)));
        let parts = self.parts.iter().filter(|(_, bytes)| *bytes > 0);
        Err(parts.fold(Error::new(Kind::Refused, what), note).help(self.help))
    }
    /// The program with its threads, and a model that embeds so many tokens at once.
    pub(crate) fn embedding(engine: &Engine, network: &Network, tokens: usize) -> Vec<(&'static str, usize)> {
        vec![
            ("parameters", network.bytes()),
            ("embedding", network.encoder.inference_bytes(tokens)),
            ("program", PROGRAM + engine.threads() * WORKER),
        ]
    }
    /// A run that was taken up and takes no step.
    pub(crate) fn resting(trainer: &Trainer) -> Vec<(&'static str, usize)> {
        let (config, queries) = (&trainer.config, trainer.data.queries(Split::Train).len());
        let mut parts = Held::embedding(&trainer.engine, &trainer.network, CHUNK_TOKENS);
        let rests = config.cross.alone() || trainer.head.is_some() && config.head.encoder_rests();
        let optimizer = if rests { 0 } else { trainer.optimizer.bytes(&trainer.network.model.params) };
        let vectors = match (&trainer.network.auxiliary, &trainer.vectors_optimizer) {
            (Some(own), Some(optimizer)) => optimizer.bytes(&own.params),
            _ => 0,
        };
        let bank = trainer.bank.as_ref().map_or(0, |b| b.matrix().data.len() * 4 + b.written_at().len() * 8);
        let lists = if config.negatives.listed() { 4 * queries * looked_at(&config.negatives) } else { 0 };
        parts.extend([
            ("optimizer", optimizer + vectors),
            ("memory bank", bank),
            ("ranked lists", lists),
            ("text numbers", trainer.text_ids.bytes()),
            ("cross-encoder", trainer.cross.as_ref().map_or(0, |cross| cross.bytes(config.cross.learns()))),
            ("label tables", trainer.head.as_ref().map_or(0, |head| head.resting_bytes(queries))),
        ]);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_is_refused_with_the_table() {
        let held = Held { what: "this", parts: vec![("labels", 3_000_000), ("titles", 1_000)], help: "less" };
        assert!(held.demand(3_001_000).is_ok());
        let error = held.demand(3_000_999).expect_err("too large");
        assert_eq!(error.kind(), Kind::Refused);
        let said = error.to_string();
        assert!(said.contains("this needs 3.0 MB") && said.contains("titles               1.0 kB"), "{said}");
    }
}
