//! What is minimised: a number from the scores of queries against labels.
//!
//! ```text
//! s_ij = q_i · l_j        queries [n, d] and labels [m, d] of length 1: the cosine       (`q.matmul_nt(l)`)
//! L    = (1/Σρ) Σ_i ρ_i ℓ_i(s_i)
//! ```

mod adversarial;
mod cosent;
mod debiased;
mod distil;
mod infonce;
mod list;
mod pairs;
mod pairwise;
pub mod set;
#[cfg(test)]
mod testing;
mod triplet;

pub use adversarial::Adversarial;
pub use autograd::Weighting;
pub use cosent::CoSent;
pub use debiased::Debiased;
pub use distil::Distil;
pub use infonce::InfoNce;
pub use list::ListLoss;
pub use pairwise::{MarginMse, Pairwise};
pub use set::{SetObjective, SetTerms};
pub use triplet::Triplet;

use autograd::Var;
use engine::{Engine, Tensor};
use std::fmt;
use std::sync::Arc;

/// What a loss knows besides the scores `[n, m]`. All of it is constant for the tape.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The column of each row's positive, `[n]`.
    pub targets: Arc<[u32]>,
    /// False where a pair must not count as a negative, `[n · m]`. The target of a row counts in any case.
    pub keep: Arc<[bool]>,
    /// ω ≥ 0: what a column weighs in the partition sum, `[n, m]`; none is 1.
    pub weight: Option<Tensor>,
    /// β: added to the logits, `[n, m]`; none is 0.
    pub shift: Option<Tensor>,
    /// ρ ≥ 0: what a row weighs in the mean, `[n]`; none is 1.
    pub row_weight: Option<Vec<f32>>,
    /// What a teacher scores, `[n, m]`; none without one.
    pub teacher: Option<Tensor>,
    /// t: how likely each column is to be the right one, `[n, m]`, rows of sum 1; none is the target alone.
    pub soft: Option<Tensor>,
}

/// What a loss found of each row: to be remembered, and without a gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// ℓ, `[n]`.
    pub losses: Vec<f32>,
    /// p, `[n, m]`: 0 where a column does not count.
    pub probabilities: Vec<f32>,
}

impl Terms {
    /// Targets and mask alone.
    pub fn masked(targets: Arc<[u32]>, keep: Arc<[bool]>) -> Terms {
        Terms { targets, keep, weight: None, shift: None, row_weight: None, teacher: None, soft: None }
    }
    /// Negatives of a row in the mean: columns that count, the target aside.
    pub fn negatives(&self) -> f64 {
        let width = self.keep.len() / self.targets.len().max(1);
        let count = |(row, &target): (usize, &u32)| {
            let kept = self.keep[row * width..][..width].iter().filter(|&&keep| keep).count();
            kept - usize::from(self.keep[row * width + target as usize])
        };
        let all: usize = self.targets.iter().enumerate().map(count).sum();
        all as f64 / self.targets.len().max(1) as f64
    }
    /// What the scores `[n, m]` of a row are in the mean: of its target, and of the hardest column that counts against
    /// it, over the rows that have one; none where no row has.
    pub fn hardness(&self, scores: &[f32]) -> Option<(f64, f64)> {
        let width = self.keep.len() / self.targets.len().max(1);
        let (mut rows, mut of_targets, mut of_hardest) = (0u32, 0.0, 0.0);
        for (row, &target) in self.targets.iter().enumerate() {
            let (scores, keep) = (&scores[row * width..][..width], &self.keep[row * width..][..width]);
            let against = (0..width).filter(|&column| keep[column] && column != target as usize);
            let hardest = against.map(|column| scores[column]).fold(f32::NEG_INFINITY, f32::max);
            if hardest > f32::NEG_INFINITY {
                rows += 1;
                of_targets += f64::from(scores[target as usize]);
                of_hardest += f64::from(hardest);
            }
        }
        (rows > 0).then(|| (of_targets / f64::from(rows), of_hardest / f64::from(rows)))
    }
    /// ln softmax_j(T_j/τ_t) of a teacher's scores T `[n, m]` over the columns of a row that count and its target, each
    /// behind its column.
    fn taught(&self, row: usize, teacher: &[f32], temperature: f64) -> Vec<(usize, f64)> {
        let width = self.keep.len() / self.targets.len();
        let keep = &self.keep[row * width..][..width];
        let counts = |&j: &usize| keep[j] || j == self.targets[row] as usize;
        let logit = |j: usize| (j, f64::from(teacher[row * width + j]) / temperature);
        let logits: Vec<(usize, f64)> = (0..width).filter(counts).map(logit).collect();
        let most = logits.iter().map(|l| l.1).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|l| (l.1 - most).exp()).sum();
        logits.into_iter().map(|(j, logit)| (j, logit - most - total.ln())).collect()
    }
    /// (1/Σρ) Σ ρ_i ℓ_i of row losses `[n]`; 0 where no row weighs anything.
    fn mean<'t>(&self, rows: Var<'t>) -> Var<'t> {
        let Some(weights) = &self.row_weight else { return rows.mean() };
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let factor = if total > 0.0 { 1.0 / total } else { 0.0 };
        let weights = Tensor::from_buf([weights.len()], rows.tape().engine().copied(weights));
        (rows * rows.tape().constant(weights)).sum().scale(factor)
    }
    #[track_caller]
    fn check(&self, scores: Var<'_>) {
        let (n, m) = (self.targets.len(), scores.shape().last());
        assert_eq!(scores.shape().dims(), [n, m], "scores have a row for each of {n} targets");
        assert_eq!(self.keep.len(), n * m, "the mask has an entry for each score");
    }
}

/// A loss over scores.
pub trait Objective: fmt::Debug + Send + Sync {
    /// The loss of scores `[n, m]` before temperature: one number.
    ///
    /// # Panics
    /// If scores and terms differ in size.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t>;
    /// What it finds of each row of scores `[n, m]`; none where rows have no loss of their own.
    fn outcome(&self, _engine: &Engine, _scores: &Tensor, _terms: &Terms) -> Option<Outcome> {
        None
    }
}
