//! LambdaRank for the reciprocal rank (Burges, "From RankNet to LambdaRank to LambdaMART", 2010; as ADORE takes it:
//! Zhan et al., SIGIR 2021, and its published code): a pair weighs what it is worth to swap it.
//!
//! ```text
//! r_l   the rank of l among P_i ∪ N_i: score falling, then column        δ_r = 1/r for r ≤ cut, else 0
//! w_pn  = |δ_{r_p} − δ_{r_n}|, constant
//! ℓ_i   = 1/(|P_i||N_i|) Σ_{p∈P_i} Σ_{n∈N_i} w_pn log(1 + e^{(s_n − s_p)/τ})
//!
//! ∂ℓ_i/∂s_p = −1/(τ|P_i||N_i|) Σ_n w_pn σ((s_n − s_p)/τ)                 negatives: the opposite sign, Σ over p
//! ```
//! With the `cut` nearest labels as candidates, and positives that are not among them beside these, such a positive has
//! a rank beyond the cut: δ = 0, and a pair weighs 1/r_n. Weights ω are not read: ranks count candidates.

use super::{SetObjective, SetTerms};
use autograd::Var;
use engine::Tensor;

/// LambdaRank for the reciprocal rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LambdaMrr {
    /// τ.
    pub temperature: f64,
    /// The last rank that is worth something.
    pub cut: usize,
}

/// Pairs of places among the scores, row after row, and what each weighs.
#[derive(Default)]
struct Pairs {
    positives: Vec<u32>,
    negatives: Vec<u32>,
    weights: Vec<f32>,
}

impl LambdaMrr {
    fn discount(self, rank: usize) -> f64 {
        if rank <= self.cut { 1.0 / rank as f64 } else { 0.0 }
    }
    /// All pairs of scores `[n, m]`, with w/(|P||N|) of each.
    fn pairs(self, scores: &[f32], terms: &SetTerms, m: usize) -> Pairs {
        assert!(u32::try_from(scores.len()).is_ok(), "places of {} scores are no u32", scores.len());
        let mut pairs = Pairs::default();
        for (i, row) in scores.chunks(m).enumerate() {
            let [positive, negative] =
                [&terms.relevance.positive, &terms.relevance.negative].map(|marks| &marks[i * m..][..m]);
            let mut ranked: Vec<usize> = (0..m).filter(|&c| positive[c] || negative[c]).collect();
            ranked.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            let discounted = ranked.into_iter().enumerate().map(|(at, c)| (c, self.discount(at + 1)));
            let (of_positives, of_negatives): (Vec<_>, Vec<_>) = discounted.partition(|&(c, _)| positive[c]);
            let per = 1.0 / (of_positives.len() * of_negatives.len()).max(1) as f64;
            for &(p, of_p) in &of_positives {
                for &(n, of_n) in &of_negatives {
                    pairs.positives.push((i * m + p) as u32);
                    pairs.negatives.push((i * m + n) as u32);
                    pairs.weights.push((per * f64::abs(of_p - of_n)) as f32);
                }
            }
        }
        pairs
    }
}

impl SetObjective for LambdaMrr {
    fn loss<'t>(&self, scores: Var<'t>, terms: &SetTerms) -> Var<'t> {
        terms.check(scores);
        let (tape, [n, m]) = (scores.tape(), [scores.shape().dim(0), scores.shape().last()]);
        let pairs = self.pairs(scores.value().to_cpu().data(), terms, m);
        if pairs.weights.is_empty() {
            return scores.sum().scale(0.0);
        }
        let column = scores.reshape([n * m, 1]);
        let above = column.gather(pairs.negatives.into()) - column.gather(pairs.positives.into());
        let weights = Tensor::from_vec([pairs.weights.len(), 1], pairs.weights);
        let all = above.scale(1.0 / self.temperature).softplus() * tape.constant(weights);
        all.sum().scale(1.0 / n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use autograd::{Relevance, Tape};
    use engine::Engine;

    const LOSS: LambdaMrr = LambdaMrr { temperature: 1.0, cut: 5 };

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    /// The positive has rank 3 of 5: its pairs weigh |1/3 − 1/r| for r of 1, 2, 4, 5.
    #[test]
    fn a_pair_weighs_what_its_swap_is_worth() {
        let s = [0.1f32, 0.9, 0.5, -0.3, 0.7];
        let (loss, grad) = run(&LOSS, &s, &[2], None);
        let ranks = [4.0, 1.0, 3.0, 5.0, 2.0];
        let mut want = [0.0; 5];
        let mut sum = 0.0;
        for n in [0, 1, 3, 4] {
            let (w, z) = (f64::abs(1.0 / 3.0 - 1.0 / ranks[n]) / 4.0, f64::from(s[n] - s[2]));
            sum += w * softplus(z);
            want[n] = w / (1.0 + (-z).exp());
            want[2] -= want[n];
        }
        assert!((loss - sum).abs() < 1e-7, "{loss} is not {sum}");
        assert!(grad.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-7), "{grad:?}, {want:?}");
    }

    #[test]
    fn a_positive_beyond_the_cut_is_worth_nothing_yet() {
        // Two hits above it, and a cut of two: the pairs weigh 1/1 and 1/2.
        let (loss, _) = run(&LambdaMrr { temperature: 0.5, cut: 2 }, &[0.2, 0.9, 0.6], &[0], None);
        let want = (softplus(2.0 * 0.7) + 0.5 * softplus(2.0 * 0.4)) / 2.0;
        assert!((loss - want).abs() < 1e-6, "{loss} is not {want}");
    }

    #[test]
    fn the_gradient_is_that_of_differences() {
        let s: Vec<f32> = [3, 0, 7, 5, 1, 6, 2, 4].iter().map(|&i| 0.125 * i as f32 - 0.4).collect();
        let loss = LambdaMrr { temperature: 0.25, cut: 4 };
        let (_, grad) = run(&loss, &s, &[0, 3], None);
        for c in 0..s.len() {
            let at = |h: f32| {
                let mut moved = s.clone();
                moved[c] += h;
                run(&loss, &moved, &[0, 3], None).0
            };
            // A step that no rank survives unless it is kept small against the distance of 1/8.
            let got = (at(0.03125) - at(-0.03125)) / 0.0625;
            assert!((got - grad[c]).abs() < 3e-3 * (1.0 + grad[c].abs()), "{c}: {got} for {}", grad[c]);
        }
    }

    #[test]
    fn what_is_neither_positive_nor_negative_has_no_rank() {
        let scores = vec![0.9f32, 0.5, 0.2];
        let relevance =
            Relevance { positive: [false, false, true].into(), negative: [false, true, false].into() };
        let tape = Tape::checked(&Engine::poisoned(1));
        let s = tape.leaf(Tensor::from_vec([1, 3], scores));
        let loss = LOSS.loss(s, &SetTerms { relevance, omega: None, soft: vec![] });
        let want = 0.5 * softplus(0.3);
        assert!((loss.value().item() - want).abs() < 1e-7, "ranks 1 and 2, and no third");
        assert_eq!(tape.backward_from(loss).of(s).to_f64()[0], 0.0);
    }

    #[test]
    fn a_row_without_pairs_has_loss_and_gradient_0() {
        assert_eq!(run(&LOSS, &[0.3, 0.1], &[], None), (0.0, vec![0.0; 2]));
        assert_eq!(run(&LOSS, &[0.3, 0.1], &[0, 1], None), (0.0, vec![0.0; 2]));
    }
}
