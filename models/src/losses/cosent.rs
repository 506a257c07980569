//! CoSENT: every positive pair of a batch before every negative pair of the batch, whichever rows they stand in.
//!
//! ```text
//! L = ln( 1 + Σ_a Σ_b w_a w_b e^{(s_b − s_a)/τ} )        a: positives (i, c_i)   b: negatives that count (i, j)
//!   = softplus( ln Σ_b w_b e^{s_b/τ} + ln Σ_a w_a e^{−s_a/τ} )
//! w_a = ρ_i,  w_b = ρ_i ω_ij        ρ with a mean of 1
//! ```
//! Huang et al., "CoSENT: consistent sentence embedding via similarity ranking", IEEE/ACM TASLP 2024, for pairs of the
//! values 1 and 0; sentence-transformers' `CoSENTLoss`, and over angles its `AnglELoss`. The double sum falls into two
//! factors, so it costs what the scores do. It is a sum, not a mean: it grows with the logarithm of the pairs, and a
//! positive that no negative of the batch comes near has no gradient.

use super::{Objective, Terms};
use autograd::Var;
use engine::Tensor;
use std::sync::Arc;

/// CoSENT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoSent {
    /// τ.
    pub temperature: f64,
}

impl Objective for CoSent {
    /// β of the terms has no meaning here and is not read.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let (n, m) = (terms.targets.len(), scores.shape().last());
        let (positive, negative) = weights(terms, m);
        if ![&positive, &negative].iter().all(|weights| weights.iter().any(|&w| w > 0.0)) {
            return scores.sum().scale(0.0);
        }
        let z = scores.scale(1.0 / self.temperature);
        let places = terms.targets.iter().enumerate().map(|(i, &c)| i as u32 * m as u32 + c);
        let own = z.reshape([n * m, 1]).gather(places.collect()).reshape([1, n]);
        (log_sum(z, &negative) + log_sum(-own, &positive)).softplus().sum()
    }
}

/// ln Σ w eᶻ over the places of `z` `[n, m]` of a weight above 0: row by row, then over the rows that have one. `[1]`.
fn log_sum<'t>(mut z: Var<'t>, weights: &[f32]) -> Var<'t> {
    let m = z.shape().last();
    if weights.iter().any(|&w| w != 0.0 && w != 1.0) {
        let logs = weights.iter().map(|&w| if w > 0.0 { w.ln() } else { 0.0 }).collect();
        z = z + z.tape().constant(Tensor::from_vec(z.shape(), logs));
    }
    let rows = || weights.chunks(m).zip(0u32..).filter(|(row, _)| row.iter().any(|&w| w > 0.0));
    let places: Arc<[u32]> = rows().map(|(_, i)| i).collect();
    let keep = rows().flat_map(|(row, _)| row).map(|&w| w > 0.0).collect();
    let count = places.len();
    z.gather(places).logsumexp(Some(keep)).reshape([1, count]).logsumexp(None)
}

/// What positives weigh, `[n]`, and negatives, `[n · m]`: 0 where a pair does not count.
fn weights(terms: &Terms, m: usize) -> (Vec<f32>, Vec<f32>) {
    let n = terms.targets.len();
    let mut rows = terms.row_weight.clone().unwrap_or_else(|| vec![1.0; n]);
    let mean = rows.iter().map(|&w| f64::from(w)).sum::<f64>() / n as f64;
    if mean > 0.0 {
        rows.iter_mut().for_each(|w| *w = (f64::from(*w) / mean) as f32);
    }
    let mut pairs: Vec<f32> = terms.keep.iter().map(|&keep| f32::from(keep)).collect();
    if let Some(omega) = &terms.weight {
        pairs.iter_mut().zip(omega.data::<f32>()).for_each(|(w, omega)| *w *= omega);
    }
    for ((row, &rho), &target) in pairs.chunks_mut(m.max(1)).zip(&rows).zip(&*terms.targets) {
        row.iter_mut().for_each(|w| *w *= rho);
        row[target as usize] = 0.0;
    }
    (rows, pairs)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, terms};
    use super::*;

    const SCORES: [f32; 6] = [0.5, 0.1, -0.2, 0.3, 0.4, 0.0];

    fn loss(temperature: f64, terms: &Terms) -> (f64, Vec<f64>) {
        super::super::testing::loss(&CoSent { temperature }, &SCORES, terms)
    }

    /// Pair by pair, and the gradient by hand: places and weights of positives and of negatives.
    fn pair_by_pair(
        temperature: f64,
        positives: &[(usize, f64)],
        negatives: &[(usize, f64)],
    ) -> (f64, Vec<f64>) {
        let at = |place: usize| f64::from(SCORES[place]) / temperature;
        let (mut sum, mut grad) = (1.0, vec![0.0; SCORES.len()]);
        for &(a, w_a) in positives {
            for &(b, w_b) in negatives {
                let term = w_a * w_b * (at(b) - at(a)).exp();
                sum += term;
                grad[a] -= term / temperature;
                grad[b] += term / temperature;
            }
        }
        grad.iter_mut().for_each(|g| *g /= sum);
        (sum.ln(), grad)
    }

    #[track_caller]
    fn equal((loss, grad): (f64, Vec<f64>), want: (f64, Vec<f64>)) {
        close(loss, want.0);
        grad.iter().zip(want.1).for_each(|(g, w)| close(*g, w));
    }

    #[test]
    fn every_positive_stands_against_the_negatives_of_every_row() {
        let all = [(1, 1.0), (2, 1.0), (3, 1.0), (5, 1.0)];
        equal(loss(0.5, &terms(&[true; 6])), pair_by_pair(0.5, &[(0, 1.0), (4, 1.0)], &all));
        // A row without negatives of its own still has its positive compared.
        let one = terms(&[true, true, false, false, true, false]);
        equal(loss(0.5, &one), pair_by_pair(0.5, &[(0, 1.0), (4, 1.0)], &all[..1]));
    }

    #[test]
    fn rows_and_columns_weigh_what_they_are_told() {
        let weight = Some(Tensor::from_vec([2, 3], vec![1.0f32, 2.0, 0.0, 1.0, 1.0, 0.5]));
        let told = Terms { weight, row_weight: Some(vec![3.0, 1.0]), ..terms(&[true; 6]) };
        let negatives = [(1, 3.0), (3, 0.5), (5, 0.25)];
        equal(loss(0.5, &told), pair_by_pair(0.5, &[(0, 1.5), (4, 0.5)], &negatives));
        let even = Terms { row_weight: Some(vec![0.25; 2]), ..terms(&[true; 6]) };
        assert_eq!(loss(0.5, &even), loss(0.5, &terms(&[true; 6])));
    }

    #[test]
    fn a_batch_without_negatives_costs_nothing_and_moves_nothing() {
        assert_eq!(loss(0.05, &terms(&[false; 6])), (0.0, vec![0.0; 6]));
        let own = [true, false, false, false, true, false];
        assert_eq!(loss(0.05, &terms(&own)), (0.0, vec![0.0; 6]));
        let nothing = Terms { row_weight: Some(vec![0.0; 2]), ..terms(&[true; 6]) };
        assert_eq!(loss(0.05, &nothing), (0.0, vec![0.0; 6]));
    }

    #[test]
    fn no_temperature_is_too_small() {
        // No negative lies above a positive: the largest exponent is (0.3 − 0.4)/τ = −1000.
        let (value, grad) = loss(1e-4, &terms(&[true; 6]));
        assert_eq!((value, grad), (0.0, vec![0.0; 6]));
        // One does: 0.5 above −0.2.
        let swapped = Terms { targets: [2, 1].into(), ..terms(&[true; 6]) };
        let (value, grad) = loss(1e-4, &swapped);
        assert!((value - 7e3).abs() < 0.01 && grad.iter().all(|g| g.is_finite()), "{value} {grad:?}");
        assert!((grad[0] - 1e4).abs() < 1.0 && (grad[2] + 1e4).abs() < 1.0, "{grad:?}");
    }
}
