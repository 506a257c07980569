//! Adam for tables whose rows occur rarely, as `torch.optim.SparseAdam` with decoupled decay added.
//!
//! ```text
//! for the rows that have a gradient, and no others:
//! p ← p (1 − rate · λ)
//! m ← m + (1 − β₁)(g − m),  v ← β₂ v + (1 − β₂) g²
//! p ← p − rate · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)
//! ```
//! t counts the steps of the whole table. This is not AdamW: the moments of a row do not fade while it is absent, and
//! ε is added before the bias correction. Momentum of a label is then what its own batches said, however long ago.

use super::{TableOptimizer, check_table};
use crate::grad::RowGrad;
use engine::kernels::adamw::{AdamStep, adamw_rows};
use engine::{Engine, Home, Result, Table, TablePrecision};

/// Lazy Adam with decoupled weight decay. The state is two tables of the table's shape.
#[derive(Debug)]
pub struct LazyAdamW {
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    m: Table,
    v: Table,
    steps: u32,
}

impl LazyAdamW {
    /// A fresh optimizer for `table`: β = (0.9, 0.999), ε = 1e-8, no decay. Its moments lie where
    /// `home` says, and that is where the table does.
    ///
    /// # Errors
    /// If a scratch file cannot be made.
    pub fn new(table: &Table, home: &Home) -> Result<LazyAdamW> {
        let zeros = || Table::zeros_in(home, TablePrecision::F32, table.rows(), table.width());
        let (m, v) = (zeros()?, zeros()?);
        Ok(LazyAdamW { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, m, v, steps: 0 })
    }
    /// With other constants.
    #[must_use]
    pub fn with(self, betas: (f64, f64), eps: f64, weight_decay: f64) -> LazyAdamW {
        LazyAdamW { betas, eps, weight_decay, ..self }
    }
}

impl TableOptimizer for LazyAdamW {
    fn begin(&mut self) {
        self.steps += 1;
    }
    fn update(&mut self, engine: &Engine, table: &mut Table, grad: &RowGrad, rate: f32) {
        check_table(table, grad);
        let mut step = AdamStep::new(self.betas, self.eps, self.weight_decay, f64::from(rate), self.steps);
        // ε before the correction: √v · widen + ε · widen = (√v + ε) · widen.
        step.eps *= step.widen;
        let tables = [table, &mut self.m, &mut self.v];
        adamw_rows(engine, tables, (&grad.rows, &grad.values), &step, u64::from(self.steps));
    }
    fn steps(&self) -> u32 {
        self.steps
    }
    fn tables(&self) -> Vec<(&'static str, &Table)> {
        vec![("lazy_adamw.m", &self.m), ("lazy_adamw.v", &self.v)]
    }
    fn set_steps(&mut self, steps: u32) {
        self.steps = steps;
    }
    fn tables_mut(&mut self) -> Vec<(&'static str, &mut Table)> {
        vec![("lazy_adamw.m", &mut self.m), ("lazy_adamw.v", &mut self.v)]
    }
}
