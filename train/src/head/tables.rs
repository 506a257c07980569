//! The tables of a classifier: label weights and the state of their optimizer.
//!
//! ```text
//! W [L, d] of f32 or bf16        Adam m, v [L, d]   row-wise Adagrad a [L]   plain descent nothing; of f32
//! ```
//! They lie together: on the heap, in mapped files, or on the device of the run, where half of its memory holds them.
//! How much of that is free changes nothing, so that a run has its bits again, but where it would not hold the run at
//! all.
//!
//! How large they are is known before they exist: a plan counts them and says where they shall lie, the first weights
//! or those of a checkpoint then make them. So a run that is refused or only planned takes no memory and writes no
//! file for them.

use super::tags;
use crate::config::{Config, HeadConfig};
use autograd::optim::{AdagradRows, LazyAdamW, RestingRows, SgdRows, TableOptimizer};
use engine::cuda::attempt;
use engine::{Cuda, Home, Result, Stream, Table, TablePrecision};
use std::path::Path;

/// What label weights may take of the memory of a device, where nothing is said: one part in so many.
const SHARE: usize = 2;

/// What the tables will be.
pub(super) struct Layout {
    pub(super) labels: usize,
    pub(super) width: usize,
    precision: TablePrecision,
    optimizer: String,
    pub(super) home: Home,
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
        let home = if head.scratch.is_empty() { Home::Heap } else { Home::Files((&head.scratch).into()) };
        Layout { labels, width, precision, optimizer: head.optimizer.clone(), home }
    }
    /// Puts them on the device of the run, where they may lie there.
    pub(super) fn place(&mut self, head: &HeadConfig, cuda: &Cuda) {
        let fits = self.bytes().iter().sum::<usize>() <= cuda.found().memory_bytes / SHARE;
        let wanted = head.memory == "device" || head.memory == "auto" && fits && head.loss != "zloss";
        if wanted && matches!(self.home, Home::Heap) {
            self.home = Home::Device(cuda.clone());
        }
    }
    /// The directory of the files that they are mapped over, if they are.
    pub(super) fn files(&self) -> Option<&Path> {
        match &self.home {
            Home::Files(directory) => Some(directory),
            Home::Heap | Home::Device(_) => None,
        }
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
    /// If a file cannot be made, or a device has no memory for them.
    pub(super) fn tables(&self) -> Result<Tables> {
        attempt(|| self.zeros()).map_err(|e| match self.home {
            Home::Device(_) => e.help("--set head.memory=cpu keeps label weights off the device"),
            Home::Heap | Home::Files(_) => e,
        })
    }
    fn zeros(&self) -> Result<Tables> {
        let weights = Table::zeros_in(&self.home, self.precision, self.labels, self.width)?;
        let optimizer: Box<dyn TableOptimizer> = match &*self.optimizer {
            "adagrad" => Box::new(AdagradRows::new(&weights, 1e-10, &self.home)?),
            "sgd" => Box::new(SgdRows::new()),
            "none" => Box::new(RestingRows::new()),
            _ => Box::new(LazyAdamW::new(&weights, &self.home)?),
        };
        Ok(Tables { weights, optimizer })
    }
}
