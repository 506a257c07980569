//! Row-wise Adagrad: Duchi, Hazan, Singer, "Adaptive subgradient methods", JMLR 2011, with one accumulator for a whole
//! row, as DLRM and FBGEMM train their embedding tables (Naumov et al., "Deep learning recommendation model", 2019).
//!
//! ```text
//! for the rows that have a gradient, of width d:
//! a ← a + (1/d) Σⱼ gⱼ²
//! p ← p − rate · g / (√a + ε)
//! ```
//! The state is one number a row instead of two for every weight. The mean keeps a rate good for any width; PyTorch's
//! `Adagrad` is the case d = 1.

use super::{TableOptimizer, check_table};
use crate::grad::RowGrad;
use engine::kernels::adagrad::adagrad_rows;
use engine::{Engine, Home, Result, Table, TablePrecision};

/// Row-wise Adagrad.
#[derive(Debug)]
pub struct AdagradRows {
    eps: f32,
    accumulators: Table,
    steps: u32,
}

impl AdagradRows {
    /// A fresh optimizer for `table`, with accumulators of zero and ε inside the quotient (1e-10 is usual). The
    /// accumulators lie where `home` says, and that is where the table does.
    ///
    /// # Errors
    /// If a scratch file cannot be made.
    pub fn new(table: &Table, eps: f32, home: &Home) -> Result<AdagradRows> {
        Ok(AdagradRows {
            eps,
            accumulators: Table::zeros_in(home, TablePrecision::F32, table.rows(), 1)?,
            steps: 0,
        })
    }
}

impl TableOptimizer for AdagradRows {
    fn begin(&mut self) {
        self.steps += 1;
    }
    fn update(&mut self, engine: &Engine, table: &mut Table, grad: &RowGrad, rate: f32) {
        check_table(table, grad);
        let (tables, number) = ([table, &mut self.accumulators], u64::from(self.steps));
        adagrad_rows(engine, tables, (&grad.rows, &grad.values), (rate, self.eps), number);
    }
    fn steps(&self) -> u32 {
        self.steps
    }
    fn tables(&self) -> Vec<(&'static str, &Table)> {
        vec![("adagrad_rows.accumulator", &self.accumulators)]
    }
    fn set_steps(&mut self, steps: u32) {
        self.steps = steps;
    }
    fn tables_mut(&mut self) -> Vec<(&'static str, &mut Table)> {
        vec![("adagrad_rows.accumulator", &mut self.accumulators)]
    }
}
