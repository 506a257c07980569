//! The memory plan: what a run will hold at its peak, known before it starts.
//!
//! ```text
//! parameters 4·P   gradients 4·P'   AdamW or LAMB 8·P   activations of the largest batch (or chunk)   working buffers
//! loss 16·(n + m)² + 8·(n + m)·d, n pairs, m labels, the first twice for angles; over all L labels 16·n·L + 8·L·d
//! what is remembered of batches before, `memory.rs`   memory bank 4·N·d, and once more while it is
//!   saved   text numbers 4·(N + L) and up   clusters: the rows that every thread copies side by side   program
//! with a classifier: label weights and optimizer 4·L·d and up   shortlists 4·N·S   head step
//!   label search 4·16,384·d, in a validation with frequencies of labels 20·L, as far as it exceeds a step
//! ```
//! While the encoder rests, nothing of it but its parameters is held. Where label weights and their optimizer's state
//! would go beyond the limit, they are mapped over files that have no name: their pages belong to the system, which
//! keeps them in memory as far as there is room, and are not counted.
//!
//! P' counts those rows of the token table that a batch touches; where the gradients of several batches or chunks are
//! added, two are there at once. Where texts are embedded without a tape, idle buffers are given back before and after
//! ([`crate::embed`]): what that takes counts only as far as it exceeds what a step takes. The largest batch is found
//! by composing some: titles differ in length, and clusters bring long ones together. A mapped data set is not counted:
//! its pages belong to the system, which takes them back when it must.

mod device;

pub use device::DevicePlan;

use crate::auxiliary::Auxiliary;
use crate::batch::{Batch, Similarity, Source};
use crate::checkpoint::{self, Trained};
use crate::embed::CHUNK_TOKENS;
use crate::exec::Exec;
use crate::guide::START;
use crate::head::Head;
use crate::held::Held;
use crate::judge::Judge;
use crate::negatives::looked_at;
use crate::network::Network;
use crate::run_dir::RunDir;
use crate::text_ids::place;
use crate::trainer::Trainer;
use data::Split;
use engine::{KernelClass, Packed, Result, Stream};
use samplers::composer::tree::copied_bytes;
use samplers::miner::random::{Law, Random};
use samplers::{Matrix, Miner};
use std::fmt;
use std::path::{Path, PathBuf};

/// Batches that are composed to find a large one.
const TRIALS: u64 = 24;
/// Bytes a label of what a validation knows of it: how often it occurs, its propensity, and what sorts them.
const FREQUENCY: usize = 20;
/// Bytes of the program itself: tables, tokenizer, stacks, what the allocator holds back.
pub(crate) const PROGRAM: usize = 2 << 20;
/// Bytes of a worker: its stack and what it packs for its matrix products.
pub(crate) const WORKER: usize = (7 << 18) + PANELS;
/// Of these the panels of a step's matrix products.
const PANELS: usize = 2 << 20;
/// What clusters add to the tokens of the largest of some random batches.
const CLUSTER_SLACK: f64 = 1.05;

/// What a run will hold.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// Bytes of the CPU's memory by purpose, in the order of the table.
    pub parts: Vec<(&'static str, usize)>,
    /// What lies on a device; none where the CPU computes.
    pub device: Option<DevicePlan>,
    /// Tokens in a large batch.
    pub tokens: usize,
    /// Distinct texts in it.
    pub texts: usize,
    /// Updates in the run.
    pub steps: u64,
    /// Bytes of label tables in files, and the directory of these; none where they lie on the heap.
    pub mapped: Option<(usize, PathBuf)>,
    /// What brings a plan under its limit.
    pub help: &'static str,
}

/// What helps where an encoder needs too much.
const HELP_ENCODER: &str = "--chunk 64 encodes 64 texts at a time with the same gradient; \
     --recompute and a smaller --batch help too";
/// What helps where label weights do.
const HELP_HEAD: &str = "a smaller --batch, --set head.uniform or head.mined helps: label weights lie in mapped files, \
     or on a device";

impl MemoryPlan {
    /// The plan of a run that has not begun, under a limit: beyond it, label tables will be mapped over files of
    /// `directory`. Those for which a device has no room leave it first.
    pub fn within(trainer: &mut Trainer, limit: Option<usize>, directory: &Path) -> MemoryPlan {
        let mut plan = MemoryPlan::new(trainer);
        let is_full = plan.device.as_ref().is_some_and(|device| device.total() > device.free);
        if is_full && trainer.head.as_mut().is_some_and(Head::leave_device) {
            plan = MemoryPlan::new(trainer);
        }
        match &mut trainer.head {
            Some(head) if plan.mapped.is_none() && limit.is_some_and(|limit| plan.total() > limit) => {
                head.map_in(directory);
                MemoryPlan::new(trainer)
            }
            _ => plan,
        }
    }
    /// The plan of a run.
    pub fn new(trainer: &Trainer) -> MemoryPlan {
        let (batch, texts) = largest_batch(trainer);
        let texts = &texts;
        let (network, engine) = (&trainer.network, &trainer.engine);
        let params = &network.model.params;
        let live = match trainer.exec {
            Exec::Chunked(chunk) if chunk < texts.len() => largest_chunk(texts, chunk),
            _ => texts.clone(),
        };
        let table = params.value(network.model.architecture.token_table(params));
        let slack = |bytes: usize| (bytes as f64 * CLUSTER_SLACK) as usize;
        let clusters = trainer.bank.as_ref().filter(|_| trainer.parts.wants_bank()).map_or(0, |bank| {
            let Matrix { data, width } = bank.matrix();
            copied_bytes(engine, data.len() / width, width)
        });
        let bank = trainer.bank.as_ref().map_or(0, |b| b.matrix().data.len() * 4 + b.written_at().len() * 8);
        let touched = distinct(texts).min(table.shape().dim(0)) * table.shape().last();
        let gradients = 4 * (params.count() - table.len() + touched);
        let added = trainer.config.train.accumulate > 1 || live.len() < texts.len();
        let activations = slack(network.encoder.activation_bytes(&live, network.recompute));
        let working = slack(network.encoder.working_bytes(&live));
        let embedding = network.encoder.inference_bytes(CHUNK_TOKENS.min(all_tokens(trainer)));
        let (cross, reading) = cross_encoder(trainer);
        let pairs = batch.rows.len();
        let rests =
            trainer.config.cross.alone() || trainer.head.is_some() && trainer.config.head.encoder_rests();
        let if_learns = |bytes: usize| if rests { 0 } else { bytes };
        let (activations, working) = (if_learns(activations), if_learns(working));
        // What a step takes and embedding without a tape may have beside it.
        let step = activations + working + reading;
        let blocks = batch.keep.len();
        let scores =
            blocks.max((pairs * trainer.data.labels().len()).min((pairs + batch.labels.len()).pow(2)));
        // The queue is empty when a run begins.
        let (queued, mixed) = trainer.memory.columns(trainer.data.labels().len());
        let scores = scores + pairs * (queued + mixed);
        // |x| of an angle takes both signs apart.
        let each = if trainer.parts.similarity == Similarity::Angle { 32 } else { 16 };
        // The embeddings, and the rows of them that are gathered for the scores.
        let embedded = 8 * texts.len() * network.width();
        let optimizer = if trainer.config.train.optimizer == "lamb" { "LAMB" } else { "AdamW" };
        let mut parts = vec![
            ("parameters", 4 * params.count()),
            ("gradients", if_learns(gradients * if added { 2 } else { 1 })),
            (optimizer, if_learns(trainer.optimizer.bytes(params))),
            ("activations", activations),
            ("working buffers", working),
            ("loss", if trainer.head.is_none() { each * scores + embedded } else { 0 }),
            ("embedding", embedding.saturating_sub(step)),
            ("memory bank", 2 * bank),
            ("guide", trainer.guide.as_ref().map_or(0, |guide| guide.bytes(texts.len()))),
            ("cross-encoder", cross + reading),
            ("memory", trainer.memory.bytes(&batch, network.width())),
            ("auxiliary", auxiliary(trainer, batch.labels.len(), embedding, step)),
            ("ranked lists", lists(trainer)),
            ("clusters", clusters),
            ("text numbers", trainer.text_ids.bytes()),
            ("program", PROGRAM + engine.threads() * WORKER),
        ];
        let mut help = HELP_ENCODER;
        if let Some(head) = &trainer.head {
            let head = classifier(trainer, head, &batch);
            if head.iter().map(|(_, bytes)| bytes).sum::<usize>() > activations + working {
                help = HELP_HEAD;
            }
            parts.extend(head);
        }
        parts.extend(trainer.warm_start().map(|warm| ("labels before", warm.bytes())));
        let mapped = trainer.head.as_ref().and_then(Head::mapped);
        let mapped = mapped.map(|(bytes, directory)| (bytes, directory.to_owned()));
        let device = DevicePlan::split(trainer, &live, &mut parts);
        let (tokens, texts) = (texts.tokens.len(), texts.len());
        MemoryPlan { parts, device, tokens, texts, steps: trainer.total_steps(), mapped, help }
    }
    /// All bytes of the CPU's memory.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
    /// What is told to who may refuse.
    pub fn held(&self) -> Held {
        Held { what: "this run", parts: self.parts.clone(), help: self.help }
    }
    /// Refuses a run that would not fit.
    ///
    /// # Errors
    /// [`engine::Kind::Refused`] with the table and what would help.
    pub fn demand(&self, limit: usize) -> Result<()> {
        self.held().demand(limit)
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            format!("{} steps of about {} tokens in {} distinct texts", self.steps, self.tokens, self.texts);
        writeln!(f, "{head}")?;
        for (name, part) in self.parts.iter().filter(|(_, bytes)| *bytes > 0) {
            writeln!(f, "  {name:<16} {:>10}", bytes(*part))?;
        }
        write!(f, "  {:<16} {:>10}", "memory at peak", bytes(self.total()))?;
        if let Some((mapped, directory)) = &self.mapped {
            let (of, directory) = (bytes(*mapped), directory.display());
            write!(
                f,
                "\n  {:<16} {of:>10}   label weights and optimizer, in files of {directory}",
                "mapped"
            )?;
        }
        self.device.iter().try_for_each(|device| write!(f, "\n{device}"))
    }
}

/// A count of bytes for people.
pub fn bytes(count: usize) -> String {
    let (mut value, mut unit) = (count as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

/// Looks into the newest checkpoint of a run that will be taken up, for what need not be made any more and is not
/// planned to be: answers of a teacher, clusters of labels. A teacher that is still to be asked is read.
///
/// # Errors
/// If that teacher cannot be read.
pub(crate) fn foresee(trainer: &mut Trainer, dir: &RunDir) -> Result<()> {
    let config = &trainer.config;
    let looks = config.head.is_on() || config.auxiliary.is_on() || config.cross.alone();
    let is_saved = looks && !checkpoint::list(&dir.checkpoints()).is_empty();
    // What is damaged is told when the run is taken up.
    let saved = if is_saved { Trained::newest(&dir.checkpoints()).ok() } else { None };
    if let Some(saved) = &saved
        && let Ok(Some(own)) = Auxiliary::of_checkpoint(saved, &config.auxiliary, &trainer.network)
    {
        trainer.network.auxiliary = Some(own);
    }
    match &mut trainer.head {
        Some(head) if saved.as_ref().is_some_and(Trained::has_classifier) => head.expect_answers(),
        Some(head) if !is_saved || saved.is_some() => head.read_teacher(&trainer.data)?,
        _ => {}
    }
    Ok(())
}

/// Vectors beside the texts of labels, with a batch of so many columns; and what making their clusters takes, together
/// with the `embedding` of texts for them, beyond a step and beyond what that embedding takes beyond a step alone.
fn auxiliary(trainer: &Trainer, columns: usize, embedding: usize, step: usize) -> usize {
    let Some(own) = &trainer.network.auxiliary else { return 0 };
    let added = trainer.config.train.accumulate > 1;
    let held = own.training_bytes(trainer.vectors_optimizer.as_deref(), columns, added);
    // A teacher of the classifier that is the encoder at the start is asked by texts without vectors, too.
    let asks = trainer.config.head.teacher == START && trainer.head.as_ref().is_some_and(Head::will_ask);
    let texts = if asks { 4 * own.of_labels().len() * trainer.network.width() } else { 0 };
    let making = (own.making_bytes(&trainer.engine) + embedding).saturating_sub(step);
    held + texts + making - embedding.saturating_sub(step)
}

/// Ranked lists, their copy while they are saved, and what making them takes.
fn lists(trainer: &Trainer) -> usize {
    let config = &trainer.config.negatives;
    if !config.listed() {
        return 0;
    }
    let (queries, labels) = (trainer.text_ids.queries.len(), trainer.data.labels().len());
    let made = 4 * queries * (2 * looked_at(config) + 1) + trainer.judge.as_ref().map_or(0, Judge::bytes);
    let pairs = trainer.data.positive_rows(Split::Train).1.len();
    let barred = 8 * queries + 4 * pairs;
    let making = if config.from == "file" {
        // The ids, and where each is.
        64 * (queries + labels)
    } else if config.from == "bm25" {
        let texts = trainer.data.labels();
        let words: usize = (0..labels).map(|label| texts.token_count(label)).sum();
        8 * words + 16 * queries + 4 * labels * trainer.engine.threads()
    } else {
        let who = trainer.ranker.as_ref().unwrap_or(&trainer.network);
        let own = trainer.ranker.as_ref().map_or(0, Network::bytes);
        let inference =
            trainer.ranker.as_ref().map_or(0, |ranker| ranker.encoder.inference_bytes(CHUNK_TOKENS));
        let tree = match &*config.from {
            // Its centres, and what is copied while it is made.
            "tree" => {
                4 * labels / config.leaf.min(labels) * 2 * who.width()
                    + copied_bytes(&trainer.engine, labels, who.width())
            }
            _ => 0,
        };
        own + inference + 4 * (queries + labels) * who.width() + tree
    };
    made + (making + barred).max(made)
}

/// A cross-encoder, and what the longest pairs take that it may read at once: to learn, or to judge. Lists are counted
/// as full as they may be: BM25 may find fewer labels.
fn cross_encoder(trainer: &Trainer) -> (usize, usize) {
    let Some(cross) = &trainer.cross else { return (0, 0) };
    let (of, config) = (&cross.judge.model, &trainer.config);
    let reads = of.inference_bytes(CHUNK_TOKENS);
    if !config.cross.learns() {
        return (cross.bytes(false), reads);
    }
    let list = 1 + match config.negatives.own {
        true => config.negatives.count,
        false => config.train.batch * (1 + config.negatives.count),
    };
    // A group takes lists as long as they fit; shorter ones fill what is left.
    let at_once = match config.train.chunk {
        0 => config.train.batch * list,
        pairs => pairs.max(list).min(config.train.batch * list),
    };
    // It reads texts whole, and with its own tokenizer: where their tokens here do not tell theirs there, all it can.
    let (data, most) = (&trainer.data, of.config().tokens_max());
    let cut = if cross.judge.spells_as(data) { data.max_len() } else { 0 };
    let read = |tokens: usize| if tokens < cut { tokens } else { most };
    let labels = data.labels();
    let longest = (0..labels.len()).map(|label| read(labels.token_count(label))).max().unwrap_or(0);
    let of_query = |&q: &u32| {
        let (texts, i) = place(data, q);
        read(texts.token_count(i))
    };
    let mut queries: Vec<usize> = trainer.train_rows.iter().map(of_query).collect();
    queries.sort_unstable_by_key(|&tokens| std::cmp::Reverse(tokens));
    let mut pairs = Packed::default();
    for &query in queries.iter().flat_map(|query| std::iter::repeat_n(query, list)).take(at_once) {
        pairs.push(std::iter::repeat_n(0, (query + longest).clamp(2, most)));
    }
    (cross.bytes(true), of.training_bytes(&pairs, config.model.recompute).max(reads))
}

/// What a classifier takes, by part, where its largest batch is this one.
fn classifier(trainer: &Trainer, head: &Head, largest: &Batch) -> [(&'static str, usize); 7] {
    let marked = head.marked(&trainer.data, &trainer.text_ids, &largest.rows);
    let (queries, batch) = (trainer.text_ids.queries.len(), trainer.config.train.batch);
    let validates = !trainer.validation_rows.is_empty();
    let frequencies = if validates { FREQUENCY * trainer.data.labels().len() } else { 0 };
    // The panels of a step are gone when a search begins, whose own are as large with the products of AVX-512 alone.
    let engine = &trainer.engine;
    let idle = if engine.kernel_class() == KernelClass::Avx512 { 0 } else { engine.threads() * PANELS };
    head.bytes(queries, (batch.min(trainer.train_rows.len()), marked), (frequencies, idle))
}

/// The largest of some random batches, and the texts that its step encodes: where a classifier learns, those of its
/// queries, and of labels where it compares texts.
fn largest_batch(trainer: &Trainer) -> (Batch, Packed) {
    let (rows, size) = (&trainer.order, trainer.config.train.batch.min(trainer.order.len()));
    // Lists are made when training begins: until then as many labels of any kind stand for those that will be drawn.
    let labels = trainer.data.labels().len();
    let count = trainer.config.negatives.count;
    let any = Random::new(Law::Uniform, count, &vec![1; labels], vec![0.0; labels]);
    let miner: &dyn Miner = if trainer.config.negatives.listed() { &any } else { &*trainer.parts.miner };
    let trial = |i| {
        let stream = Stream::new(trainer.config.train.seed, u64::from_be_bytes(*b"t.plan  ")).at_step(i);
        let mut order = rows.clone();
        stream.shuffle(&mut order);
        let batch = Batch::compose(Source { miner, ..trainer.source() }, &order[..size], stream);
        let texts = match &trainer.head {
            Some(head) => {
                let labels = head.any_pool((&trainer.data, &trainer.text_ids), &batch.rows, stream);
                trainer.packed(&batch.rows, &labels).0
            }
            None => batch.texts.clone(),
        };
        (batch, texts)
    };
    (0..TRIALS).map(trial).max_by_key(|(_, texts)| texts.tokens.len()).expect("there are trials")
}

/// Distinct tokens: the rows of the table that have a gradient.
fn distinct(texts: &Packed) -> usize {
    let mut tokens = texts.tokens.clone();
    tokens.sort_unstable();
    tokens.dedup();
    tokens.len()
}

/// Tokens of all training queries.
fn all_tokens(trainer: &Trainer) -> usize {
    let of = trainer.train_rows.iter().map(|&q| place(&trainer.data, q));
    of.map(|(texts, i)| texts.token_count(i)).sum()
}

/// The chunk with the most tokens.
fn largest_chunk(texts: &Packed, chunk: usize) -> Packed {
    let chunks = (0..texts.len()).step_by(chunk).map(|i| texts.slice(i..(i + chunk).min(texts.len())));
    chunks.max_by_key(|t| t.tokens.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Kind;

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_500_000, 21_700_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.5 MB", "21.7 GB"]
        );
    }

    #[test]
    fn a_run_beyond_the_limit_is_refused_with_the_table() {
        let plan = MemoryPlan {
            parts: vec![("parameters", 4_000_000), ("AdamW", 8_000_000)],
            device: None,
            tokens: 1,
            texts: 1,
            steps: 1,
            mapped: None,
            help: HELP_ENCODER,
        };
        assert!(plan.demand(12_000_000).is_ok());
        let error = plan.demand(11_999_999).expect_err("too large");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("AdamW                8.0 MB"), "{error}");
    }
}
