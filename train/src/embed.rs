//! Embeds many texts without a tape: labels for an index, queries for an evaluation or a composer's refresh.
//!
//! Texts are packed into chunks of about [`CHUNK_TOKENS`] tokens, so the memory is bounded whatever the number of
//! texts; a text's embedding does not depend on its neighbours. Between two chunks the observer may stop the work.

use crate::held::Held;
use crate::network::Network;
use crate::observer::{Event, Observer};
use autograd::Tape;
use data::DataSet;
use engine::cuda::attempt;
use engine::{Engine, Error, Kind, Packed, Result};

/// Tokens that are encoded at once. Large enough for the matrix products, small against the memory of a step.
pub const CHUNK_TOKENS: usize = 2048;

/// x ← x/‖x‖, after which inner products are cosines whatever the model. Zeros stay.
pub(crate) fn normalise(x: &mut [f32]) {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        x.iter_mut().for_each(|x| *x /= length);
    }
}

/// The embeddings `[n, width]` of `n` texts; `push(i, packed)` appends the tokens of text `i`.
///
/// # Errors
/// [`Kind::Interrupted`] when the observer wants to stop, [`Kind::Refused`] when a device has no memory left,
/// [`Kind::Other`] when it failed.
pub fn embed(
    engine: &Engine,
    network: &Network,
    n: usize,
    push: impl Fn(usize, &mut Packed),
    what: &str,
    observer: &mut dyn Observer,
) -> Result<Vec<f32>> {
    let mut all = Vec::with_capacity(n * network.width());
    let (mut packed, mut done) = (Packed::default(), 0);
    while done < n {
        if observer.stop() {
            return Err(Error::new(Kind::Interrupted, format!("stopped after {done} of {n} {what}")));
        }
        packed.clear();
        while done < n && packed.tokens.len() < CHUNK_TOKENS {
            push(done, &mut packed);
            done += 1;
        }
        let tape = Tape::inference(engine);
        attempt(|| {
            all.extend_from_slice(network.encode(&tape, &packed, 0, None).value().to_cpu().data());
            Ok::<(), Error>(())
        })?;
        observer.event(&Event::Embedding { what, done, total: n });
    }
    Ok(all)
}

/// The embeddings `[n, width]` of these labels of a data set: of their texts, with their auxiliary vectors where the
/// network has such ([`crate::auxiliary`]).
///
/// # Errors
/// As [`embed`].
pub fn embed_labels(
    (engine, network): (&Engine, &Network),
    data: &DataSet,
    labels: &[u32],
    what: &str,
    observer: &mut dyn Observer,
) -> Result<Vec<f32>> {
    let texts = data.labels();
    let push = |i: usize, packed: &mut Packed| texts.push_to(labels[i] as usize, packed);
    let mut rows = embed(engine, network, labels.len(), push, what, observer)?;
    network.add_vectors(engine, data, labels, &mut rows);
    Ok(rows)
}

/// All labels of a data set.
pub fn all_labels(data: &DataSet) -> Vec<u32> {
    (0..data.labels().len() as u32).collect()
}

/// Hears of a block of texts and tells of all.
pub(crate) struct Part<'a> {
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) before: usize,
    pub(crate) total: usize,
}

impl Observer for Part<'_> {
    fn seconds(&mut self) -> f64 {
        self.observer.seconds()
    }
    fn stop(&mut self) -> bool {
        self.observer.stop()
    }
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Embedding { what, done, .. } => {
                self.observer.event(&Event::Embedding { what, done: self.before + done, total: self.total });
            }
            other => self.observer.event(other),
        }
    }
    fn memory_limit(&self) -> Option<usize> {
        self.observer.memory_limit()
    }
    fn afford(&mut self, held: &Held) -> Result<()> {
        self.observer.afford(held)
    }
    fn memory_peak(&mut self) -> Option<u64> {
        self.observer.memory_peak()
    }
}
