//! InfoNCE (van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018,
//! eq. 4), with masked, weighted and shifted columns.
//!
//! ```text
//! ℓ_i = log Σ_j k_ij ω_ij exp(s_ij/τ + β_ij) − (s_ic/τ + β_ic)        c: the column of the positive of i
//! ```
//! Symmetric: half of it, and half of the same read the other way, in which the label of row i chooses among
//! the queries, s_i'c for all rows i' that keep the pair (Radford et al., CLIP, 2021, figure 3).

use super::{Objective, Terms};
use autograd::{SoftmaxLoss, Target, Var};
use engine::Tensor;
use std::sync::Arc;

/// InfoNCE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfoNce {
    /// τ.
    pub temperature: f64,
    /// Whether labels choose among queries, too.
    pub symmetric: bool,
}

impl Objective for InfoNce {
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let kernel = SoftmaxLoss {
            scale: 1.0 / self.temperature,
            keep: Some(terms.keep.clone()),
            omega: terms.weight.clone(),
            beta: terms.shift.clone(),
            target: Target::Column(terms.targets.clone()),
        };
        let forward = terms.mean(scores.softmax_loss(kernel));
        if !self.symmetric {
            return forward;
        }
        let kernel = SoftmaxLoss {
            scale: 1.0 / self.temperature,
            keep: Some(reversed_mask(terms, scores.shape().last())),
            omega: None,
            beta: None,
            target: Target::Column((0..terms.targets.len() as u32).collect()),
        };
        (forward + terms.mean(reversed(scores, &terms.targets).softmax_loss(kernel))).scale(0.5)
    }
}

/// r_ii' = s_i'c, c the column of the positive of i: `[n, n]`. A product with rows of the identity: all other
/// terms of its sums are exactly zero.
fn reversed<'t>(scores: Var<'t>, targets: &[u32]) -> Var<'t> {
    let (n, m) = (targets.len(), scores.shape().last());
    let engine = scores.tape().engine();
    let mut rows = engine.zeros::<f32>(n * m);
    for (row, &target) in rows.chunks_mut(m.max(1)).zip(targets) {
        row[target as usize] = 1.0;
    }
    scores.tape().constant(Tensor::from_buf([n, m], rows)).matmul_nt(scores)
}

/// Query i' competes for the label of i where the pair (i', label of i) counts as a negative.
fn reversed_mask(terms: &Terms, m: usize) -> Arc<[bool]> {
    let rows = |c: u32| {
        terms.keep.chunks(m.max(1)).zip(&*terms.targets).map(move |(row, &t)| t != c && row[c as usize])
    };
    terms.targets.iter().flat_map(|&c| rows(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, terms};
    use super::*;

    const SCORES: [f32; 6] = [0.5, 0.1, -0.2, 0.3, 0.4, 0.0];

    fn loss(objective: InfoNce, terms: &Terms) -> (f64, Vec<f64>) {
        super::super::testing::loss(&objective, &SCORES, terms)
    }
    const PLAIN: InfoNce = InfoNce { temperature: 0.5, symmetric: false };

    /// By hand, in f64, from the equation.
    #[test]
    fn loss_is_the_mean_of_the_rows() {
        let row = |z: [f64; 3], c: usize| z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[c];
        let (a, b) = (row([1.0, 0.2, -0.4], 0), row([0.6, 0.8, 0.0], 1));
        close(loss(PLAIN, &terms(&[true; 6])).0, (a + b) / 2.0);
        let weighted = Terms { row_weight: Some(vec![3.0, 1.0]), ..terms(&[true; 6]) };
        close(loss(PLAIN, &weighted).0, (3.0 * a + b) / 4.0);
        let one = terms(&[true, false, true, true, true, true]);
        let masked = ((1.0f64).exp() + (-0.4f64).exp()).ln() - 1.0;
        close(loss(PLAIN, &one).0, (masked + b) / 2.0);
        let none = Terms { row_weight: Some(vec![0.0, 0.0]), ..terms(&[true; 6]) };
        assert_eq!(loss(PLAIN, &none).0, 0.0);
    }

    #[test]
    fn a_batch_without_negatives_costs_nothing_and_moves_nothing() {
        for symmetric in [false, true] {
            let (value, grad) = loss(InfoNce { symmetric, ..PLAIN }, &terms(&[false; 6]));
            assert_eq!((value, grad), (0.0, vec![0.0; 6]));
        }
    }

    #[test]
    fn the_symmetric_loss_also_lets_labels_choose_among_queries() {
        let other = |z: [f64; 2], c: usize| (z[0].exp() + z[1].exp()).ln() - z[c];
        let forward = loss(PLAIN, &terms(&[true; 6])).0;
        // Column 0 is (0.5, 0.3), column 1 is (0.1, 0.4); column 2 is nobody's positive.
        let back = (other([1.0, 0.6], 0) + other([0.2, 0.8], 1)) / 2.0;
        let both = InfoNce { symmetric: true, ..PLAIN };
        close(loss(both, &terms(&[true; 6])).0, (forward + back) / 2.0);
        // Query 1 has label 0 as well: it does not compete for it.
        let known = terms(&[true, true, true, false, true, true]);
        let back = other([0.2, 0.8], 1) / 2.0;
        close(loss(both, &known).0, (loss(PLAIN, &known).0 + back) / 2.0);
    }

    #[test]
    fn rows_that_share_a_label_do_not_compete_for_it() {
        let shared = Terms::masked(Arc::from([1, 1]), Arc::from([true; 6]));
        let mask = reversed_mask(&shared, 3);
        assert_eq!(mask[..], [false; 4]);
    }
}
