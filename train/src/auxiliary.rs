//! **Auxiliary vectors** beside the texts of labels: Dahiya, Yadav, Sondhi, Saini, Mehta, Jiao, Agarwal, Kar, Varma,
//! "Deep encoders with auxiliary parameters for extreme classification", KDD 2023 (DEXA).
//!
//! ```text
//! z'_l = normalise( E(z_l) + a_c(l) )       z_l the text of label l, c(l) one of M vectors;  queries: E(x) alone
//!
//! c       the `private` most frequent labels have a vector each; the others share those of balanced clusters of
//!         E(z_l), which are made once, by the encoder as it starts
//! a       [M, d], learned with the encoder, by AdamW without decay; 0 at the start
//! ```
//! What a text does not say of its label (that "apple" is sold and not eaten) has a place of its own, shared among near
//! labels, so that the encoder need not bend to it. Wherever a label is embedded from its text it is z'_l: in batches,
//! queues, lists that negatives are drawn from, a bank of labels, indexes, and the first weights of a classifier. A
//! label of another data set, and one that was added later, has no vector.
//!
//! Two things are not as in the published code. It draws a by Xavier's rule, of a length of 0.15 with 66,536 vectors of
//! 768 numbers, beside embeddings that are not scaled and some ten long; beside such of length 1, and with few vectors,
//! that would be noise. Zeros begin as the model does, and there is no symmetry to break. And where the encoder scales
//! its embeddings, the sum is of the scaled one. The equation has the normalisation in the cosine; where a model does
//! not scale, it is left out here too.

use crate::checkpoint::Trained;
use crate::config::{AuxiliaryConfig, Config};
use crate::embed::embed;
use crate::load;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::run_dir::RunDir;
use crate::trainer::Trainer;
use autograd::optim::{AdamW, AdamWOptions, Optimizer};
use autograd::{ParamId, Params, Tape, Var};
use data::DataSet;
use engine::cuda::attempt;
use engine::{Engine, Error, Kind, Packed, Result, Stream, Tensor};
use samplers::Matrix;
use samplers::composer::tree::clusters;
use std::path::Path;
use std::sync::Arc;

/// Rows to which vectors are added at once where there is no tape: what that holds besides.
const ROWS: usize = 4096;
/// The tensors of a checkpoint: vectors and clusters, and what their optimizer keeps.
const OWN: &str = "auxiliary.";
const OPTIMIZER: &str = "auxiliary_optimizer.";

/// The vectors of the labels of one data set.
#[derive(Clone)]
pub struct Auxiliary {
    /// The vectors, one matrix `[M, d]`.
    pub params: Params,
    /// Which of them each label has, `[L]`.
    of: Arc<[u32]>,
    /// Whose labels these are: [`DataSet::fingerprint`].
    data: u64,
    /// Whether embeddings have length 1.
    is_scaled: bool,
    /// Whether labels were put into clusters; before, all vectors are 0, and `of` says nothing.
    is_made: bool,
}

impl Auxiliary {
    /// Those of a run over `data`: new ones, those of the model that it starts from, or none. A classifier of other
    /// data leaves them behind and takes the label weights alone.
    ///
    /// # Errors
    /// If the model that it starts from has vectors that the run has no place for.
    pub(crate) fn of_run(
        config: &Config,
        data: &DataSet,
        network: &mut Network,
    ) -> Result<Option<Auxiliary>> {
        let (wanted, mut from) = (&config.auxiliary, network.auxiliary.take());
        if config.head.is_on() {
            from = from.filter(|from| from.data == data.fingerprint());
        }
        let alone = "to begin from its encoder alone, name the directory `model` of that run";
        if from.as_ref().is_some_and(|from| from.data != data.fingerprint()) {
            let what =
                "the run that this one starts from has auxiliary vectors for the labels of another data set";
            return Err(Error::input(what).help(alone));
        }
        let sizes = match wanted.is_on() {
            true => Some(wanted.sizes(data.labels().len())?),
            false => None,
        };
        match (from, sizes) {
            (None, None) => Ok(None),
            (None, Some((private, shared))) => {
                let (labels, width) = (data.labels().len(), network.width());
                let vectors =
                    Tensor::from_vec([private + shared, width], vec![0.0f32; (private + shared) * width]);
                let of = (0..labels).map(|label| (label % (private + shared)) as u32).collect();
                Ok(Some(Auxiliary {
                    is_made: false,
                    ..Auxiliary::new(vectors, of, data.fingerprint(), network)
                }))
            }
            (Some(from), Some(sizes)) if from.sizes() == sizes => Ok(Some(from)),
            // They stay as they are. Labels are what they were while the encoder rests; where it learns along, or alone
            // against label weights that rest, it moves under them as it does under those weights.
            (Some(from), None) if config.head.is_on() || config.cross.alone() => Ok(Some(from)),
            (Some(from), _) => {
                let has = from.vectors().shape().dim(0);
                let what = format!("the run that this one starts from has {has} auxiliary vectors");
                let same = "go on with as many: auxiliary.clusters and auxiliary.private as there; or, ";
                Err(Error::input(what).help(format!("{same}{alone}")))
            }
        }
    }
    fn new(vectors: Tensor, of: Arc<[u32]>, data: u64, network: &Network) -> Auxiliary {
        let mut params = Params::default();
        params.add("vectors", vectors, false);
        Auxiliary { params, of, data, is_scaled: network.model.architecture.is_normalised(), is_made: true }
    }
    /// Those of a checkpoint; none if it has none. `demanded` are those that its configuration speaks of.
    ///
    /// # Errors
    /// If they are damaged, do not fit the model, or are missing where the configuration speaks of some.
    pub(crate) fn of_checkpoint(
        trained: &Trained,
        demanded: &AuxiliaryConfig,
        network: &Network,
    ) -> Result<Option<Auxiliary>> {
        let found = parts(trained.remembered(OWN)?, network.width()).map_err(|e| e.at(trained.path()))?;
        if found.is_none() && demanded.is_on() && trained.progress.step > 0 {
            return Err(changed("has no auxiliary vectors, of which config.toml speaks").at(trained.path()));
        }
        Ok(found.map(|(vectors, of)| Auxiliary::new(vectors, of, trained.data, network)))
    }
    /// Whether a checkpoint has vectors.
    pub(crate) fn is_in(trained: &Trained) -> bool {
        trained.remembers(OWN)
    }
    fn id(&self) -> ParamId {
        self.params.ids().next().expect("there is one matrix")
    }
    /// The vectors, `[M, d]`.
    pub fn vectors(&self) -> &Tensor {
        self.params.value(self.id())
    }
    /// How many of them are of one label each, and how many are of clusters.
    fn sizes(&self) -> (usize, usize) {
        sizes(self.vectors().shape().dim(0), &self.of)
    }
    /// Which of them each label has, `[L]`.
    pub fn of_labels(&self) -> &[u32] {
        &self.of
    }
    /// z' of the labels whose texts have the embeddings `rows`, `[n, d]`. On a tape that goes back the vectors are a
    /// parameter.
    ///
    /// # Panics
    /// If the encoder ran on the same tape, which knows parameters by their numbers: theirs are not these.
    pub(crate) fn beside<'t>(&self, rows: Var<'t>, labels: &[u32]) -> Var<'t> {
        let of: Arc<[u32]> = labels.iter().map(|&label| self.of[label as usize]).collect();
        let vectors = rows.tape().param(&self.params, self.id());
        assert_eq!(
            vectors.shape(),
            self.vectors().shape(),
            "auxiliary vectors want a tape without the encoder"
        );
        let sum = rows + vectors.gather(of);
        if self.is_scaled { sum.normalise() } else { sum }
    }
    /// [`Auxiliary::beside`] in place, without a tape and on the CPU.
    fn add_to(&self, engine: &Engine, labels: &[u32], rows: &mut [f32]) {
        let width = self.vectors().shape().last();
        let mut here = Params::default();
        here.add("vectors", self.vectors().to_cpu(), false);
        let here = Auxiliary { params: here, ..self.clone() };
        for (labels, rows) in labels.chunks(ROWS).zip(rows.chunks_mut(ROWS * width)) {
            let tape = Tape::inference(engine);
            let texts = tape.constant(Tensor::from_vec([labels.len(), width], rows.to_vec()));
            rows.copy_from_slice(here.beside(texts, labels).value().data());
        }
    }
    /// Bytes of vectors and clusters.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.params.count() + self.of.len())
    }
    /// Bytes that a run holds for them, learned by an optimizer or as they are; with a batch of so many columns, whose
    /// gradient may be `added` to that of others.
    pub(crate) fn training_bytes(
        &self,
        learned: Option<&dyn Optimizer>,
        columns: usize,
        added: bool,
    ) -> usize {
        let (vectors, width) = (self.vectors().shape().dim(0), self.vectors().shape().last());
        let Some(optimizer) = learned else { return self.bytes() };
        // Of each column the vector, the sum, both directions of its scaling, and what is added up by row.
        let gradients = columns.min(vectors) * if added { 3 } else { 2 };
        let on_tape = 4 * width * (6 * columns + gradients);
        self.bytes() + optimizer.bytes(&self.params) + on_tape
    }
    /// Bytes that making the clusters takes, where that is still to come.
    pub(crate) fn making_bytes(&self, engine: &Engine) -> usize {
        let (labels, width) = (self.of.len(), self.vectors().shape().last());
        let copies = samplers::composer::tree::copied_bytes(engine, labels, width);
        if self.is_made { 0 } else { labels * (4 * width + 24) + copies }
    }
}

/// What moves them: without decay, whatever moves the encoder.
pub(crate) fn optimizer() -> Box<dyn Optimizer> {
    Box::new(AdamW::new(AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() }))
}

fn missing() -> Error {
    Error::new(Kind::Damaged, "the auxiliary vectors of this run's labels are missing")
        .help("its encoder without them is another model; train it again")
}

fn changed(what: &str) -> Error {
    let what = format!("the checkpoint {what}: the configuration of the run was changed since");
    Error::input(what).help("put config.toml back as it was, or begin a new run with --init RUN")
}

/// How many of so many vectors one label has for itself, and how many are shared: a cluster has two labels or more.
fn sizes(vectors: usize, of: &[u32]) -> (usize, usize) {
    let mut labels = vec![0u32; vectors];
    of.iter().for_each(|&vector| labels[vector as usize] += 1);
    let private = labels.iter().filter(|&&labels| labels == 1).count();
    (private, vectors - private)
}

/// Vectors, and which each label has, from the tensors of a checkpoint without their prefix; none if there are none.
fn parts(state: Vec<(String, Tensor)>, width: usize) -> Result<Option<(Tensor, Arc<[u32]>)>> {
    if state.is_empty() {
        return Ok(None);
    }
    let find = |name: &str| state.iter().find(|(found, _)| found == name).map(|(_, tensor)| tensor.clone());
    let (Some(vectors), Some(of)) = (find("vectors"), find("of")) else { return Err(missing()) };
    let is_matrix = vectors.shape().rank() == 2 && vectors.shape().last() == width;
    let fits = is_matrix && vectors.dtype() == engine::DType::F32 && of.dtype() == engine::DType::U32;
    if !fits || of.data::<u32>().iter().any(|&vector| vector as usize >= vectors.shape().dim(0)) {
        let what = "the auxiliary vectors of the checkpoint do not fit its model";
        return Err(Error::new(Kind::Damaged, what));
    }
    let of = of.data::<u32>().into();
    Ok(Some((vectors, of)))
}

/// Which vector each label has: the `private` most frequent one each, of equal ones the first; the others that of their
/// cluster. `rows` are the embeddings of all labels.
fn vector_of(
    engine: &Engine,
    rows: Matrix<'_>,
    frequency: &[u32],
    (private, shared): (usize, usize),
    stream: Stream,
) -> Arc<[u32]> {
    let mut labels: Vec<u32> = (0..frequency.len() as u32).collect();
    labels.sort_by_key(|&label| (std::cmp::Reverse(frequency[label as usize]), label));
    let (frequent, others) = labels.split_at(private);
    let mut of = vec![0; labels.len()];
    (0..).zip(frequent).for_each(|(vector, &label)| of[label as usize] = vector);
    let made = clusters(engine, rows, others, shared.ilog2(), stream);
    let mut start = 0;
    for (vector, &end) in (private as u32..).zip(&made.ends) {
        made.order[start..end as usize].iter().for_each(|&label| of[label as usize] = vector);
        start = end as usize;
    }
    of.into()
}

impl Network {
    /// The vectors of the labels of this data set.
    pub(crate) fn vectors_of(&self, data: &DataSet) -> Option<&Auxiliary> {
        self.auxiliary.as_ref().filter(|own| own.is_made && own.data == data.fingerprint())
    }
    /// From the embeddings `[n, d]` of the texts of these labels to those of the labels: with their auxiliary vectors,
    /// where the model has such for this data set.
    pub(crate) fn add_vectors(&self, engine: &Engine, data: &DataSet, labels: &[u32], rows: &mut [f32]) {
        if let Some(own) = self.vectors_of(data) {
            own.add_to(engine, labels, rows);
        }
    }
    /// Says so where the model has auxiliary vectors for other labels than those of `data`.
    pub fn warn_of_other_labels(&self, data: &DataSet, observer: &mut dyn Observer) {
        if self.auxiliary.as_ref().is_some_and(|own| own.data != data.fingerprint()) {
            let text = "this model has auxiliary vectors for the labels of the data set that it was trained on: those \
                        of another are embedded from their texts alone";
            observer.event(&Event::Warning(text));
        }
    }
}

impl Trainer {
    /// Puts the labels into clusters, where a run has auxiliary vectors and no step was taken.
    ///
    /// # Errors
    /// If the observer wants to stop while texts are embedded; nothing has changed then.
    pub(crate) fn begin_vectors(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Some(own) = self.network.auxiliary.as_ref().filter(|own| !own.is_made) else { return Ok(()) };
        let (engine, labels, width) = (&self.engine, self.data.labels(), self.network.width());
        let sizes = self.config.auxiliary.sizes(own.of.len())?;
        let push = |i: usize, packed: &mut Packed| labels.push_to(i, packed);
        // Its buffers fit no step.
        engine.trim();
        let rows = embed(engine, &self.network, labels.len(), push, "labels to cluster", observer)?;
        let stream = Stream::new(self.config.train.seed, 0).at_step(u64::from_be_bytes(*b"t.auxili"));
        let of = vector_of(engine, Matrix::new(&rows, width), &self.data.label_frequency(), sizes, stream);
        engine.trim();
        let own = self.network.auxiliary.as_mut().expect("it was there");
        (own.of, own.is_made) = (of, true);
        Ok(())
    }
    /// Whether labels have vectors by now: learned here, or those of the run that this one started from.
    pub(crate) fn has_vectors(&self) -> bool {
        self.network.auxiliary.as_ref().is_some_and(|own| own.is_made)
    }
    /// Keeps vectors that were taken from another run before the run has its first step: that one may go, or be trained
    /// further, and they belong to the encoder that was taken with them.
    ///
    /// # Errors
    /// If the system cannot write.
    pub(crate) fn keep_vectors(&self, dir: &RunDir) -> Result<()> {
        match self.has_vectors() {
            true => self.checkpoint().write(&dir.checkpoints(), self.config.save.keep).map(drop),
            false => Ok(()),
        }
    }
    /// Says so where vectors for other labels were left behind.
    pub(crate) fn warn_of_vectors_left(&self, observer: &mut dyn Observer) {
        if self.leaves_vectors {
            let text = "the run that this one starts from has auxiliary vectors for the labels of another data set: \
                        they stay behind, and texts of labels stand alone; label weights, if it has any, go on";
            observer.event(&Event::Warning(text));
        }
    }
    /// Of a run without a checkpoint: refuses to go on where it took vectors from another run, since those were in its
    /// first one. That run may have been trained further, so they are not taken again.
    ///
    /// # Errors
    /// If the source has vectors of these labels; or cannot be read, and this run learns vectors.
    pub(crate) fn demand_none_taken(&self) -> Result<()> {
        let (wanted, source) = (&self.config.auxiliary, &self.config.model.source);
        if wanted.is_on() && load::has_gone(source) {
            let what = "has gone, and this run has no checkpoint: whether it began with auxiliary vectors of that \
                        one cannot be told";
            let help = "bring it back, or begin a new run; no step of this one is lost";
            return Err(Error::input(what).at(Path::new(source)).help(help));
        }
        let takes = wanted.is_on() || self.config.head.is_on() || self.config.cross.alone();
        let from = if takes { load::vectors_of_source(&self.config)? } else { None };
        if from.is_some_and(|from| from.data == self.data.fingerprint()) {
            let what = "the auxiliary vectors that this run began with went with its checkpoints";
            return Err(Error::input(what).help(format!("begin a new run with --init {source}")));
        }
        Ok(())
    }
    /// Vectors, clusters and what the optimizer keeps, by name, for a checkpoint.
    pub(crate) fn vectors_state(&self) -> Vec<(String, Tensor)> {
        let Some(own) = self.network.auxiliary.as_ref().filter(|own| own.is_made) else { return vec![] };
        let of = Tensor::from_vec([own.of.len()], own.of.to_vec());
        let vectors = own.vectors().to_cpu();
        let kept = self.vectors_optimizer.iter().flat_map(|optimizer| optimizer.state(&own.params));
        let kept = kept.map(|(name, value)| (format!("{OPTIMIZER}{name}"), value.to_cpu()));
        let own = [(format!("{OWN}of"), of), (format!("{OWN}vectors"), vectors)];
        own.into_iter().chain(kept).collect()
    }
    /// Goes back to a checkpoint after `step` updates, and takes what is its own from what that holds.
    ///
    /// # Errors
    /// If something is missing, or does not fit the run.
    pub(crate) fn restore_vectors(&mut self, state: &mut Vec<(String, Tensor)>, step: u64) -> Result<()> {
        let mut own = |prefix: &str| -> Vec<(String, Tensor)> {
            let of = state.extract_if(.., |(name, _)| name.starts_with(prefix));
            of.map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
        };
        let (found, kept) = (own(OWN), own(OPTIMIZER));
        let wanted = &self.config.auxiliary;
        let Some((vectors, of)) = parts(found, self.network.width())? else {
            return match wanted.is_on() && step > 0 {
                _ if !kept.is_empty() => Err(missing()),
                true => Err(changed("has no auxiliary vectors, of which config.toml speaks")),
                false => Ok(()),
            };
        };
        // By what the configuration says: the network may hold those of this very checkpoint (`plan::foresee`).
        let (labels, rows) = (self.data.labels().len(), vectors.shape().dim(0));
        let is_wanted = match wanted.is_on() {
            true => sizes(rows, &of) == wanted.sizes(labels)?,
            false => self.config.head.is_on() || self.config.cross.alone(),
        };
        if of.len() != labels || !is_wanted {
            let what =
                format!("has {rows} auxiliary vectors for {} labels, and config.toml others", of.len());
            return Err(changed(&what));
        }
        let mut found = Auxiliary::new(vectors, of, self.data.fingerprint(), &self.network);
        if let Some(cuda) = self.engine.cuda() {
            // What the optimizer keeps lies beside what it moves.
            attempt(|| {
                found.params.to_device(cuda);
                Ok::<(), Error>(())
            })?;
        }
        if let Some(optimizer) = &mut self.vectors_optimizer {
            optimizer.restore(&found.params, kept)?;
        }
        self.network.auxiliary = Some(found);
        Ok(())
    }
}
