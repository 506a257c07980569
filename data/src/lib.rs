//! Layer 1: data sets. Reads what the field writes, turns text into tokens, and makes one mapped file of it.
//!
//! ```text
//! Source ──prepare──▶ DATA ──DataSet::open──▶ queries · labels · positives (slices of the mapped file)
//! ```
//! Read `source.rs` (what can be prepared), `prepare.rs` (how), `layout.rs` (what the file holds) and
//! `set.rs` (how it is used). Beside them stand the tokenizer, the vocabulary trainer and the metrics.
//!
//! ```
//! use data::{CsvSource, DataSet, PrepareOptions, Source, Split, TokenizerChoice, Verify};
//! # let dir = tempfile::tempdir()?;
//! # let (table, out) = (dir.path().join("shoes.csv"), dir.path().join("shoes.data"));
//! std::fs::write(&table, "title,kind\nred running shoe,shoes\nblue winter boot,boots\nhiking boot,boots\n")?;
//! let mut source = CsvSource::new(&table, "title", "kind");
//! source.split = "100/0".parse()?;
//! let options = PrepareOptions::new(&out, TokenizerChoice::Train(100));
//! let summary = data::prepare(&Source::Csv(source), &options, &mut |_| {})?;
//! assert_eq!((summary.train, summary.labels), (3, 2));
//!
//! let set = DataSet::open(&out, Verify::Full)?;
//! let boots = set.positives(Split::Train, 1)[0] as usize;
//! assert_eq!(set.labels().title(boots), "boots");
//! assert_eq!(set.titles_of(boots), [1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub(crate) mod build;
pub(crate) mod count;
pub mod delimited;
pub mod hardness;
pub mod holdout;
pub mod judgements;
pub mod label_file;
pub(crate) mod layout;
pub(crate) mod lines;
pub mod metrics;
pub mod negative_file;
pub mod overlap;
pub mod prepare;
pub mod prompts;
pub(crate) mod read;
pub(crate) mod reject;
pub mod set;
pub mod source;
pub(crate) mod spooled;
pub mod summary;
pub mod texts;
pub mod title;
pub mod tokenizer;
pub mod wordpiece;
pub mod world;

pub use build::Split;
pub use delimited::Dialect;
pub use engine::container::Verify;
pub use holdout::{Holdout, holdout};
pub use judgements::read_judgements;
pub use label_file::LabelFile;
pub use negative_file::{Negatives, read_negatives};
pub use prepare::prepare;
pub use prompts::Prompts;
pub use read::csv::columns;
pub use set::DataSet;
pub use source::{
    CsvSource, FastTextSource, OnBadLine, PrepareOptions, Progress, Source, Stage, TokenizerChoice,
};
pub use summary::{Example, Spread, Summary};
pub use texts::Texts;
pub use title::{Ratio, main_title};
pub use tokenizer::Tokenizer;
pub use world::World;

/// A query, by its row in its split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u32);

/// A label, by its row among the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelId(pub u32);
