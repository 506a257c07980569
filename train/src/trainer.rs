//! The trainer: all that a step reads and writes, and how it is made, saved and taken up again.

use crate::auxiliary::{self, Auxiliary};
use crate::batch::Source;
use crate::checkpoint::{Chained, Checkpoint, Progress, Staged, restore_params};
use crate::classifier::Classifier;
use crate::config::Config;
use crate::cross::Cross;
use crate::device;
use crate::embed::{embed, embed_labels};
use crate::exec::{Exec, Record};
use crate::guide::Guide;
use crate::head::Head;
use crate::judge::Judge;
use crate::memory::Memory;
use crate::network::Network;
use crate::observer::{Event, Observer};
use crate::pace::{self, batches_per_epoch, steps_per_epoch, total_steps};
use crate::parts::{Parts, Population};
use crate::step::StepReport;
use crate::text_ids::{TextIds, is_nameless, place};
use crate::truth::Truth;
use crate::vocabulary;
use crate::warm_start::WarmStart;
use autograd::optim::Optimizer;
use autograd::{Params, Schedule};
use data::{DataSet, Holdout, Split, Texts};
use engine::container::{Spare, System};
use engine::profile::Way;
use engine::{Engine, Error, Packed, Result, Stream, Table};
use models::hf::Card;
use samplers::bank::Bank;
use samplers::composer::Plan;
use samplers::{Lists, Ranked, Snapshot};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// What a run draws random numbers for.
mod tags {
    /// Which training queries are held out for validation.
    pub(super) const HOLDOUT: u64 = u64::from_be_bytes(*b"t.holdou");
}

/// A run in memory.
pub struct Trainer {
    /// With the device on which the parameters lie and steps are computed, if that is not the CPU.
    pub(crate) engine: Engine,
    pub(crate) data: DataSet,
    pub(crate) config: Config,
    /// The model; its parameters change with every step.
    pub network: Network,
    pub(crate) parts: Parts,
    /// Who judges negatives, where somebody does.
    pub(crate) guide: Option<Guide>,
    /// All answers of the training queries, where they are known: to count false negatives by.
    pub(crate) truth: Option<Truth>,
    /// What is remembered of batches and epochs before.
    pub(crate) memory: Memory,
    /// Who ranks labels for the lists of a run that has none yet, where it is not the model in training.
    pub(crate) ranker: Option<Network>,
    /// Who judges what is listed, for the lists of a run that has none yet.
    pub(crate) judge: Option<Judge>,
    /// A cross-encoder that learns or teaches.
    pub(crate) cross: Option<Cross>,
    pub(crate) optimizer: Box<dyn Optimizer>,
    /// What moves the auxiliary vectors of the network, where they are learned.
    pub(crate) vectors_optimizer: Option<Box<dyn Optimizer>>,
    /// Whether the model that it starts from has auxiliary vectors for other labels, which were left behind.
    pub(crate) leaves_vectors: bool,
    pub(crate) schedule: Schedule,
    /// The last embedding of every training query, where a composer wants them.
    pub(crate) bank: Option<Bank>,
    pub(crate) text_ids: TextIds,
    /// The classifier, where one is learned.
    pub(crate) head: Option<Head>,
    /// What it takes from the run from which it goes on.
    pub(crate) warm: Option<WarmStart>,
    pub(crate) exec: Exec,
    pub(crate) progress: Progress,
    /// Training queries that are trained on, ascending.
    pub train_rows: Vec<u32>,
    /// What batches are composed of, ascending: the training queries, or the labels that have one.
    pub(crate) order: Vec<u32>,
    /// Row `l`: the training queries of label `l` that are trained on, where batches are composed of labels.
    queries_of: Option<Lists>,
    /// Training queries held out for validation, ascending.
    pub validation_rows: Vec<u32>,
    plan: Option<(u32, Plan)>,
}

impl Trainer {
    /// A fresh run over a data set.
    ///
    /// # Errors
    /// If the configuration and the data do not fit: no training query, a model whose vocabulary is not that of the
    /// data set, an unknown composer.
    pub fn new(engine: &Engine, data: DataSet, mut network: Network, config: Config) -> Result<Trainer> {
        vocabulary::check_ids(&data, &network.model)?;
        config.loss.demand_width(network.width())?;
        if config.model.dropout >= 0.0 {
            network.set_dropout(config.model.dropout);
        }
        network.recompute = config.model.recompute;
        let (mut train_rows, validation_rows) = held_out(&data, &config);
        demand_two(&train_rows)?;
        if config.train.label_texts {
            let (first, labels) = (data.queries(Split::Train).len() as u32, data.labels().len() as u32);
            train_rows.extend((0..labels).filter(|&l| !is_nameless(&data, l)).map(|l| first + l));
        }
        if config.train.overfit_batch {
            train_rows.truncate(config.train.batch);
        }
        let mut text_ids = TextIds::of(&data, config.train.label_texts);
        if !config.data.exclude.as_os_str().is_empty() {
            text_ids = text_ids.barring(&data, &data::read_judgements(&config.data.exclude, &data)?);
        }
        if config.head.is_on() {
            text_ids = text_ids.with_nameless_apart(&data);
        }
        let queries_of = (config.composer.of == "labels").then(|| queries_of(&data, &text_ids, &train_rows));
        let order = order(queries_of.as_ref(), &train_rows)?;
        let population = || population(&data, &text_ids, &train_rows);
        let parts = Parts::new(&config, order.clone(), data.labels().len(), population)?;
        let had_vectors = network.auxiliary.is_some();
        network.auxiliary = Auxiliary::of_run(&config, &data, &mut network)?;
        let steps_per_epoch = steps_per_epoch(&config, order.len());
        let total = total_steps(&config, steps_per_epoch);
        config.selection.demand_shorter_than(total.div_ceil(steps_per_epoch))?;
        let composed = if queries_of.is_some() { data.labels().len() } else { text_ids.queries.len() };
        let mut head = match config.head.is_on() {
            true => Some(Head::new(&config, &data, &text_ids, network.width())),
            false => None,
        };
        let bank = (parts.wants_bank() || head.is_some()).then(|| Bank::new(composed, network.width()));
        let t = &config.train;
        let optimizer = pace::optimizer(t);
        // What the memory copies of the network stays on the CPU.
        let memory = Memory::new(&config, text_ids.queries.len(), &data, &network);
        let cuda = device::named(&config, &mut network, head.as_ref().is_some_and(Head::multiplies))?;
        head.iter_mut().zip(&cuda).for_each(|(head, cuda)| head.place_on(cuda));
        Ok(Trainer {
            engine: cuda.into_iter().fold(engine.clone(), Engine::with_cuda),
            vectors_optimizer: config.auxiliary.is_on().then(auxiliary::optimizer),
            leaves_vectors: had_vectors && network.auxiliary.is_none(),
            text_ids,
            head,
            warm: None,
            exec: if t.chunk == 0 { Exec::Whole } else { Exec::Chunked(t.chunk) },
            schedule: pace::schedule(t, total),
            data,
            config,
            network,
            parts,
            guide: None,
            truth: None,
            memory,
            ranker: None,
            judge: None,
            cross: None,
            optimizer,
            bank,
            progress: Progress::default(),
            train_rows,
            order,
            queries_of,
            validation_rows,
            plan: None,
        })
    }
    /// Where the run stands.
    pub fn progress(&self) -> Progress {
        self.progress
    }
    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// The data set.
    pub fn data(&self) -> &DataSet {
        &self.data
    }
    /// Whether these are the pairs that the user excludes.
    pub(crate) fn excludes(&self, pairs: &[Vec<u32>]) -> bool {
        self.text_ids.is_barring(&self.data, pairs)
    }
    /// Whose instructions compute the bits: those of the device, and who multiplies there, or a class of the processor.
    pub fn kernel_class(&self) -> String {
        let class = device::kernel_class(self.engine.cuda(), &self.engine);
        // What label weights and clusters do beside the device has the bits of the processor.
        let beside = self.head.as_ref().is_some_and(|head| !head.is_on_device()) || self.parts.wants_bank();
        let beside = beside && self.engine.cuda().is_some();
        if beside { format!("{class}+{}", self.engine.kernel_class().name()) } else { class }
    }
    /// The device and who multiplies there, for a person; none on the CPU.
    pub fn device(&self) -> Option<String> {
        self.engine.cuda().map(device::described)
    }
    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
    /// Updates in one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(&self.config, self.order.len())
    }
    /// Updates in the whole run.
    pub fn total_steps(&self) -> u64 {
        total_steps(&self.config, self.steps_per_epoch())
    }
    /// Epochs in the whole run, the last one perhaps not whole.
    pub(crate) fn epochs(&self) -> u32 {
        self.total_steps().div_ceil(self.steps_per_epoch()) as u32
    }
    /// Where the batches are composed from.
    pub(crate) fn source(&self) -> Source<'_> {
        let positives = self.config.train.positives as usize;
        let (miner, blocks) = (&*self.parts.miner, &self.parts.blocks[..]);
        let queries_of = self.queries_of.as_ref();
        let memory = &self.memory;
        Source { data: &self.data, ids: &self.text_ids, miner, positives, blocks, queries_of, memory }
    }
    /// Where one of the ids of which batches are composed has its text.
    pub(crate) fn composed(&self, id: u32) -> (Texts<'_>, usize) {
        match self.queries_of {
            Some(_) => (self.data.labels(), id as usize),
            None => place(&self.data, id),
        }
    }
    /// The randomness of one batch: `micro` counts the batches of an accumulated step.
    pub(crate) fn stream(&self, micro: usize) -> Stream {
        let batch = self.progress.step * u64::from(self.config.train.accumulate) + micro as u64;
        Stream::new(self.config.train.seed, 0).at_step(batch)
    }
    /// The learning rate of the step at hand. A warm-up begins with its second rate: no step is taken at rate 0.
    pub(crate) fn rate(&self) -> f64 {
        let lead = u64::from(self.schedule.warmup_steps > 0);
        self.config.train.lr * self.schedule.rate(self.progress.step + lead)
    }
    /// The learning rate of an encoder beside a classifier: that of the run where label weights rest.
    pub(crate) fn encoder_rate(&self) -> f64 {
        match self.config.head.labels_rest() {
            true => self.rate(),
            false => self.rate() / self.config.train.lr * self.config.head.encoder_lr,
        }
    }
    /// The learning rate of auxiliary vectors.
    pub(crate) fn vectors_rate(&self) -> f64 {
        let (own, lr) = (self.config.auxiliary.lr, self.config.train.lr);
        self.rate() / lr * if own > 0.0 { own } else { lr }
    }
    /// What it takes from the run from which it goes on, where it goes on from one.
    pub fn warm_start(&self) -> Option<&WarmStart> {
        self.warm.as_ref()
    }
    /// The numbers of the cross-encoder, where the run has one.
    pub fn cross_params(&self) -> Option<&Params> {
        self.cross.as_ref().map(|cross| &cross.judge.params)
    }
    /// Writes the cross-encoder as it is, as a directory that `CrossEncoder` of sentence-transformers loads.
    ///
    /// # Errors
    /// If the run has none, the directory holds something else, or the system refuses.
    pub fn write_cross(&self, card: &Card, dir: &Path) -> Result<()> {
        match &self.cross {
            Some(cross) => cross.judge.write(card, dir),
            None => Err(Error::input("this run has no cross-encoder")),
        }
    }
    /// The lists that negatives are drawn from, where they are drawn from such.
    pub fn listed(&self) -> Option<&Ranked> {
        self.parts.miner.lists()
    }
    /// A copy of the label weights as they are, where a classifier is learned.
    pub fn classifier(&self) -> Option<Classifier> {
        let weights = self.head.as_ref()?.weights()?;
        Some(Classifier::of_table(&self.engine, weights))
    }
    /// The batches of the next step. Begins an epoch where one is due: refreshes what the composer wants, and plans.
    ///
    /// # Errors
    /// If the observer wants to stop while texts are embedded; nothing has changed then.
    pub(crate) fn next_batches(&mut self, observer: &mut dyn Observer) -> Result<Vec<Vec<u32>>> {
        let epoch = self.progress.epoch;
        self.begin_vectors(observer)?;
        if self.plan.as_ref().is_none_or(|(planned, _)| *planned != epoch) {
            self.engine.clone().span("clusters", Way::Beside, || self.refresh(observer))?;
            if self.progress.batch == 0 {
                self.memory.begin_epoch(epoch);
            }
            let stream = Stream::new(self.config.train.seed, 0);
            self.plan = Some((epoch, self.parts.composer.plan(epoch, stream)));
        }
        self.refresh_lists(observer)?;
        let (_, plan) = self.plan.as_ref().expect("the epoch is planned");
        let from = self.progress.batch as usize;
        let to = (from + self.config.train.accumulate as usize).min(plan.len());
        Ok((from..to).map(|b| plan.batch(b).to_vec()).collect())
    }
    /// Takes the next step of the run.
    ///
    /// # Errors
    /// As [`Trainer::step`], [`engine::Kind::Interrupted`] if the observer wants to stop while texts are embedded, and
    /// [`engine::Kind::Refused`] if a device has no memory left, [`engine::Kind::Other`] if it failed.
    pub fn next_step(&mut self, observer: &mut dyn Observer) -> Result<StepReport> {
        let engine = self.engine.clone();
        let report = engine::cuda::attempt(|| {
            let batches = self.next_batches(observer)?;
            engine.span("step", Way::Beside, || match self.head {
                Some(_) => self.head_step(&batches[0], Record::Plain),
                None if self.cross_learns() => self.cross_step(&batches, Record::Plain),
                None => self.step(&batches),
            })
        })?;
        report.skipped.iter().for_each(|why| observer.event(&Event::Warning(why)));
        Ok(report)
    }
    /// Counts an update from so many batches.
    pub(crate) fn advance(&mut self, batches: usize) {
        self.progress.step += 1;
        self.progress.batch += batches as u64;
        let planned = self.plan.as_ref().map_or(0, |(_, plan)| plan.len() as u64);
        if self.progress.batch >= planned {
            (self.progress.epoch, self.progress.batch) = (self.progress.epoch + 1, 0);
        }
    }
    /// Gives the composer the embeddings that it wants before this epoch, and a head its first weights.
    fn refresh(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let epoch = self.progress.epoch;
        if !self.parts.composer.wants_embeddings(epoch) && self.head.is_none() {
            return Ok(());
        }
        self.fill_bank(observer)?;
        self.begin_head(observer)?;
        let bank = self.bank.as_ref().expect("it was filled");
        if !self.parts.composer.wants_embeddings(epoch) {
            return Ok(());
        }
        let since = observer.seconds();
        let made_at_step = bank.oldest().unwrap_or(self.progress.step);
        let snapshot = Snapshot { made_at_step, embeddings: bank.matrix() };
        let stream = Stream::new(self.config.train.seed, 0);
        self.parts.composer.refresh(&self.engine, epoch, &snapshot, stream);
        let seconds = observer.seconds() - since;
        observer.event(&Event::Clustered { epoch, sizes: &self.parts.composer.state().sizes(), seconds });
        Ok(())
    }
    /// Embeds what batches are composed of where the bank does not hold it all.
    fn fill_bank(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let bank = self.bank.as_ref().expect("who wants embeddings has a bank");
        if bank.covers(&self.order) {
            return Ok(());
        }
        let push = |i: usize, packed: &mut Packed| {
            let (texts, at) = place(&self.data, self.order[i]);
            texts.push_to(at, packed);
        };
        // Its buffers fit no step, which takes larger or smaller ones.
        self.engine.trim();
        let by = (&self.engine, &self.network);
        let rows = match self.queries_of {
            Some(_) => embed_labels(by, &self.data, &self.order, "labels", observer)?,
            None => embed(by.0, by.1, self.order.len(), push, "training queries", observer)?,
        };
        self.engine.trim();
        let bank = self.bank.as_mut().expect("who wants embeddings has a bank");
        bank.write(self.progress.step, &self.order, &rows);
        Ok(())
    }
    /// Writes a checkpoint into `folder`, and keeps as many as the configuration says.
    ///
    /// # Errors
    /// If the system cannot write; older checkpoints are untouched then.
    pub fn save(&mut self, folder: &Path) -> Result<()> {
        self.stage(folder, None)?.commit().map(drop)
    }
    /// The first half of [`Trainer::save`]: all but to wait for the disk. A spare file is written over.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn stage(&mut self, folder: &Path, spare: Option<Spare>) -> Result<Staged> {
        let keep = self.config.save.keep;
        let stage = || self.checkpoint().stage(Arc::new(System), folder, keep, spare);
        let staged = engine::cuda::attempt(stage)?;
        self.head.iter_mut().for_each(|head| head.saved(staged.chain().to_vec()));
        Ok(staged)
    }
    /// All that decides the bits of the next step.
    pub(crate) fn checkpoint(&self) -> Checkpoint<'_, &Table> {
        let params = &self.network.model.params;
        let value = |id| (params.name(id).to_owned(), params.value(id).to_cpu());
        let state = self.optimizer.state(params).into_iter();
        let bank = self.bank.as_ref().map(|b| (b.matrix().data.to_vec(), b.written_at().to_vec()));
        let cross = self.cross.iter().filter(|_| self.config.cross.learns()).flat_map(Cross::state);
        Checkpoint {
            progress: self.progress,
            data: self.data.fingerprint(),
            kernel_class: self.kernel_class(),
            params: params.ids().map(value).collect(),
            optimizer: state.map(|(name, value)| (name, value.to_cpu())).collect(),
            memory: self.memory.state().into_iter().chain(cross).chain(self.vectors_state()).collect(),
            bank: bank.unwrap_or_default(),
            composer: self.parts.composer.state(),
            lists: self.parts.miner.lists().filter(|lists| lists.rows() > 0).map(Cow::Borrowed),
            head: self.head.as_ref().and_then(Head::state),
        }
    }
    /// Goes back to a checkpoint.
    ///
    /// # Errors
    /// If it belongs to another data set, another model or another configuration.
    pub fn restore(&mut self, mut from: Checkpoint<'_, Chained>) -> Result<()> {
        if from.data != self.data.fingerprint() {
            return Err(Error::input("the data set is not the one that this run was trained on")
                .help("prepare it again from the same source with the same options"));
        }
        let rows = self.text_ids.queries.len();
        let bank_fits = self.bank.as_ref().is_none_or(|bank| from.bank.1.len() == bank.written_at().len());
        let head_fits = from.progress.step == 0 || self.head.is_some() == from.head.is_some();
        let batch_fits = from.progress.batch < batches_per_epoch(&self.config, self.order.len());
        if !(batch_fits && bank_fits && head_fits) {
            return Err(Error::input("the configuration of the run was changed since its checkpoint")
                .help("put config.toml back as it was, or begin a new run with --init RUN"));
        }
        restore_params(&mut self.network.model.params, from.params)?;
        self.restore_vectors(&mut from.memory, from.progress.step)?;
        if let Some(cuda) = self.engine.cuda() {
            device::move_to(&mut self.network, cuda)?;
        }
        self.optimizer.restore(&self.network.model.params, from.optimizer)?;
        if let Some(cross) = self.cross.as_mut().filter(|_| self.config.cross.learns()) {
            cross.restore(&mut from.memory)?;
        }
        self.memory.restore(from.memory, self.network.width())?;
        if self.bank.is_some() {
            self.bank = Some(Bank::from_parts(from.bank.0, self.network.width(), from.bank.1)?);
        }
        self.parts.composer.restore(from.composer)?;
        if let Some(lists) = from.lists {
            self.parts.miner.install(lists.into_owned().checked(rows, self.data.labels().len())?);
        }
        if let (Some(head), Some(state)) = (&mut self.head, from.head) {
            head.restore(state, rows)?;
        }
        self.progress = from.progress;
        self.plan = None;
        Ok(())
    }
}

/// # Errors
/// If there are fewer than two training queries.
fn demand_two(rows: &[u32]) -> Result<()> {
    if rows.len() >= 2 {
        return Ok(());
    }
    let what = format!("there are {} queries to train on, at least 2 are needed", rows.len());
    Err(Error::input(what)
        .help("look at what `lode prepare` kept: queries without labels are not trained on"))
}

/// What batches are composed of: the labels that have a text and a query, or the queries.
fn order(queries_of: Option<&Lists>, rows: &[u32]) -> Result<Vec<u32>> {
    let Some(lists) = queries_of else { return Ok(rows.to_vec()) };
    let order: Vec<u32> = (0..lists.rows() as u32).filter(|&l| !lists.row(l as usize).is_empty()).collect();
    match order.len() {
        0 | 1 => Err(Error::input("no two labels have training queries: batches of labels need some")),
        _ => Ok(order),
    }
}

/// The training queries of each label among `rows`; none of a label without a text, which an encoder cannot learn.
fn queries_of(data: &DataSet, ids: &TextIds, rows: &[u32]) -> Lists {
    let positives = ids.positives(data);
    let mut lists = vec![vec![]; data.labels().len()];
    for &row in rows {
        let named = positives.row(row as usize).iter().filter(|&&label| !is_nameless(data, label));
        named.for_each(|&label| lists[label as usize].push(row));
    }
    lists.into_iter().collect()
}

/// How frequent labels are, and how likely a pair has each as its positive.
fn population(data: &DataSet, ids: &TextIds, rows: &[u32]) -> Population {
    let positives = ids.positives(data);
    let mut shares = vec![0.0f64; data.labels().len()];
    for &row in rows {
        let labels = positives.row(row as usize);
        labels.iter().for_each(|&l| shares[l as usize] += 1.0 / (labels.len() * rows.len()) as f64);
    }
    let shares = shares.into_iter().map(|share| share as f32).collect();
    Population { frequencies: data.label_frequency(), shares }
}

/// The training queries of a run: those that it learns from, and those that it validates on; both ascending.
pub(crate) fn held_out(data: &DataSet, config: &Config) -> (Vec<u32>, Vec<u32>) {
    let size = Holdout::PerMille(config.data.validation_per_mille);
    data::holdout(data, size, Stream::new(config.train.seed, tags::HOLDOUT))
}
