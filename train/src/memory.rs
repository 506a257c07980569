//! What a run remembers of batches and epochs before, besides the bank and the lists, and learns from.
//!
//! ```text
//! queue     label embeddings of batches before: further columns                  XBM, MoCo; mixed for MoCHi
//! keys      a slow copy of the encoder that embeds labels                        MoCo: θ_k ← m θ_k + (1 − m) θ
//! history   what each pair cost, epoch by epoch: pairs far off weigh less        DBPM
//! past      what the model found of each query an epoch ago: part of the target  PS-KD
//! selection a model of which pairs somebody looked at: weights of negatives      CET
//! ```
//! A step only notes ([`Note`]) what it saw; it is remembered when the step was taken. So a step that is walked again,
//! or is not taken since its numbers ran away, leaves nothing behind.

mod history;
mod past;
mod selection;

pub(crate) use history::History;
pub(crate) use past::Past;
pub(crate) use selection::{Seen, Selection};

use crate::batch::Batch;
use crate::config::Config;
use crate::embed::{CHUNK_TOKENS, embed};
use crate::network::Network;
use crate::observer::Silent;
use autograd::Params;
use data::DataSet;
use engine::{Engine, Error, Kind, Packed, Result, Stream, Tensor};
use models::{Objective, Terms};
use samplers::{Mix, Queue};

mod tags {
    /// The first numbers of a model of selection.
    pub(super) const SELECTION: u64 = u64::from_be_bytes(*b"t.select");
}

/// What is remembered.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) queue: Option<Queue>,
    /// What is mixed of the queue.
    pub(crate) mix: Option<Mix>,
    /// The copy that embeds labels.
    keys: Option<Network>,
    momentum: f32,
    pub(crate) history: Option<History>,
    pub(crate) past: Option<Past>,
    pub(crate) selection: Option<Selection>,
    /// Steps that were passed over since their numbers ran away, where that is allowed.
    pub(crate) skipped: Option<u32>,
}

/// What one batch leaves behind.
#[derive(Default)]
pub(crate) struct Note {
    /// Labels and their embeddings, for the queue.
    labels: (Vec<u32>, Vec<f32>),
    /// Training queries, what each cost, and which labels it took for right how likely.
    rows: Vec<u32>,
    losses: Vec<f32>,
    found: Vec<Vec<(u32, f32)>>,
    /// Pairs that were given, and others.
    seen: Seen,
}

impl Memory {
    /// An empty memory of so many training queries, for the labels of a data set and this encoder as it starts.
    pub(crate) fn new(config: &Config, queries: usize, data: &DataSet, network: &Network) -> Memory {
        let (of, labels) = (&config.memory, data.labels().len());
        let stream = Stream::new(config.train.seed, tags::SELECTION);
        let mix = Mix { hardest: of.mixed_from, pairs: of.mixed, with_query: of.mixed_with_query };
        Memory {
            queue: (of.queue > 0).then(|| Queue::new(of.queue, network.width())),
            mix: (mix.columns() > 0).then_some(mix),
            keys: (of.momentum > 0.0).then(|| copy(network)),
            momentum: of.momentum as f32,
            history: of.weighs().then(|| History::new(of, queries)),
            past: (of.past > 0.0).then(|| Past::new(of, queries, labels)),
            selection: config.selection.is_on().then(|| {
                Selection::new(&config.selection, config.loss.temperature, &data.label_frequency(), stream)
            }),
            skipped: (config.train.skip_nonfinite > 0).then_some(0),
        }
    }
    /// Whether labels are embedded by a copy of the encoder.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }
    /// The embeddings of the labels' texts by the copy, `[T, d]`; none where the encoder itself embeds them.
    pub(crate) fn embed_keys(&self, engine: &Engine, batch: &Batch) -> Option<Tensor> {
        let (network, texts) = (self.keys.as_ref()?, batch.key_texts.as_ref()?);
        let push = |i: usize, packed: &mut Packed| packed.push(texts.text(i).iter().copied());
        let all = embed(engine, network, texts.len(), push, "", &mut Silent);
        let all = all.expect("a silent observer never stops");
        Some(Tensor::from_vec([texts.len(), network.width()], all))
    }
    /// The terms of a loss with what is remembered of the rows: of this epoch of so many.
    pub(crate) fn shape(
        &self,
        engine: &Engine,
        mut terms: Terms,
        batch: &Batch,
        scores: &Tensor,
        epochs: (u32, u32),
    ) -> Terms {
        if let Some(selection) = &self.selection {
            selection.weigh(engine, batch, scores, epochs.0, &mut terms);
        }
        if let Some(of_rows) = self.history.as_ref().and_then(|history| history.weights(&batch.rows)) {
            let weights = terms.row_weight.get_or_insert_with(|| vec![1.0; batch.rows.len()]);
            weights.iter_mut().zip(of_rows).for_each(|(weight, of_row)| *weight *= of_row);
        }
        if let Some(past) = &self.past {
            terms.soft = past.targets(batch, &terms, epochs);
        }
        terms
    }
    /// What is to be remembered of a batch: `columns` are the embeddings of its labels, `[m, d]`.
    pub(crate) fn note(
        &self,
        engine: &Engine,
        batch: &Batch,
        columns: &Tensor,
        (objective, scores, terms): (&dyn Objective, &Tensor, &Terms),
    ) -> Note {
        let mut note = Note::default();
        if self.queue.is_some() {
            note.labels = (batch.labels.clone(), columns.to_cpu().data::<f32>().to_vec());
        }
        if self.history.is_some() || self.past.is_some() {
            let found = objective.outcome(engine, scores, terms).expect("checked with the configuration");
            note.rows = batch.rows.clone();
            if let Some(past) = &self.past {
                note.found = past.likeliest(batch, &found, scores.shape().last());
            }
            note.losses = found.losses;
        }
        if let Some(selection) = &self.selection {
            note.seen = selection.see(batch, scores, terms);
        }
        note
    }
    /// Remembers what the batches of a step left behind, after the update of the parameters.
    pub(crate) fn remember(&mut self, engine: &Engine, epoch: u32, notes: Vec<Note>, params: &Params) {
        for note in notes {
            if let Some(queue) = &mut self.queue {
                queue.push(&note.labels.0, &note.labels.1);
            }
            if let Some(history) = &mut self.history {
                history.observe(epoch, &note.rows, &note.losses);
            }
            if let Some(past) = &mut self.past {
                past.observe(&note.rows, &note.found);
            }
            if let Some(selection) = &mut self.selection {
                selection.learn(engine, &note.seen);
            }
        }
        if let Some(keys) = &mut self.keys {
            follow(&mut keys.model.params, params, self.momentum);
        }
    }
    /// Begins an epoch.
    pub(crate) fn begin_epoch(&mut self, epoch: u32) {
        self.history.iter_mut().for_each(|history| history.begin_epoch(epoch));
    }
    /// All of it by name, for a checkpoint.
    pub(crate) fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![];
        if let Some(queue) = &self.queue {
            let (labels, values, next) = queue.parts();
            all.push(("queue.labels".into(), Tensor::from_vec([labels.len()], labels.to_vec())));
            all.push(("queue.values".into(), Tensor::from_vec([values.len()], values.to_vec())));
            all.push(("queue.next".into(), Tensor::from_vec([1], vec![next as u32])));
        }
        if let Some(keys) = &self.keys {
            let params = &keys.model.params;
            all.extend(
                params.ids().map(|id| (format!("keys.{}", params.name(id)), params.value(id).clone())),
            );
        }
        all.extend(self.history.iter().flat_map(History::state));
        all.extend(self.past.iter().flat_map(Past::state));
        all.extend(self.selection.iter().flat_map(Selection::state));
        all.extend(self.skipped.map(|n| ("skipped".into(), Tensor::from_vec([1], vec![n]))));
        all
    }
    /// Goes back to what a checkpoint holds.
    ///
    /// # Errors
    /// If something is missing or does not fit the run.
    pub(crate) fn restore(&mut self, state: Vec<(String, Tensor)>, width: usize) -> Result<()> {
        let mut state = State(state);
        if let Some(queue) = &mut self.queue {
            let labels = state.take("queue.labels")?.data::<u32>().to_vec();
            let values = state.take("queue.values")?.data::<f32>().to_vec();
            let next = state.take("queue.next")?.data::<u32>().first().map_or(usize::MAX, |&n| n as usize);
            *queue = Queue::from_parts((queue.capacity(), width), labels, values, next)?;
        }
        if let Some(keys) = &mut self.keys {
            let params = &mut keys.model.params;
            for id in params.ids() {
                let value = state.take(&format!("keys.{}", params.name(id)))?;
                if value.shape() != params.value(id).shape() {
                    return Err(unfit(&format!("keys.{}", params.name(id))));
                }
                params.set(id, value);
            }
        }
        self.history.as_mut().map_or(Ok(()), |history| history.restore(&mut state))?;
        self.past.as_mut().map_or(Ok(()), |past| past.restore(&mut state))?;
        self.selection.as_mut().map_or(Ok(()), |selection| selection.restore(&mut state))?;
        if let Some(skipped) = &mut self.skipped {
            // None was passed over by a run that only now, after its numbers ran away, is allowed to.
            *skipped = if state.has("skipped") { state.numbers("skipped", 1)?[0] } else { 0 };
        }
        Ok(())
    }
    /// Columns that it adds to a batch once the queue is full: entries of the queue, and mixtures. Of a label a batch
    /// has one column at most.
    pub(crate) fn columns(&self, labels: usize) -> (usize, usize) {
        let queued = self.queue.as_ref().map_or(0, |queue| queue.capacity().min(labels));
        (queued, self.mix.map_or(0, |mix| mix.columns()))
    }
    /// Bytes that it holds once it is full, and those that it takes beside a batch of so many pairs.
    pub(crate) fn bytes(&self, batch: &Batch, width: usize) -> usize {
        let queue = self.queue.as_ref().map_or(0, |queue| queue.capacity() * (4 * width + 4));
        let keys = self.keys.as_ref().map_or(0, |keys| {
            let texts = batch.key_texts.as_ref().map_or(0, Packed::len);
            4 * keys.model.params.count() + keys.encoder.inference_bytes(CHUNK_TOKENS) + 8 * texts * width
        });
        let rows =
            self.history.as_ref().map_or(0, History::bytes) + self.past.as_ref().map_or(0, Past::bytes);
        let mixtures = self.mix.map_or(0, |mix| 4 * batch.rows.len() * mix.columns() * width);
        // The queue is copied side by side for its product, and all of it while it is saved. Of rows there are targets
        // and probabilities over the columns.
        let of_rows = if rows > 0 { 8 * batch.keep.len() } else { 0 };
        let pairs = batch.rows.len() * batch.labels.len();
        let selection = self.selection.as_ref().map_or(0, |selection| selection.bytes(pairs));
        2 * queue + keys + 2 * rows + mixtures + of_rows + selection
    }
}

/// Tensors by name, of a checkpoint.
pub(crate) struct State(Vec<(String, Tensor)>);

impl State {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }
    /// # Errors
    /// If there is none of this name.
    fn take(&mut self, name: &str) -> Result<Tensor> {
        let at = self.0.iter().position(|(n, _)| n == name).ok_or_else(|| unfit(name))?;
        Ok(self.0.swap_remove(at).1)
    }
    /// All whose names begin so, without that beginning.
    fn take_all(&mut self, prefix: &str) -> Vec<(String, Tensor)> {
        taken(&mut self.0, prefix)
    }
    /// # Errors
    /// If there is none of this name, or it has not so many numbers.
    fn numbers<T: engine::Element>(&mut self, name: &str, count: usize) -> Result<Vec<T>> {
        let tensor = self.take(name)?;
        if tensor.len() == count { Ok(tensor.data::<T>().to_vec()) } else { Err(unfit(name)) }
    }
}

/// Takes all tensors whose names begin so, without that beginning.
pub(crate) fn taken(state: &mut Vec<(String, Tensor)>, prefix: &str) -> Vec<(String, Tensor)> {
    let of = state.extract_if(.., |(name, _)| name.starts_with(prefix));
    of.map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
}

fn unfit(name: &str) -> Error {
    Error::new(Kind::Damaged, format!("`{name}` of the checkpoint is missing or does not fit the run"))
}

/// Another network of the same numbers.
fn copy(network: &Network) -> Network {
    let mut model = network.model.clone();
    for id in model.params.ids() {
        let value = model.params.value(id).to_cpu();
        let value = Tensor::from_vec(value.shape(), value.data::<f32>().to_vec());
        model.params.set(id, value);
    }
    network.with_model(model)
}

/// θ_k ← m θ_k + (1 − m) θ.
fn follow(keys: &mut Params, params: &Params, momentum: f32) {
    for id in keys.ids() {
        let (key, value) = (keys.value(id), params.value(id).to_cpu());
        let mixed = key
            .data::<f32>()
            .iter()
            .zip(value.data::<f32>())
            .map(|(k, v)| momentum * k + (1.0 - momentum) * v);
        let mixed = Tensor::from_vec(key.shape(), mixed.collect());
        keys.set(id, mixed);
    }
}

#[cfg(test)]
mod testing {
    use super::Batch;

    /// Queries 4 and 5 against these labels, of which the columns `targets` are their positives.
    pub(super) fn batch(labels: Vec<u32>, targets: [u32; 2]) -> Batch {
        Batch {
            rows: vec![4, 5],
            row_weight: None,
            labels,
            targets: targets.into(),
            own: None,
            chance: None,
            of_labels: false,
            blocks: vec![],
            keep: vec![],
            texts: engine::Packed::default(),
            query_texts: [].into(),
            label_texts: [].into(),
            key_texts: None,
            queued: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_slowly() {
        let params = |values: [f32; 2]| {
            let mut params = Params::default();
            params.add("w", Tensor::from_vec([2], values.to_vec()), true);
            params
        };
        let mut keys = params([1.0, 0.0]);
        (0..2).for_each(|_| follow(&mut keys, &params([0.0, 8.0]), 0.75));
        let id = keys.find("w").expect("it is there");
        assert_eq!(keys.value(id).data::<f32>(), [0.5625, 3.5]);
    }
}
