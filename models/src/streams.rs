//! Which random numbers this crate draws: the tags of its streams, all in one place, so that a new use shifts
//! no other.
//!
//! ```text
//! tag = purpose · 2³² + site
//! ```
//! A dropout site is a place in the network; the mask there is a function of (seed, step, site, slot of the
//! text, position, channel) and never of where a text happens to lie in the packed batch.

use autograd::{Dropout, Var};
use engine::{Places, Stream};
use std::sync::Arc;

/// First values of parameters; the parameter's name is the step.
const INITIAL: u64 = 0x4d4f_0001 << 32;
/// Dropout masks of an encoder.
const DROPOUT: u64 = 0x4d4f_0002 << 32;

/// Where dropout acts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Site {
    /// After the layer norm of the embeddings.
    Embeddings,
    /// Attention probabilities of a layer.
    Probabilities(usize),
    /// The result of attention in a layer, before the residual is added.
    Attention(usize),
    /// The result of the feed-forward part of a layer, before the residual is added.
    FeedForward(usize),
}

impl Site {
    fn number(self) -> u64 {
        match self {
            Site::Embeddings => 0,
            Site::Probabilities(layer) => 1 + 3 * layer as u64,
            Site::Attention(layer) => 2 + 3 * layer as u64,
            Site::FeedForward(layer) => 3 + 3 * layer as u64,
        }
    }
}

/// The dropout of one site; none in evaluation or at rate zero.
pub(crate) fn dropout(
    stream: Option<Stream>,
    site: Site,
    rate: f32,
    places: &Arc<Places>,
) -> Option<Dropout> {
    let stream = stream.filter(|_| rate > 0.0)?;
    let key = stream.with_tag(DROPOUT + site.number()).key();
    Some(Dropout { rate, key, places: places.clone() })
}

/// x with some entries dropped.
pub(crate) fn dropped<'t>(x: Var<'t>, dropout: &Option<Dropout>) -> Var<'t> {
    match dropout {
        Some(dropout) => x.dropout(dropout),
        None => x,
    }
}

/// The stream of a parameter's first values. Its name decides, so that another parameter changes nothing
/// here.
pub(crate) fn initial(seed: u64, name: &str) -> Stream {
    Stream { seed, step: fnv1a(name.as_bytes()), tag: INITIAL }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): a name as a number.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vectors of FNV-1a.
    #[test]
    fn names_hash_as_published() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn no_two_sites_share_a_mask() {
        let sites = (0..3).flat_map(|l| [Site::Probabilities(l), Site::Attention(l), Site::FeedForward(l)]);
        let mut numbers: Vec<u64> = sites.chain([Site::Embeddings]).map(Site::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 10);
    }

    #[test]
    fn evaluation_and_rate_zero_drop_nothing() {
        let places = Arc::new(Places::default());
        let stream = Stream::new(1, 0);
        assert!(dropout(None, Site::Embeddings, 0.1, &places).is_none());
        assert!(dropout(Some(stream), Site::Embeddings, 0.0, &places).is_none());
        assert!(dropout(Some(stream), Site::Embeddings, 0.1, &places).is_some());
    }
}
