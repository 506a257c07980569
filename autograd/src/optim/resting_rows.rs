//! No descent: the rows of a table stay what they are, and only what is compared with them learns, as ADORE (Zhan et
//! al., SIGIR 2021) trains queries against documents that rest.
//!
//! ```text
//! p ← p
//! ```

use super::{TableOptimizer, check_table};
use crate::grad::RowGrad;
use engine::{Engine, Table};

/// Leaves every row as it is.
#[derive(Debug, Default)]
pub struct RestingRows {
    steps: u32,
}

impl RestingRows {
    /// One that has counted no step.
    pub fn new() -> RestingRows {
        RestingRows::default()
    }
}

impl TableOptimizer for RestingRows {
    fn begin(&mut self) {
        self.steps += 1;
    }
    fn update(&mut self, _: &Engine, table: &mut Table, grad: &RowGrad, _: f32) {
        check_table(table, grad);
    }
    fn steps(&self) -> u32 {
        self.steps
    }
    fn tables(&self) -> Vec<(&'static str, &Table)> {
        vec![]
    }
    fn set_steps(&mut self, steps: u32) {
        self.steps = steps;
    }
    fn tables_mut(&mut self) -> Vec<(&'static str, &mut Table)> {
        vec![]
    }
}
