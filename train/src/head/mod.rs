//! The classifier of a run: a weight vector for every label, and how a batch of embeddings teaches it.
//!
//! ```text
//! s(x, l) = x·w_l        w_l ← ẑ_l, the embedding of the label's text; without a text, of the mean of its titles
//! all       BCE over all labels by the shortcut gradient                    (`models::heads::one_vs_all`)
//! factored  the Z-loss over all labels by their sums, W = V U + 1 ωᵀ        (`models::heads::factored`)
//! sampled   any loss over positives, hard negatives and uniform negatives   ([`candidates`], [`shortlist`])
//! live      any loss over positives and what each query finds in the step   ([`live`])
//! texts     any loss over the texts of the sampled ones, beside their weights  ([`few`])
//! teacher   soft targets of near labels for the texts of labels, of either  ([`soft`])
//! ```
//! Label weights may rest (`head.optimizer=none`): the encoder then learns against them, and they are its index.
//! The triplet loss compares cosines, so w_l is normalised in its scores; the others let its length grow, which is how
//! frequent labels come to stand above rare ones. Of a query the head sees a dropped-out embedding (NGAME, Renée). It
//! gives dL/dx back, for whoever trains the encoder.
//!
//! With a device, scores and gradients are computed there. Label weights and the state of their optimizer lie there,
//! too, where they fit; else on the CPU or in files: the rows of a step are sent, and their gradient comes back.

pub(crate) mod candidates;
mod few;
pub(crate) mod labels;
mod live;
mod over_all;
pub(crate) mod shortlist;
mod soft;
mod start;
mod step;
mod tables;

use crate::checkpoint::{Chained, HeadState, Link};
use crate::config::{Config, HeadConfig};
use crate::embed::CHUNK_TOKENS;
use crate::exec::Record;
use crate::network::Network;
use crate::text_ids::TextIds;
use autograd::{Anomaly, Dropout, Grad};
use data::{DataSet, Split};
use engine::{Cuda, Engine, Error, Home, Kind, Places, Result, Stream, Table, Tensor};
use few::Finder;
pub(crate) use few::{Found, Texts};
use labels::AllLabels;
use live::Live;
use models::heads::{OneVsAll, factored};
use models::losses::set::{self, SetObjective};
use over_all::OverAll;
use samplers::TableRows;
use samplers::table_rows::PART;
use shortlist::Shortlist;
use soft::{OfRows, SoftTargets};
use std::panic::Location;
use std::path::Path;
use tables::{Layout, Tables};

/// Up to so many labels `head.labels = auto` scores all of them: the products then cost less than a pool of candidates
/// does with everything that belongs to it.
const FEW_LABELS: usize = 20_000;
/// Labels in a chunk of the shortcut gradient: with 256 queries, logits of 4 MiB.
const CHUNK: usize = 4096;

/// The name of the label weights in a checkpoint.
pub(crate) const WEIGHTS: &str = "w";

/// What the head draws random numbers for.
mod tags {
    pub(super) const DROPOUT: u64 = u64::from_be_bytes(*b"t.h.drop");
    pub(super) const MINED: u64 = u64::from_be_bytes(*b"t.h.mine");
    pub(super) const UNIFORM: u64 = u64::from_be_bytes(*b"t.h.unif");
    pub(super) const ROUNDING: u64 = u64::from_be_bytes(*b"t.h.roun");
}

/// The classifier in training.
pub(crate) struct Head {
    /// None before the weights have their first values.
    tables: Option<Tables>,
    layout: Layout,
    learning: Learning,
    config: HeadConfig,
    /// Who is to be asked for soft targets, where it is not the model in training.
    teacher: Option<Network>,
    /// What it said.
    soft: Option<SoftTargets>,
    /// Whether what it said will come from a checkpoint.
    is_answered: bool,
    /// Training queries of the data set, behind which the texts of labels stand.
    queries: u32,
    /// The checkpoints that hold the tables but for what they have changed since.
    chain: Vec<Link>,
}

/// Which labels a step scores, and what it minimises.
enum Learning {
    All { over: OverAll, labels: AllLabels },
    Few { objective: Box<dyn SetObjective>, finder: Finder },
}

/// What a batch taught.
pub(crate) struct Learned {
    pub(crate) loss: f64,
    /// dL/dx of every row; what it holds means nothing if the loss is not finite.
    pub(crate) dx: Tensor,
    /// dL/dz of the texts of labels, where the batch has such.
    pub(crate) dz: Option<Tensor>,
    /// Pairs of rows and candidates that were left out.
    pub(crate) masked: u64,
    /// The first NaN or infinity, where the step looked for it.
    pub(crate) anomaly: Option<Anomaly>,
}

impl Learned {
    /// Whether the numbers are fit to be learned from.
    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite() && norm(&self.dx).is_finite()
    }
}

/// A batch of embedded training queries.
pub(crate) struct Embedded<'a> {
    /// Embeddings `[n, d]`.
    pub(crate) x: Tensor,
    /// Which queries.
    pub(crate) rows: &'a [u32],
    pub(crate) data: &'a DataSet,
    pub(crate) ids: &'a TextIds,
    /// The randomness of the batch.
    pub(crate) stream: Stream,
    /// Labels whose texts are compared with it, too ([`Head::pool`]).
    pub(crate) texts: Option<Texts>,
}

impl Head {
    /// A head without its first weights, which takes no memory for them yet.
    pub(crate) fn new(config: &Config, data: &DataSet, ids: &TextIds, width: usize) -> Head {
        let layout = Layout::new(config, data.labels().len(), width);
        let (config, learning) = (config.head.clone(), learning(&config.head, data, ids));
        let queries = data.queries(Split::Train).len() as u32;
        Head {
            tables: None,
            layout,
            learning,
            config,
            teacher: None,
            soft: None,
            is_answered: false,
            queries,
            chain: vec![],
        }
    }
    /// The tables will lie in files of `directory` and not on the heap.
    ///
    /// # Panics
    /// If they exist.
    pub(crate) fn map_in(&mut self, directory: &Path) {
        assert!(self.tables.is_none(), "tables are placed before they are made");
        if let Home::Heap = self.layout.home {
            self.layout.home = Home::Files(directory.to_owned());
        }
    }
    /// The tables will lie on the device of the run and not on the heap, where they may.
    ///
    /// # Panics
    /// As [`Head::map_in`].
    pub(crate) fn place_on(&mut self, cuda: &Cuda) {
        assert!(self.tables.is_none(), "tables are placed before they are made");
        self.layout.place(&self.config, cuda);
    }
    /// The tables will not lie on the device, unless the user wants them there; whether that changes anything.
    ///
    /// # Panics
    /// As [`Head::map_in`].
    pub(crate) fn leave_device(&mut self) -> bool {
        assert!(self.tables.is_none(), "tables are placed before they are made");
        let leaves = self.is_on_device() && self.config.memory == "auto";
        if leaves {
            self.layout.home = Home::Heap;
        }
        leaves
    }
    /// Whether the tables lie on the device of the run.
    pub(crate) fn is_on_device(&self) -> bool {
        matches!(self.layout.home, Home::Device(_))
    }
    /// Bytes in files, and in which directory; none where the tables lie on the heap.
    pub(crate) fn mapped(&self) -> Option<(usize, &Path)> {
        let directory = self.layout.files()?;
        Some((self.layout.bytes().iter().sum(), directory))
    }
    /// Learns from a batch, on a tape of `record`: moves weights at `rate`, unless a number is not finite.
    pub(crate) fn learn(
        &mut self,
        engine: &Engine,
        batch: &Embedded<'_>,
        rate: f32,
        record: Record<'_>,
    ) -> Learned {
        let tape = record.tape(engine, "classifier");
        let x = tape.leaf(batch.x.clone());
        let n = batch.rows.len();
        let seen = x.dropout(&Dropout {
            rate: self.config.dropout,
            key: batch.stream.with_tag(tags::DROPOUT).key(),
            places: Places::rows(n, 0).into(),
        });
        let soft = self.soft.as_ref().map(|soft| soft.of(batch.rows));
        let tables = self.tables.as_mut().expect("the weights have been started");
        match &mut self.learning {
            Learning::All { over, labels } => {
                let marks = labels.marks(batch.data, batch.ids, batch.rows);
                let truth = marks.truth(soft.as_ref().map(OfRows::soft));
                match over.step(engine, tables, &seen.value(), truth, rate) {
                    Some((loss, seed)) => {
                        let dx = dense(engine, tape.backward(vec![(seen, seed)]).take(x));
                        let masked = marks.left_out() as u64;
                        Learned { loss, dx, dz: None, masked, anomaly: tape.anomaly() }
                    }
                    None => Learned {
                        loss: f64::NAN,
                        dx: batch.x.clone(),
                        dz: None,
                        masked: 0,
                        anomaly: tape.anomaly().or(Some(Anomaly {
                            op: over.name(),
                            backward: false,
                            made_at: Location::caller(),
                        })),
                    },
                }
            }
            Learning::Few { objective, finder } => {
                let how = (&**objective, &*finder, &self.config);
                few::learn((engine, &tape), how, batch, (x, seen), tables, (soft.as_ref(), rate))
            }
        }
    }
    /// The weights as they are, to be searched; none before they have their first values.
    pub(crate) fn weights(&self) -> Option<TableRows<'_>> {
        let normalised = self.config.is_cosine();
        let factor = match &self.learning {
            Learning::All { over, .. } => over.factor(),
            Learning::Few { .. } => None,
        };
        self.tables.as_ref().map(|tables| TableRows { table: &tables.weights, factor, normalised })
    }
    /// Whether its products over all labels are such that a device makes in bf16.
    pub(crate) fn multiplies(&self) -> bool {
        matches!(&self.learning, Learning::All { over: OverAll::Chunks(_), .. })
    }
    /// Whether it learns over all labels, beside the tapes.
    pub(crate) fn is_over_all(&self) -> bool {
        matches!(self.learning, Learning::All { .. })
    }
    /// The labels that hard negatives of a training query are drawn from; none where every label is scored, or the
    /// nearest ones are, whichever these are.
    pub(crate) fn listed(&self, query: u32) -> Option<&[u32]> {
        match &self.learning {
            Learning::Few { finder: Finder::Shortlist(shortlist), .. } => Some(shortlist.of(query)),
            Learning::All { .. } | Learning::Few { .. } => None,
        }
    }
    /// How many of the nearest labels stand against each query, where a step looks for these itself.
    pub(crate) fn live_depth(&self) -> Option<usize> {
        self.config.is_live().then_some(self.config.shortlist)
    }
    /// Labels that a step over all labels marks for these rows: those that some row has, or leaves out.
    pub(crate) fn marked(&self, data: &DataSet, ids: &TextIds, rows: &[u32]) -> usize {
        let Learning::All { labels, .. } = &self.learning else { return 0 };
        let marks = labels.marks(data, ids, rows);
        factored::labels_in(marks.truth(None)).len()
    }
    /// Bytes of memory by part: weights, optimizer's state, shortlists, factors, what a step of `batch` queries with so
    /// many [`Head::marked`] labels takes, and what a search among all labels takes beyond that: with the
    /// `frequencies` of labels where a validation knows them, after the step has given back its buffers, and where
    /// `idle` bytes that are planned for its products are not used. What is mapped belongs to the system; weights and
    /// state are those of a device where they lie there.
    pub(crate) fn bytes(
        &self,
        queries: usize,
        (batch, marked): (usize, usize),
        (frequencies, idle): (usize, usize),
    ) -> [(&'static str, usize); 7] {
        let Layout { labels, width, .. } = self.layout;
        let [weights, state] = if self.layout.files().is_some() { [0, 0] } else { self.layout.bytes() };
        let beside = match &self.learning {
            Learning::All { over, .. } => over.bytes(([labels, width], self.is_on_device()), batch, marked),
            Learning::Few { .. } => [0, 0],
        };
        let (lists, step) = match &self.learning {
            Learning::All { .. } => (0, beside[1]),
            // A search, and two marks, a score, its gradient and temporaries for each row and each label that some row
            // found; three positives a query; pairs with their places, weights, distances and gradients.
            Learning::Few { finder: Finder::Live(_), .. } => {
                let depth = self.config.shortlist.min(labels);
                let pool = labels.min(batch * (depth + 3));
                let pairs = batch * 3 * depth;
                (0, pool * (24 * batch + 16 * width) + 48 * pairs + 4 * PART.min(labels) * width)
            }
            Learning::Few { .. } => {
                // Three positives a query; scores, their gradient, masks, weights and temporaries.
                let near = if self.config.has_teacher() { self.config.near_labels.min(labels) } else { 0 };
                let pool = labels.min(batch * (self.config.mined + 3 + near) + self.config.uniform);
                // The same of their texts, and what is gathered of these and scaled.
                let texts = if self.config.has_texts() { pool * (32 * batch + 24 * width) } else { 0 };
                (4 * queries * self.config.shortlist, pool * (32 * batch + 16 * width) + texts)
            }
        };
        let step = step + 16 * batch * width;
        let search = 4 * PART.min(labels) * width + frequencies;
        // A teacher is asked before there are weights, and what looks among them comes after a step: in the memory
        // where these lie.
        let [soft, asking] = self.teacher_bytes();
        let [before, after] = if self.is_on_device() { [0, 0] } else { [weights + state + step, step] };
        [
            ("soft targets", soft + asking.saturating_sub(before)),
            ("label weights", weights),
            ("label optimizer", state),
            ("shortlists", lists),
            ("label factors", beside[0]),
            ("head step", step),
            ("label search", search.saturating_sub(after + idle)),
        ]
    }
    /// Bytes of soft targets, label weights, their optimizer's state, shortlists and factors, as far as they are not
    /// mapped.
    pub(crate) fn resting_bytes(&self, queries: usize) -> usize {
        let [_, tables @ .., _, _] = self.bytes(queries, (0, 0), (0, 0));
        self.teacher_bytes()[0] + tables.iter().map(|(_, bytes)| bytes).sum::<usize>()
    }
    /// Of a run that will be taken up behind the answers of its teacher.
    pub(crate) fn expect_answers(&mut self) {
        self.is_answered = true;
    }
    /// Whether its teacher is still to be asked.
    pub(crate) fn will_ask(&self) -> bool {
        self.config.has_teacher() && self.soft.is_none() && !self.is_answered
    }
    /// Bytes of soft targets, and those that it takes to ask for them, where that is still to be done.
    fn teacher_bytes(&self) -> [usize; 2] {
        if !self.config.has_teacher() {
            return [0, 0];
        }
        let near = self.config.near_labels.min(self.layout.labels);
        let model = |teacher: &Network| teacher.bytes() + teacher.encoder.inference_bytes(CHUNK_TOKENS);
        let width = self.teacher.as_ref().map_or(self.layout.width, Network::width);
        let labels = self.layout.labels;
        let block = labels.min(soft::ROWS) * (4 * width + 8 * near);
        // All texts, where the teacher has auxiliary vectors without and with them; and rows of pairs, before they are
        // put one after another.
        let both = self.teacher.as_ref().is_some_and(|teacher| teacher.auxiliary.is_some());
        let texts = if both { 2 } else { 1 };
        let asking = 4 * labels * width * texts + block + labels * (24 + 8 * near);
        let asking = asking + self.teacher.as_ref().map_or(0, model);
        [SoftTargets::bytes(labels, near), if self.will_ask() { asking } else { 0 }]
    }
    /// Everything that the next step depends on; nothing before the weights have their first values.
    pub(crate) fn state(&self) -> Option<HeadState<'_, &Table>> {
        let Tables { weights, optimizer } = self.tables.as_ref()?;
        let all = [(WEIGHTS, weights)].into_iter().chain(optimizer.tables());
        let tables = all.map(|(name, table)| (name.to_owned(), table)).collect();
        let (lists_epoch, lists) = match &self.learning {
            Learning::Few { finder: Finder::Shortlist(shortlist), .. } => shortlist.state(),
            Learning::All { .. } | Learning::Few { .. } => (None, &[][..]),
        };
        let (steps, chain) = (optimizer.steps(), self.chain.clone());
        let soft = self.soft.as_ref().map(SoftTargets::state);
        let factors = match &self.learning {
            Learning::All { over, .. } => over.state(),
            Learning::Few { .. } => None,
        };
        Some(HeadState { steps, tables, lists_epoch, lists: lists.into(), soft, factors, chain })
    }
    /// Hears where what [`Head::state`] gave is kept.
    pub(crate) fn saved(&mut self, chain: Vec<Link>) {
        if let Some(Tables { weights, optimizer }) = &mut self.tables {
            let state = optimizer.tables_mut().into_iter().map(|(_, table)| table);
            state.chain([weights]).for_each(Table::forget_changes);
        }
        self.chain = chain;
    }
    /// Goes back to what [`Head::state`] gave.
    ///
    /// # Errors
    /// If it is of another head, or a scratch file cannot be made.
    pub(crate) fn restore(&mut self, from: HeadState<'_, Chained>, queries: usize) -> Result<()> {
        let other =
            |what: &str| Error::new(Kind::Damaged, format!("`{what}` of the checkpoint does not fit"));
        let mut saved = from.tables.into_iter();
        let mut take = |name: &str, table: &mut Table| match saved.next() {
            Some((found, kept)) if found == name && kept.restore(table) => Ok(()),
            _ => Err(other(name)),
        };
        let mut tables = self.layout.tables()?;
        take(WEIGHTS, &mut tables.weights)?;
        tables.optimizer.set_steps(from.steps);
        tables.optimizer.tables_mut().into_iter().try_for_each(|(name, table)| take(name, table))?;
        self.chain = from.chain;
        if let Learning::Few { finder: Finder::Shortlist(shortlist), .. } = &mut self.learning
            && !shortlist.restore((from.lists_epoch, from.lists.into_owned()), queries)
        {
            return Err(other("lists"));
        }
        let shape = [self.layout.labels, self.layout.width];
        let fits = match &mut self.learning {
            Learning::All { over, .. } => over.restore(shape, from.factors.as_deref()),
            Learning::Few { .. } => from.factors.is_none(),
        };
        if !fits {
            return Err(other("factors"));
        }
        let soft = from.soft.map(|soft| SoftTargets::restored(soft, self.queries, self.layout.labels));
        self.soft = match (soft, self.config.has_teacher()) {
            (None, false) => None,
            (Some(Some(soft)), true) => Some(soft),
            _ => return Err(other("soft")),
        };
        (self.tables, self.teacher) = (Some(tables), None);
        Ok(())
    }
}

/// The gradient of what the loss depends on.
fn dense(engine: &Engine, grad: Option<Grad>) -> Tensor {
    grad.expect("the loss depends on embeddings and weights").into_dense(engine)
}

fn learning(head: &HeadConfig, data: &DataSet, ids: &TextIds) -> Learning {
    let labels = data.labels().len();
    let scale = 1.0 / head.temperature;
    // The logit of a score of 0 is that of a label of mean frequency.
    let pairs = data.positive_rows(Split::Train).1.len() as f64;
    let mean = pairs / (data.queries(Split::Train).len().max(1) * labels.max(1)) as f64;
    let shift = (mean / (1.0 - mean).max(0.5)).max(1e-9).ln();
    let all = head.labels == "all" || head.labels == "auto" && labels <= FEW_LABELS && !head.has_texts();
    let over = match &*head.loss {
        "zloss" => Some(OverAll::z_loss(head)),
        "bce" if all => Some(OverAll::Chunks(OneVsAll { scale, shift, chunk: CHUNK })),
        _ => None,
    };
    if let Some(over) = over {
        return Learning::All { over, labels: AllLabels::new(data, ids) };
    }
    let temperature = head.temperature;
    let objective: Box<dyn SetObjective> = match &*head.loss {
        "supcon" => Box::new(set::SupCon { temperature }),
        "decoupled" => Box::new(set::Decoupled { temperature }),
        "softtopk" => Box::new(set::SoftTopK { k: 5.0, sharpness: scale }),
        "triplets" => Box::new(set::MultiTriplet::NGAME),
        "lambdamrr" => Box::new(set::LambdaMrr { temperature, cut: head.shortlist }),
        _ => Box::new(set::Bce { scale, shift }),
    };
    let finder = match head.is_live() {
        true => Finder::Live(Live::new(head.shortlist, data, ids)),
        false => Finder::Shortlist(Shortlist::new(head.shortlist)),
    };
    Learning::Few { objective, finder }
}

/// The length of all numbers together.
pub(crate) fn norm(x: &Tensor) -> f64 {
    let x = x.to_cpu();
    x.data::<f32>().iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}
