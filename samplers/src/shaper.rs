//! **What is masked, weighted, shifted.** A shaper reads detached scores and edits the terms of the loss.
//!
//! ```text
//! z_ij = s_ij/τ + β_ij        Z_i = Σ_j k_ij ω_ij exp(z_ij)        L = (1/Σρ) Σ_i ρ_i (log Z_i − z_i,target)
//! k keep mask (1 or 0)     ω ≥ 0 weight in the partition     β shift     ρ weight of the row
//! ```
//! No edit carries a gradient. Shapers are pure functions of their inputs and are applied in
//! order. The target is never masked.

use crate::{Lists, Matrix};

pub mod guided;
pub mod hardness;
pub mod k_hardest;
pub mod own;
pub mod sampled;
pub mod shares;

/// Edits the terms of a loss.
pub trait Shaper: Send {
    /// Looks at the scores and edits. Entries that are masked already stay masked.
    fn shape(&self, scores: &Scores<'_>, edits: &mut Edits);
}

/// Detached scores, and what is known of their columns.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// Scores before temperature, `[B, C]`.
    pub values: Matrix<'a>,
    /// The column of each row's positive, `[B]`.
    pub target: &'a [u32],
    /// The scores that a guide gives to the same pairs, `[B, C]`; none without a guide.
    pub guide: Option<Matrix<'a>>,
    /// The columns that were drawn for each row; none where none was.
    pub own: Option<&'a Lists>,
    /// The probability with which each label is a column, `[U]`, U ≤ C; none where it is not known.
    pub chance: Option<&'a [f64]>,
}

impl<'a> Scores<'a> {
    /// Scores and targets alone.
    pub fn new(values: Matrix<'a>, target: &'a [u32]) -> Scores<'a> {
        Scores { values, target, guide: None, own: None, chance: None }
    }
}

/// The edits of a block of scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Edits {
    /// k, `[B, C]`, 1 or 0.
    pub keep: Vec<f32>,
    /// ω, `[B, C]`; `None` means all 1.
    pub weight: Option<Vec<f32>>,
    /// β, `[B, C]`; `None` means all 0.
    pub shift: Option<Vec<f32>>,
    /// ρ, `[B]`; `None` means all 1.
    pub row_weight: Option<Vec<f32>>,
}

impl Edits {
    /// Only the mask of [`crate::mask`].
    pub fn masked(keep: Vec<f32>) -> Edits {
        Edits { keep, weight: None, shift: None, row_weight: None }
    }
    /// β, to be added to.
    pub fn shifts(&mut self) -> &mut [f32] {
        let entries = self.keep.len();
        self.shift.get_or_insert_with(|| vec![0.0; entries])
    }
    /// ω, to be multiplied.
    pub fn weights(&mut self) -> &mut [f32] {
        let entries = self.keep.len();
        self.weight.get_or_insert_with(|| vec![1.0; entries])
    }
}
