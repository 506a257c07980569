//! What mining holds at its peak, known before it starts, and how many queries are searched at once.
//!
//! ```text
//! parameters 4·P   embedding of a chunk, and of LOT texts 4·LOT·d   ids of queries and labels
//! a block of n queries, W candidates each:  embeddings 4·n·d   candidates 16·n·W   pools of the search 32·(n + …)·W
//! a part of the corpus 4·PART·d (mapped)   program
//! ```
//! The corpus itself lies on the disk, so nothing here grows with its length but ids. A smaller block reads it more
//! often; so the block is the largest that fits. Before that, telling equal texts apart takes 17 bytes a text for
//! a moment.

use super::{LOT, PART};
use crate::embed::CHUNK_TOKENS;
use crate::network::Network;
use crate::plan::{PROGRAM, WORKER, bytes};
use engine::{Engine, Error, Kind, Result};

/// Queries of a block, at most and at least.
const BLOCKS: (usize, usize) = (4096, 64);
/// Queries of one task of a search, times the spans of items that are searched for one block of them: each of these has
/// a pool of its own.
const POOLS: usize = 192 * 32;

/// What decides how much a block takes.
pub(super) struct Sizes<'a> {
    pub(super) engine: &'a Engine,
    pub(super) network: &'a Network,
    /// Queries in all.
    pub(super) queries: usize,
    /// Texts in the corpus.
    pub(super) corpus: usize,
    /// Labels of each query that are looked at.
    pub(super) looked_at: usize,
    /// Bytes of the ids of queries and labels.
    pub(super) ids: usize,
}

impl Sizes<'_> {
    /// Bytes by purpose, with blocks of `block` queries.
    fn parts(&self, block: usize) -> [(&'static str, usize); 7] {
        let (width, block) = (self.network.width(), block.min(self.queries));
        let encoder = &self.network.encoder;
        [
            ("parameters", self.network.bytes()),
            ("embedding", encoder.inference_bytes(CHUNK_TOKENS) + 4 * LOT * width),
            ("ids", self.ids),
            ("queries", 4 * block * width),
            ("candidates", 48 * block * self.looked_at + 32 * POOLS.min(16 * block) * self.looked_at),
            ("part of corpus", 4 * PART.min(self.corpus) * width),
            ("program", PROGRAM + self.engine.threads() * WORKER),
        ]
    }
    /// The largest block that fits.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the table and what would help, if none does.
    pub(super) fn block(&self, limit: usize) -> Result<usize> {
        let total = |block: usize| self.parts(block).iter().map(|(_, bytes)| bytes).sum::<usize>();
        let (most, least) = BLOCKS;
        let halves = std::iter::successors(Some(most), |block| Some(block / 2));
        if let Some(block) = halves.take_while(|&block| block >= least).find(|&block| total(block) <= limit) {
            return Ok(block);
        }
        let what = format!(
            "mining needs {} even with {least} queries at once, the limit is {}; nothing was started",
            bytes(total(least)),
            bytes(limit)
        );
        let table = self.parts(least);
        let error = table.iter().fold(Error::new(Kind::Refused, what), |e, (name, part)| {
            e.note(format!("{name:<16} {:>10}", bytes(*part)))
        });
        Err(error.help("--max-memory allows more; a smaller --range-max looks at fewer candidates"))
    }
}
