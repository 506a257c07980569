//! The first weights of the labels, and what an epoch begins with.
//!
//! ```text
//! w_l ← ẑ_l = z_l/‖z_l‖                          z_l the embedding of the label's text, with its auxiliary vector
//! w_l ← w_l of another run                        where this one goes on from it     (`warm_start`)
//! w_l ← (Σ_{t: l ∈ Y_t} x̂_t)/‖…‖                 for labels without a text: the mean direction of their titles
//! ```
//! A label with neither keeps zeros: nothing is known of it.

use super::soft::{Question, SoftTargets};
use super::{Finder, Head, Learning, Tables};
use crate::embed::{Part, embed_labels, normalise};
use crate::guide::{self, START};
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::text_ids::TextIds;
use crate::trainer::Trainer;
use crate::warm_start::WarmStart;
use data::DataSet;
use engine::{Engine, Result, Tensor};
use samplers::{Bank, Items, TableRows};
use std::path::Path;

/// Labels that are embedded and written at once: their texts are all that memory holds besides the table.
const ROWS: usize = 4096;

impl Trainer {
    /// Gives a head its first weights, after its teacher was asked, and its shortlists where they are due. The bank
    /// holds the embeddings of the training queries.
    ///
    /// # Errors
    /// As [`Head::start`] and [`Head::ask_teacher`].
    pub(crate) fn begin_head(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Trainer { engine, network, data, text_ids, head, bank, warm, progress, .. } = self;
        let Some(head) = head else { return Ok(()) };
        let (epoch, warm) = (progress.epoch, warm.as_ref());
        let bank = bank.as_ref().expect("a head has a bank");
        let (train_rows, validation_rows) = (&self.train_rows, &self.validation_rows);
        if head.wants_start() {
            let question = Question { teacher: network, data, ids: text_ids, held_out: validation_rows };
            head.ask_teacher(engine, question, observer)?;
            head.start(engine, network, data, (bank, train_rows), warm, observer)?;
        }
        head.begin_epoch(engine, epoch, data, text_ids, bank);
        Ok(())
    }
}

impl Head {
    /// Reads the teacher, where one is named that is not the model in training: its faults are told before a run has a
    /// folder.
    ///
    /// # Errors
    /// If it cannot be read, or its tokens are not those of the data set.
    pub(crate) fn read_teacher(&mut self, data: &DataSet) -> Result<()> {
        if self.config.has_teacher() && self.config.teacher != START {
            self.teacher = Some(guide::named(Path::new(&self.config.teacher), data)?);
        }
        Ok(())
    }
    /// Asks the teacher, where there is one that was not asked yet. It is forgotten then: what it said does not change.
    /// The teacher of `question` is the model in training, which no step has changed.
    fn ask_teacher(
        &mut self,
        engine: &Engine,
        question: Question<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if !self.config.has_teacher() || self.soft.is_some() {
            return Ok(());
        }
        if self.teacher.is_none() {
            // A run that was stopped before it was asked.
            self.read_teacher(question.data)?;
        }
        let teacher = self.teacher.as_ref().unwrap_or(question.teacher);
        engine.trim();
        self.soft =
            Some(SoftTargets::ask(engine, &Question { teacher, ..question }, &self.config, observer)?);
        self.teacher = None;
        engine.trim();
        Ok(())
    }
    /// Whether the weights still need their first values.
    pub(crate) fn wants_start(&self) -> bool {
        self.tables.is_none()
    }
    /// Gives every label its first weights: those that it had in the run from which this one goes on, or new ones. The
    /// bank holds the embeddings of the training queries, `rows` those that are trained on, ascending.
    ///
    /// # Errors
    /// As [`embed`], or if a scratch file cannot be made.
    pub(crate) fn start(
        &mut self,
        engine: &Engine,
        network: &Network,
        data: &DataSet,
        (bank, rows): (&Bank, &[u32]),
        warm: Option<&WarmStart>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (labels, width) = (data.labels(), network.width());
        let mut tables = self.layout.tables()?;
        for (block, weights) in warm.iter().flat_map(|warm| warm.weights(ROWS)) {
            let weights = Tensor::from_vec([block.len(), width], weights);
            tables.weights.scatter(engine, 0, &block, &weights);
        }
        let known = warm.map_or(&[][..], WarmStart::weighted);
        let is_new = |label: &u32| known.binary_search_by_key(label, |pair| pair.0).is_err();
        let new: Vec<u32> = (0..labels.len() as u32).filter(is_new).collect();
        if self.config.labels_rest() && !known.is_empty() && !new.is_empty() {
            let what = format!(
                "{} labels are new to the run that this one starts from: they are embedded by the encoder as it is, \
                 beside vectors that another one made, and stay so",
                new.len()
            );
            observer.event(&Event::Warning(&what));
        }
        engine.trim();
        for (i, block) in new.chunks(ROWS).enumerate() {
            let mut part = Part { observer: &mut *observer, before: i * ROWS, total: new.len() };
            let mut weights =
                embed_labels((engine, network), data, block, "labels to start from", &mut part)?;
            for (&label, weight) in block.iter().zip(weights.chunks_mut(width)) {
                if labels.title(label as usize).trim().is_empty() {
                    weight.fill(0.0);
                    let titles = data.titles_of(label as usize).iter();
                    let directions = titles.filter(|t| rows.binary_search(t).is_ok());
                    directions.for_each(|&t| add_direction(weight, bank.matrix().row(t as usize)));
                }
                normalise(weight);
            }
            tables.weights.scatter(engine, 0, block, &Tensor::from_vec([block.len(), width], weights));
        }
        if let Learning::All { over, .. } = &mut self.learning {
            over.start(engine, &tables.weights);
        }
        engine.trim();
        self.tables = Some(tables);
        Ok(())
    }
    /// Looks for the nearest foreign labels of every training query, where that is due.
    pub(crate) fn begin_epoch(
        &mut self,
        engine: &Engine,
        epoch: u32,
        data: &DataSet,
        ids: &TextIds,
        bank: &Bank,
    ) {
        let (every, normalised) = (self.config.refresh_epochs, self.config.is_cosine());
        let Some(Tables { weights: table, .. }) = &self.tables else { return };
        let Learning::Few { finder: Finder::Shortlist(shortlist), .. } = &mut self.learning else { return };
        if self.config.mined > 0 && shortlist.is_due(epoch, every) {
            let labels = TableRows { table, factor: None, normalised };
            shortlist.refresh(engine, epoch, (bank.matrix(), Items::Table(labels)), ids.known(data));
            // Its buffers fit no step.
            engine.trim();
        }
    }
}

/// sum ← sum + x/‖x‖.
fn add_direction(sum: &mut [f32], x: &[f32]) {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    let per = 1.0 / length.max(f32::MIN_POSITIVE);
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * per);
}
