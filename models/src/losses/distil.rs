//! The distribution of a teacher over the columns of a row is learned: Kullback–Leibler distillation.
//!
//! ```text
//! t_ij = softmax_j(T_ij/τ_t)        p_ij = softmax_j(s_ij/τ)        both over the columns that count and the target
//! ℓ_i  = τ² Σ_j t_ij (ln t_ij − ln p_ij)
//! ```
//! Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015; sentence-transformers'
//! `DistillKLDivLoss`. The factor τ² keeps the size of gradients when τ changes.

use super::{Objective, Terms};
use autograd::{SoftmaxLoss, Target, Var};
use engine::Tensor;

/// Distillation of a teacher's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distil {
    /// τ, of the scores that are learned.
    pub temperature: f64,
    /// τ_t, of the teacher's.
    pub teacher: f64,
}

impl Objective for Distil {
    /// ω and β of the terms have no meaning here and are not read.
    ///
    /// # Panics
    /// If the terms have no teacher.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let teacher = terms.teacher.as_ref().expect("distillation has a teacher").data::<f32>();
        let (n, m) = (terms.targets.len(), scores.shape().last());
        let mut shares = vec![0.0f32; n * m];
        let mut entropies = vec![0.0f32; n];
        for i in 0..n {
            // Of a row of one column that is ln 1: no choice, and no loss.
            for (j, log) in terms.taught(i, teacher, self.teacher) {
                shares[i * m + j] = log.exp() as f32;
                entropies[i] += (log.exp() * log) as f32;
            }
        }
        let kernel = SoftmaxLoss {
            scale: 1.0 / self.temperature,
            keep: Some(terms.keep.clone()),
            omega: None,
            beta: None,
            target: Target::Distribution(Tensor::from_vec([n, m], shares)),
        };
        let own = scores.tape().constant(Tensor::from_vec([n], entropies));
        terms.mean(scores.softmax_loss(kernel) + own).scale(self.temperature * self.temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn loss(scores: [f32; 6], keep: [bool; 6], teacher: [f32; 6]) -> (f64, Vec<f64>) {
        let teacher = Some(Tensor::from_vec([2, 3], teacher.to_vec()));
        let terms = Terms { teacher, ..testing::terms(&keep) };
        testing::loss(&Distil { temperature: 0.5, teacher: 2.0 }, &scores, &terms)
    }

    fn softmax(z: &[f64]) -> Vec<f64> {
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        z.iter().map(|z| z.exp() / total).collect()
    }

    #[test]
    fn the_loss_is_the_divergence_over_the_columns_that_count() {
        let (scores, teacher) = ([0.5, 0.1, -0.2, 0.3, 0.4, 0.0], [3.0, 1.0, 2.0, 0.5, 1.5, -1.0]);
        let (value, grad) = loss(scores, [true, true, true, true, true, false], teacher);
        let divergence = |t: &[f64], p: &[f64]| t.iter().zip(p).map(|(t, p)| t * (t / p).ln()).sum::<f64>();
        let (t0, p0) = (softmax(&[1.5, 0.5, 1.0]), softmax(&[1.0, 0.2, -0.4]));
        let (t1, p1) = (softmax(&[0.25, 0.75]), softmax(&[0.6, 0.8]));
        let want = 0.25 * (divergence(&t0, &p0) + divergence(&t1, &p1)) / 2.0;
        assert!((value - want).abs() < 1e-6, "{value} {want}");
        // τ² · (p − t)/τ / 2 rows.
        let want = [p0[0] - t0[0], p0[1] - t0[1], p0[2] - t0[2], p1[0] - t1[0], p1[1] - t1[1], 0.0];
        grad.iter().zip(want).for_each(|(g, w)| assert!((g - 0.25 * w).abs() < 1e-6, "{g} {w}"));
    }

    #[test]
    fn who_says_what_the_teacher_says_has_no_loss() {
        let scores = [0.5, 0.25, -0.25, 0.3, 0.0, 0.1];
        let (value, grad) = loss(scores, [true; 6], scores.map(|s| 4.0 * s));
        assert!(value.abs() < 1e-6 && grad.iter().all(|g| g.abs() < 1e-6), "{value} {grad:?}");
        let (value, grad) = loss(scores, [true, false, false, false, true, false], [1.0; 6]);
        assert_eq!((value, grad), (0.0, vec![0.0; 6]), "one column is no choice");
    }
}
