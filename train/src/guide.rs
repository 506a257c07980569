//! A guide: a model that judges the pairs of a batch while another one learns. It never changes and has no tape.

use crate::batch::{Batch, Similarity};
use crate::config::Config;
use crate::embed::{CHUNK_TOKENS, embed};
use crate::load;
use crate::network::Network;
use crate::observer::Silent;
use crate::vocabulary;
use autograd::Tape;
use data::DataSet;
use engine::{Engine, Error, Packed, Result, Tensor};
use std::path::Path;

/// The name of the model that a run starts from.
pub(crate) const START: &str = "start";

/// A frozen model.
pub(crate) struct Guide {
    network: Network,
}

impl Guide {
    /// The guide that a configuration names; `start` gives the model that the run starts from.
    ///
    /// # Errors
    /// If it cannot be read, or its tokens are not those of the data set.
    pub(crate) fn of(
        config: &Config,
        data: &DataSet,
        start: impl FnOnce() -> Result<Network>,
    ) -> Result<Option<Guide>> {
        let network = match &*config.guide.model {
            "" => return Ok(None),
            START => start()?,
            path => named(Path::new(path), data)?,
        };
        if config.guide.model == START && network.auxiliary.is_some() {
            let what = "the run that this one starts from has auxiliary vectors, and `guide.model=start` is an encoder \
                        alone";
            return Err(Error::input(what).help("name that run as the guide, too: --set guide.model=RUN"));
        }
        Ok(Some(Guide { network }))
    }
    /// What it scores for each pair of a batch, `[n, C]`.
    pub(crate) fn scores(&self, engine: &Engine, batch: &Batch) -> Tensor {
        let (total, width) = (batch.texts.len(), self.network.width());
        let push = |i: usize, packed: &mut Packed| packed.push(batch.texts.text(i).iter().copied());
        let all = embed(engine, &self.network, total, push, "", &mut Silent);
        let all = all.expect("a silent observer never stops");
        let tape = Tape::inference(engine);
        let embeddings = tape.constant(Tensor::from_vec([total, width], all));
        let columns = batch.columns(embeddings, None, self.network.auxiliary.as_ref());
        batch.scores(embeddings, columns, Similarity::Cosine).value()
    }
    /// Bytes that it holds, and takes beside a batch of so many texts.
    pub(crate) fn bytes(&self, texts: usize) -> usize {
        let embeddings = 4 * texts * self.network.width();
        self.network.bytes() + 2 * embeddings + self.network.encoder.inference_bytes(CHUNK_TOKENS)
    }
}

/// A model that is neither in training nor the one that the run starts from.
///
/// # Errors
/// If it cannot be read, its tokens are not those of the data set, or its auxiliary vectors are of other labels.
pub(crate) fn named(path: &Path, data: &DataSet) -> Result<Network> {
    let network = load::network(path)?;
    vocabulary::demand_same(&network, path, data)?;
    if network.auxiliary.is_some() && network.vectors_of(data).is_none() {
        let e = Error::input("has auxiliary vectors for the labels of another data set").at(path);
        return Err(e.help("name its directory `model`, the encoder alone"));
    }
    Ok(network)
}
