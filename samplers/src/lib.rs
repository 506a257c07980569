//! Layer 2: who shares a batch, against which labels it is scored, and which of the scores count.
//!
//! Plain data in, plain data out: ids are `u32`, embeddings and scores are rows of `f32` ([`Matrix`]),
//! relations are rows of ids ([`Csr`]). Nothing here sees a gradient, a model, a file or a clock. All chance
//! comes from a [`Stream`](engine::Stream), and no result depends on the number of threads.
//!
//! # The path of a batch
//!
//! ```text
//!              stored embeddings (bank)
//!                      │ refresh                                     scores [B, U]
//!                      ▼                                                  │
//! queries ──► Composer::plan ──► a batch ──► Miner::candidates ──► mask ──► Shaper::shape ──► loss
//!             who shares          draw a      labels as columns    known    hardest,
//!             a batch             positive                         positives  weights, shifts
//! ```
//!
//! | part | decides | here |
//! |---|---|---|
//! | [`Composer`] | which queries meet | [`Shuffled`], [`Cluster`] (NGAME) |
//! | [`Miner`] | which labels are columns | [`InBatch`], [`AllLabels`], [`Random`], [`Listed`] |
//! | [`mask`] | which columns are no negatives | known positives, copies of their text |
//! | [`Shaper`] | which terms count | [`KHardest`], [`OwnOnly`], [`Guided`] |
//! | [`Shaper`] | how much they count | [`Sampled`], [`Hardness`], [`Shares`] |
//! | [`Queue`], [`Mix`] | what is remembered | labels of batches before, and what is mixed of them |
//!
//! A composer that wants embeddings says so and is told ([`Snapshot`]); the trainer decides whether
//! they come from the [`bank`] or from a new pass. For evaluation: [`search`](mod@search) (exact top k),
//! [`int8`] (the same over bytes), [`knn`] (votes of training titles), [`tfidf`] (baselines that need no training).
//!
//! Read in this order: [`composer`], [`composer::split`], [`composer::tree`], [`composer::cluster`],
//! [`miner`], [`mask`], [`shaper`].
//!
//! # A batch, made by hand
//!
//! ```
//! use engine::{Engine, Stream};
//! use samplers::composer::schedule::Schedule;
//! use samplers::mask::{Known, known_positives};
//! use samplers::miner::{Batch, draw_positives};
//! use samplers::shaper::{Edits, Scores};
//! use samplers::*;
//!
//! // Eight queries in two topics: even ids point right, odd ids up. Query q has the labels q and q + 8.
//! let engine = Engine::new(1);
//! let direction = |q: u32| if q % 2 == 0 { [1.0, 0.01 * q as f32] } else { [0.0, 1.0] };
//! let stored: Vec<f32> = (0..8).flat_map(direction).collect();
//! let starts: Vec<u64> = (0..=8).map(|q| 2 * q).collect();
//! let items: Vec<u32> = (0..8).flat_map(|q| [q, q + 8]).collect();
//! let positives = Csr { starts: &starts, items: &items };
//!
//! // Who shares a batch? The composer asks for the query embeddings, and gets them.
//! let cut = Cut { batch: 4, last: Last::Keep };
//! let mut composer = Cluster::new((0..8).collect(), cut, Schedule::fixed(4, 0, 1)?);
//! let stream = Stream::new(7, 0);
//! assert!(composer.wants_embeddings(0));
//! let embeddings = Matrix::new(&stored, 2);
//! composer.refresh(&engine, 0, &Snapshot { made_at_step: 0, embeddings }, stream);
//! let plan = composer.plan(0, stream);
//! assert_eq!(plan.len(), 2);
//! let batch = plan.batch(0);
//! assert!(batch.iter().all(|q| q % 2 == batch[0] % 2), "one topic a batch");
//!
//! // Which labels are its columns? One positive each, and those of the others.
//! let drawn = draw_positives(batch, positives, 1, stream);
//! let pairs = Batch { queries: batch, positives: &drawn.positives };
//! let candidates = Candidates::of(&InBatch, &pairs, stream);
//! assert_eq!(candidates.columns.len(), 4);
//!
//! // Which columns count? All but known positives; of those, the two with the highest scores.
//! let known = Known { positives, barred: None, text_group: None };
//! let mut edits = Edits::masked(known_positives(&known, batch, &candidates.columns, &candidates.target));
//! let scores: Vec<f32> = (0..16).map(|i| (i % 5) as f32).collect(); // in earnest: the encoder's
//! let scores = Scores::new(Matrix::new(&scores, 4), &candidates.target);
//! KHardest { k: 2 }.shape(&scores, &mut edits);
//! assert_eq!(edits.keep.iter().sum::<f32>(), 4.0 * 3.0);
//! # Ok::<(), engine::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod bank;
pub mod block;
pub mod bm25;
pub mod composer;
pub mod fusion;
pub mod int8;
pub mod items;
pub mod knn;
pub mod label_tree;
pub mod mask;
pub mod matrix;
pub mod miner;
pub mod mining;
pub mod mix;
pub mod queue;
pub mod ranked;
mod ranking;
pub mod resident;
pub mod search;
pub mod shaper;
pub mod snapshot;
pub mod table_rows;
mod tags;
pub mod tfidf;

pub use bank::Bank;
pub use block::Block;
pub use composer::cluster::Cluster;
pub use composer::shuffled::Shuffled;
pub use composer::{Composer, Cut, Last, Plan};
pub use int8::{Int8Rows, search_int8};
pub use items::Items;
pub use label_tree::LabelTree;
pub use matrix::{Csr, Lists, Matrix};
pub use miner::all::AllLabels;
pub use miner::in_batch::InBatch;
pub use miner::listed::Listed;
pub use miner::random::Random;
pub use miner::{Candidates, Miner};
pub use mix::Mix;
pub use queue::Queue;
pub use ranked::Ranked;
pub use resident::Resident;
pub use search::{Hits, Limits, search};
pub use shaper::Shaper;
pub use shaper::guided::Guided;
pub use shaper::hardness::Hardness;
pub use shaper::k_hardest::KHardest;
pub use shaper::own::OwnOnly;
pub use shaper::sampled::Sampled;
pub use shaper::shares::Shares;
pub use snapshot::Snapshot;
pub use table_rows::TableRows;
