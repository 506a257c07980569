//! A mean over pairs of a positive and a negative: RankNet (Burges et al. 2005), as STAR and ANCE minimise it.
//!
//! ```text
//! L = Σ_ij ρ_i k_ij ω_ij softplus((s_ij − s_ic)/τ) / Σ_ij ρ_i k_ij ω_ij         c: the column of the positive of i
//! ```
//! (Zhan et al., "Optimizing dense retrieval model training with hard negatives", SIGIR 2021: STAR takes the mean over
//! all pairs of a batch, so a query with more negatives counts more. Xiong et al., "Approximate nearest neighbor
//! negative contrastive learning for dense text retrieval", ICLR 2021: one negative a row, so the mean over pairs is
//! that over rows.) A batch without pairs has loss and gradient 0.

use super::{Objective, Terms, pairs};
use autograd::Var;
use engine::Tensor;

/// RankNet over the pairs that count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairwise {
    /// τ.
    pub temperature: f64,
}

impl Objective for Pairwise {
    /// β of the terms has no meaning here and is not read.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let scaled = scores.scale(1.0 / self.temperature);
        let Some(pairs) = pairs::counting(scaled, terms) else { return scores.sum().scale(0.0) };
        pairs.mean(pairs.positive.pairwise(pairs.negative, autograd::Pairwise::RankNet))
    }
}

/// The squared error of the distance between the scores of a positive and a negative, against a teacher's.
///
/// ```text
/// L = Σ_ij ρ_i k_ij ω_ij ((s_ic − s_ij) − (T_ic − T_ij))² / Σ_ij ρ_i k_ij ω_ij
/// ```
/// Hofstätter et al., "Improving efficient neural ranking models with cross-architecture knowledge distillation", 2020.
/// Scores are not divided by a temperature: the teacher's scale is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginMse;

impl Objective for MarginMse {
    /// β of the terms has no meaning here and is not read.
    ///
    /// # Panics
    /// If the terms have no teacher.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let teacher = terms.teacher.as_ref().expect("Margin-MSE has a teacher").data::<f32>();
        let Some(pairs) = pairs::counting(scores, terms) else { return scores.sum().scale(0.0) };
        let margins = pairs.places.iter().map(|&(positive, negative)| teacher[positive] - teacher[negative]);
        let margin = Tensor::from_vec([pairs.places.len(), 1], margins.collect());
        pairs.mean(pairs.positive.pairwise(pairs.negative, autograd::Pairwise::MarginMse { margin }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, terms};
    use super::*;

    const SCORES: [f32; 6] = [0.5, 0.1, -0.2, 0.3, 0.4, 0.0];

    fn loss(objective: &dyn Objective, terms: &Terms) -> (f64, Vec<f64>) {
        super::super::testing::loss(objective, &SCORES, terms)
    }
    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    /// By hand: the pairs of row 0 lie 0.4 and 0.7 apart, that of row 1 0.1 (its first one is masked).
    #[test]
    fn the_loss_is_the_mean_over_all_pairs_not_over_rows() {
        let keep = terms(&[true, true, true, false, true, true]);
        let (value, grad) = loss(&Pairwise { temperature: 0.5 }, &keep);
        let pairs = [(0.1 - 0.5) / 0.5, (-0.2 - 0.5) / 0.5, (0.0 - 0.4) / 0.5];
        close(value, pairs.map(softplus).iter().sum::<f64>() / 3.0);
        let pull = pairs.map(|x| 1.0 / (1.0 + (-x).exp()) / 0.5 / 3.0);
        let want = [-pull[0] - pull[1], pull[0], pull[1], 0.0, -pull[2], pull[2]];
        grad.iter().zip(want).for_each(|(got, want)| close(*got, want));
    }

    #[test]
    fn rows_and_pairs_weigh_what_the_terms_say() {
        let weight = Tensor::from_vec([2, 3], vec![9.0f32, 2.0, 0.0, 1.0, 9.0, 3.0]);
        let weighted = Terms { weight: Some(weight), row_weight: Some(vec![0.5, 1.0]), ..terms(&[true; 6]) };
        let (a, b, c) = (softplus(-0.4), softplus(-0.1), softplus(-0.4));
        close(loss(&Pairwise { temperature: 1.0 }, &weighted).0, (a + b + 3.0 * c) / 5.0);
    }

    #[test]
    fn a_batch_without_negatives_costs_nothing_and_moves_nothing() {
        let teacher = Some(Tensor::from_vec([2, 3], vec![0.0f32; 6]));
        let none = Terms { teacher, ..terms(&[false; 6]) };
        for objective in [&Pairwise { temperature: 0.1 } as &dyn Objective, &MarginMse] {
            assert_eq!(loss(objective, &none), (0.0, vec![0.0; 6]), "{objective:?}");
        }
    }

    #[test]
    fn margins_are_learned_from_the_teacher() {
        let teacher = Some(Tensor::from_vec([2, 3], vec![3.0f32, 1.0, 0.5, 2.0, 2.0, 1.0]));
        let (value, grad) = loss(&MarginMse, &Terms { teacher, ..terms(&[true; 6]) });
        let errors = [0.4 - 2.0, 0.7 - 2.5, 0.1 - 0.0, 0.4 - 1.0f64];
        close(value, errors.iter().map(|e| e * e).sum::<f64>() / 4.0);
        close(grad[0], (errors[0] + errors[1]) / 2.0);
        close(grad[3], -errors[2] / 2.0);
    }
}
