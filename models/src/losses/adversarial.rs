//! Retriever against ranker: AR2 (Zhang, Gong, Shen, Lv, Duan, Chen, "Adversarial retriever-ranker for dense text
//! retrieval", ICLR 2022, eqs. 5 to 8, in the form of its released code).
//!
//! ```text
//! p_j = softmax_j(s_j/τ)     π_j = softmax_j(y_j/τ_t)     over a row's positive c and the columns that count
//! r_j = ln σ((y_c − y_j)/τ_t)                              how far the ranker is from being fooled by j; r_c = ln ½
//! ℓ   = (1−λ) Σ_j π_j (ln π_j − ln p_j) + λ Σ_j r_j ln p_j
//! ∂ℓ/∂s_j = [(1−λ)(p_j − π_j) + λ(p_j Σ_k |r_k| − |r_j|)]/τ
//! ```
//! The ranker is a cross-encoder whose numbers y are constants here. Both factors of the second sum are negative: it is
//! a cross-entropy that raises the labels which fool the ranker, so that the ranker is given hard ones to learn from.
//! The first holds the retriever to the ranker meanwhile. Here both are means over rows; the code divides the second by
//! nothing, so that its λ depends on the batch. The code distils without the constant Σ π ln π, which moves no
//! gradient. **A positive that nobody labelled fools the ranker, too, and is raised as any other.**

use super::{Objective, Terms};
use autograd::{SoftmaxLoss, Target, Var};
use engine::Tensor;

/// The loss of AR2's retriever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversarial {
    /// τ, of the scores that are learned.
    pub temperature: f64,
    /// τ_t, of the ranker's.
    pub teacher: f64,
    /// λ.
    pub adversarial: f64,
}

/// What the ranker says of a row.
struct Said {
    /// The columns of its list, and what each should get: t_j (1 − λ) + λ |r_j|.
    shares: Vec<(usize, f64)>,
    /// (1 − λ) Σ_j π_j ln π_j.
    entropy: f64,
}

impl Adversarial {
    /// What a row's `logs` say, ln π_j behind each column.
    fn said(&self, logs: &[(usize, f64)], target: usize) -> Said {
        let of_target = logs.iter().find(|(j, _)| *j == target).expect("the target counts").1;
        let (learned, fooled) = (1.0 - self.adversarial, self.adversarial);
        let (mut entropy, mut shares) = (0.0, vec![]);
        for &(j, log) in logs {
            // |ln σ(x)| = softplus(−x), from the side on which nothing overflows.
            let behind = log - of_target;
            let reward = behind.max(0.0) + (-behind.abs()).exp().ln_1p();
            entropy += learned * log.exp() * log;
            shares.push((j, learned * log.exp() + fooled * reward));
        }
        Said { shares, entropy }
    }
}

impl Objective for Adversarial {
    /// ω and β of the terms have no meaning here and are not read. A row without negatives has loss 0.
    ///
    /// # Panics
    /// If the terms have no teacher.
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let numbers = terms.teacher.as_ref().expect("AR2 has a ranker").data::<f32>();
        let (n, m) = (terms.targets.len(), scores.shape().last());
        // Shares that add up to w are a distribution times w: ℓ = w (ln Z − Σ_j (share_j/w) z_j) + entropy.
        let (mut shares, mut masses, mut entropies) = (vec![0.0; n * m], vec![0.0; n], vec![0.0; n]);
        for (i, &target) in terms.targets.iter().enumerate() {
            let logs = terms.taught(i, numbers, self.teacher);
            let said = self.said(&logs, target as usize);
            let mass: f64 = said.shares.iter().map(|(_, share)| share).sum();
            said.shares.iter().for_each(|&(j, share)| shares[i * m + j] = (share / mass) as f32);
            if logs.len() > 1 {
                (masses[i], entropies[i]) = (mass as f32, said.entropy as f32);
            }
        }
        let kernel = SoftmaxLoss {
            scale: 1.0 / self.temperature,
            keep: Some(terms.keep.clone()),
            omega: None,
            beta: None,
            target: Target::Distribution(Tensor::from_vec([n, m], shares)),
        };
        let [masses, entropies] =
            [masses, entropies].map(|values| scores.tape().constant(Tensor::from_vec([n], values)));
        terms.mean(scores.softmax_loss(kernel) * masses + entropies)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Distil;
    use super::super::testing;
    use super::*;

    const SCORES: [f32; 6] = [0.5, 0.1, -0.2, 0.3, 0.4, 0.0];
    const KEEP: [bool; 6] = [true, true, true, true, true, false];
    /// The ranker is right of the first row and fooled by a label of the second.
    const NUMBERS: [f32; 6] = [3.0, 1.0, 2.0, 0.5, -1.5, -1.0];

    fn loss(adversarial: f64, keep: [bool; 6]) -> (f64, Vec<f64>) {
        let teacher = Some(Tensor::from_vec([2, 3], NUMBERS.to_vec()));
        let terms = Terms { teacher, ..testing::terms(&keep) };
        testing::loss(&Adversarial { temperature: 0.5, teacher: 2.0, adversarial }, &SCORES, &terms)
    }

    fn softmax(z: &[f64]) -> Vec<f64> {
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        z.iter().map(|z| z.exp() / total).collect()
    }

    #[test]
    fn both_terms_are_those_of_the_equations() {
        let (value, grad) = loss(0.3, KEEP);
        // The target of the first row is column 0, that of the second column 1; it meets column 0 alone.
        let rows: [(&[f64], &[f64], usize); 2] =
            [(&[1.0, 0.2, -0.4], &[1.5, 0.5, 1.0], 0), (&[0.6, 0.8], &[0.25, -0.75], 1)];
        let (mut want, mut slopes) = (0.0, vec![]);
        for (z, y, c) in rows {
            let (p, pi) = (softmax(z), softmax(y));
            let r: Vec<f64> = y.iter().map(|j| (1.0 / (1.0 + (j - y[c]).exp())).ln()).collect();
            assert!((r[c] - 0.5f64.ln()).abs() < 1e-12);
            let distilled: f64 = pi.iter().zip(&p).map(|(t, p)| t * (t / p).ln()).sum();
            let fooled: f64 = r.iter().zip(&p).map(|(r, p)| r * p.ln()).sum();
            want += (0.7 * distilled + 0.3 * fooled) / 2.0;
            let total: f64 = r.iter().map(|r| r.abs()).sum();
            let slope = |j: usize| (0.7 * (p[j] - pi[j]) + 0.3 * (p[j] * total - r[j].abs())) / 0.5 / 2.0;
            slopes.extend((0..p.len()).map(slope));
        }
        slopes.push(0.0);
        assert!((value - want).abs() < 1e-6, "{value} is not {want}");
        grad.iter()
            .zip(&slopes)
            .for_each(|(g, w)| assert!((g - w).abs() < 1e-6, "{grad:?} is not {slopes:?}"));
        assert!(slopes[3] < 0.0, "what fools the ranker is raised");
    }

    #[test]
    fn without_the_adversary_it_is_distillation() {
        let teacher = Some(Tensor::from_vec([2, 3], NUMBERS.to_vec()));
        let terms = Terms { teacher, ..testing::terms(&KEEP) };
        let distil = Distil { temperature: 0.5, teacher: 2.0 };
        let ((value, grad), (of_distil, slopes)) = (loss(0.0, KEEP), testing::loss(&distil, &SCORES, &terms));
        assert!((value - of_distil / 0.25).abs() < 1e-6, "its factor is the square of the temperature");
        grad.iter().zip(&slopes).for_each(|(g, w)| assert!((g - w / 0.25).abs() < 1e-6));
    }

    #[test]
    fn a_row_without_negatives_has_no_loss() {
        assert_eq!(loss(0.5, [true, false, false, false, true, false]), (0.0, vec![0.0; 6]));
    }
}
