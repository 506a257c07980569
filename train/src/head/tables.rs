//! The tables of a classifier: label weights and the state of their optimizer.
//!
//! ```text
//! W [L, d] of f32 or bf16        Adam m, v [L, d]   row-wise Adagrad a [L]   plain descent nothing; of f32
//! ```
//! How large they are is known before they exist: a plan counts them and says where they shall lie, the first weights
//! or those of a checkpoint then make them. So a run that is refused or only planned takes no memory and writes no
//! file for them.

use super::tags;
use crate::config::Config;
use autograd::optim::{AdagradRows, LazyAdamW, RestingRows, SgdRows, TableOptimizer};
use engine::{Result, Scratch, Stream, Table, TablePrecision};
use std::path::PathBuf;

/// What the tables will be.
pub(super) struct Layout {
    pub(super) labels: usize,
    pub(super) width: usize,
    precision: TablePrecision,
    optimizer: String,
    /// The directory of the files that they are mapped over; none for the heap.
    pub(super) scratch: Option<PathBuf>,
}

/// The tables.
pub(super) struct Tables {
    pub(super) weights: Table,
    pub(super) optimizer: Box<dyn TableOptimizer>,
}

impl Layout {
    pub(super) fn new(config: &Config, labels: usize, width: usize) -> Layout {
        let head = &config.head;
        let precision = match &*head.precision {
            "bf16" => TablePrecision::Bf16(Stream::new(config.train.seed, tags::ROUNDING)),
            _ => TablePrecision::F32,
        };
        let scratch = (!head.scratch.is_empty()).then(|| PathBuf::from(&head.scratch));
        Layout { labels, width, precision, optimizer: head.optimizer.clone(), scratch }
    }
    /// Bytes of the weights, and of the optimizer's state.
    pub(super) fn bytes(&self) -> [usize; 2] {
        let numbers = self.labels * self.width;
        let state = match &*self.optimizer {
            "adagrad" => 4 * self.labels,
            "sgd" | "none" => 0,
            _ => 8 * numbers,
        };
        [numbers * self.precision.size(), state]
    }
    /// Makes them, of zeros.
    ///
    /// # Errors
    /// If a scratch file cannot be made.
    pub(super) fn tables(&self) -> Result<Tables> {
        let scratch = match &self.scratch {
            Some(directory) => Scratch { directory: directory.clone(), heap_limit: 0 },
            None => Scratch { directory: PathBuf::new(), heap_limit: usize::MAX },
        };
        let weights = Table::zeros_as(self.precision, self.labels, self.width, &scratch)?;
        let optimizer: Box<dyn TableOptimizer> = match &*self.optimizer {
            "adagrad" => Box::new(AdagradRows::new(&weights, 1e-10, &scratch)?),
            "sgd" => Box::new(SgdRows::new()),
            "none" => Box::new(RestingRows::new()),
            _ => Box::new(LazyAdamW::new(&weights, &scratch)?),
        };
        Ok(Tables { weights, optimizer })
    }
}
