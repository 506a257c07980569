//! How much likelier a frequent label is to have been noted at all (Jain et al., KDD 2016, equation 8 on).
//!
//! ```text
//! N   training queries, N_l of them with label l
//! C   = (ln N − 1) (B + 1)^A
//! q_l = 1 + C (N_l + B)^(−A)      inverse propensity; ln N for a label seen once, whatever A and B
//! ```

use std::sync::Arc;

/// The inverse propensity of every label, from its frequency in the unfiltered training set.
#[derive(Clone, Debug, PartialEq)]
pub struct Propensities {
    inverse: Arc<[f64]>,
    a: f64,
    b: f64,
}

impl Propensities {
    /// The A that Jain et al. advise where nothing is known.
    pub const A: f64 = 0.55;
    /// The B that Jain et al. advise where nothing is known.
    pub const B: f64 = 1.5;

    /// The model with the usual A = 0.55 and B = 1.5.
    pub fn new(frequency: &[u32], queries: usize) -> Propensities {
        Propensities::with(frequency, queries, Propensities::A, Propensities::B)
    }

    /// The model with given `a` and `b`: 0.6 and 2.6 are used for the Amazon sets, 0.5 and 0.4 for the
    /// Wikipedia ones.
    ///
    /// `frequency[l]` is the number of training queries that have label `l`, of `queries` altogether. Without
    /// training queries every label weighs 1.
    pub fn with(frequency: &[u32], queries: usize, a: f64, b: f64) -> Propensities {
        let c = if queries == 0 { 0.0 } else { ((queries as f64).ln() - 1.0) * (b + 1.0).powf(a) };
        let inverse = frequency.iter().map(|&n| 1.0 + c * (f64::from(n) + b).powf(-a)).collect();
        Propensities { inverse, a, b }
    }

    /// The weight q of a label.
    ///
    /// # Panics
    /// If the label is outside the table.
    pub fn inverse(&self, label: u32) -> f64 {
        self.inverse[label as usize]
    }

    /// The number of labels.
    pub fn labels(&self) -> usize {
        self.inverse.len()
    }

    /// A and B, to be printed beside the results: they differ between publications.
    pub fn parameters(&self) -> (f64, f64) {
        (self.a, self.b)
    }
}
