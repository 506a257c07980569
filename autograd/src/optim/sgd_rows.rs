//! Plain gradient descent for tables: no state at all, as ELMO (Zhang et al., ICML 2025) trains classifiers of millions
//! of labels.
//!
//! ```text
//! p ← p − rate · g          for the rows that have a gradient
//! ```

use super::{TableOptimizer, check_table};
use crate::grad::RowGrad;
use engine::kernels::sgd::sgd_rows;
use engine::{Engine, Table};

/// Plain gradient descent.
#[derive(Debug, Default)]
pub struct SgdRows {
    steps: u32,
}

impl SgdRows {
    /// A fresh optimizer.
    pub fn new() -> SgdRows {
        SgdRows::default()
    }
}

impl TableOptimizer for SgdRows {
    fn begin(&mut self) {
        self.steps += 1;
    }
    fn update(&mut self, engine: &Engine, table: &mut Table, grad: &RowGrad, rate: f32) {
        check_table(table, grad);
        sgd_rows(engine, table, (&grad.rows, &grad.values), rate, u64::from(self.steps));
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
