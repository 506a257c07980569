//! A validation split, taken from training queries and from nothing else.
//!
//! ```text
//! score(q) = xxh3(key(title of q), seed, step, tag);  groups of equal key by ascending score, until enough
//! ```
//! Queries with the same main title stay together, so that validation does not measure memory; which groups
//! are taken depends on titles and stream alone.

use crate::build::Split;
use crate::set::DataSet;
use crate::title::main_title;
use engine::Stream;
use engine::container::checksum;

/// How many training queries are held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holdout {
    /// So many of a thousand, rounded down.
    PerMille(u32),
    /// So many, if there are more than that.
    Count(usize),
}

/// Divides the training queries into those to learn from and those to validate on, both ascending.
///
/// A group that would lead beyond the number asked for is passed over, so there are never more; there may
/// be fewer.
pub fn holdout(set: &DataSet, size: Holdout, stream: Stream) -> (Vec<u32>, Vec<u32>) {
    let queries = set.queries(Split::Train);
    let n = queries.len();
    let wanted = match size {
        Holdout::PerMille(share) => n * share.min(1000) as usize / 1000,
        Holdout::Count(count) => count.min(n),
    };
    let mut scored: Vec<(u64, u64, u32)> = (0..n)
        .map(|i| {
            let key = checksum(main_title(queries.title(i)).as_bytes());
            let place = [key, stream.seed, stream.step, stream.tag].map(u64::to_le_bytes);
            (checksum(place.as_flattened()), key, i as u32)
        })
        .collect();
    scored.sort_unstable();
    let mut held = vec![];
    let mut kept = Vec::with_capacity(n);
    for group in scored.chunk_by(|a, b| a.1 == b.1) {
        let side = if held.len() + group.len() <= wanted { &mut held } else { &mut kept };
        side.extend(group.iter().map(|&(_, _, i)| i));
    }
    held.sort_unstable();
    kept.sort_unstable();
    (kept, held)
}
