//! InfoNCE (van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018,
//! eq. 4), with masked, weighted and shifted columns.
//!
//! ```text
//! ℓ_i = log Σ_j k_ij ω_ij exp(s_ij/τ + β_ij) − (s_ic/τ + β_ic)        c: the column of the positive of i
//! ```
//! With a distribution t in the place of the target: ℓ_i = log Z_i − Σ_j t_ij z_ij.
//!
//! Average top-k (Fan, Lyu, Ying, Hu, "Learning with average top-k loss", NeurIPS 2017, eq. 3): the mean is over the k
//! rows that cost the most, and the others wait until they do.
//!
//! Symmetric: half of it, and half of the same read the other way, in which the label of row i chooses among
//! the queries, s_i'c for all rows i' that keep the pair (Radford et al., CLIP, 2021, figure 3).

use super::{Objective, Outcome, Terms};
use autograd::{SoftmaxLoss, Tape, Target, Var};
use engine::{Engine, Tensor};
use std::sync::Arc;

/// InfoNCE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfoNce {
    /// τ.
    pub temperature: f64,
    /// Whether labels choose among queries, too.
    pub symmetric: bool,
    /// The share of the rows that count: those that cost the most; 1 for all.
    pub top_rows: f64,
}

impl InfoNce {
    fn kernel(&self, terms: &Terms) -> SoftmaxLoss {
        let hard = || Target::Column(terms.targets.clone());
        SoftmaxLoss {
            scale: 1.0 / self.temperature,
            keep: Some(terms.keep.clone()),
            omega: terms.weight.clone(),
            beta: terms.shift.clone(),
            target: terms.soft.clone().map_or_else(hard, Target::Distribution),
        }
    }
    /// The mean of row losses, over those that count.
    fn mean<'t>(&self, rows: Var<'t>, terms: &Terms) -> Var<'t> {
        let n = terms.targets.len();
        let k = (self.top_rows * n as f64).ceil() as usize;
        if k >= n {
            return terms.mean(rows);
        }
        let weights = terms.row_weight.clone().unwrap_or_else(|| vec![1.0; n]);
        let cost: Vec<f64> =
            rows.value().to_f64().iter().zip(&weights).map(|(l, &w)| l * f64::from(w)).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| cost[b].total_cmp(&cost[a]).then(a.cmp(&b)));
        let mut kept = vec![0.0; n];
        order[..k].iter().for_each(|&i| kept[i] = weights[i]);
        Terms { row_weight: Some(kept), ..terms.clone() }.mean(rows)
    }
}

impl Objective for InfoNce {
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let forward = self.mean(scores.softmax_loss(self.kernel(terms)), terms);
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
        (forward + self.mean(reversed(scores, &terms.targets).softmax_loss(kernel), terms)).scale(0.5)
    }
    /// Of queries against labels, whether symmetric or not.
    fn outcome(&self, engine: &Engine, scores: &Tensor, terms: &Terms) -> Option<Outcome> {
        let tape = Tape::inference(engine);
        let losses = tape.constant(scores.clone()).softmax_loss(self.kernel(terms)).value();
        let width = scores.shape().last();
        let mut probabilities = vec![0.0; scores.len()];
        for (i, row) in probabilities.chunks_exact_mut(width.max(1)).enumerate() {
            let target = terms.targets[i] as usize;
            let at = |j: usize| i * width + j;
            let beta = |j| terms.shift.as_ref().map_or(0.0, |beta| beta.data::<f32>()[at(j)]);
            let omega = |j| terms.weight.as_ref().map_or(1.0, |omega| omega.data::<f32>()[at(j)]);
            let logit = |j| scores.data::<f32>()[at(j)] / self.temperature as f32 + beta(j);
            let counts = |&j: &usize| (terms.keep[at(j)] || j == target) && omega(j) > 0.0;
            let most = (0..width).filter(counts).map(logit).fold(f32::NEG_INFINITY, f32::max);
            (0..width).filter(counts).for_each(|j| row[j] = omega(j) * (logit(j) - most).exp());
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= total);
        }
        Some(Outcome { losses: losses.data::<f32>().to_vec(), probabilities })
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
    const PLAIN: InfoNce = InfoNce { temperature: 0.5, symmetric: false, top_rows: 1.0 };

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
    fn a_distribution_takes_the_place_of_the_target() {
        let row = |z: [f64; 3], t: [f64; 3]| {
            z.iter().map(|z| z.exp()).sum::<f64>().ln() - z.iter().zip(t).map(|(z, t)| z * t).sum::<f64>()
        };
        let t = [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]];
        let want = (row([1.0, 0.2, -0.4], t[0]) + row([0.6, 0.8, 0.0], t[1])) / 2.0;
        let soft = Tensor::from_vec([2, 3], t.concat().iter().map(|&t| t as f32).collect());
        close(loss(PLAIN, &Terms { soft: Some(soft), ..terms(&[true; 6]) }).0, want);
    }

    #[test]
    fn the_rows_that_cost_the_most_count() {
        let row = |z: [f64; 3], c: usize| z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[c];
        let (a, b) = (row([1.0, 0.2, -0.4], 0), row([0.6, 0.8, 0.0], 1));
        assert!(b > a);
        let half = InfoNce { top_rows: 0.5, ..PLAIN };
        let (value, grad) = loss(half, &terms(&[true; 6]));
        close(value, b);
        assert!(grad[..3] == [0.0; 3] && grad[4] < 0.0);
        let weighted = Terms { row_weight: Some(vec![3.0, 1.0]), ..terms(&[true; 6]) };
        close(loss(half, &weighted).0, a);
        close(loss(InfoNce { top_rows: 0.6, ..PLAIN }, &terms(&[true; 6])).0, (a + b) / 2.0);
    }

    #[test]
    fn the_outcome_is_loss_and_probabilities_of_each_row() {
        let keep = [true, false, true, true, true, true];
        let weight = Some(Tensor::from_vec([2, 3], vec![1.0f32, 1.0, 2.0, 1.0, 1.0, 1.0]));
        let terms = Terms { weight, ..terms(&keep) };
        let scores = Tensor::from_vec([2, 3], SCORES.to_vec());
        let found = PLAIN.outcome(&Engine::new(1), &scores, &terms).expect("rows have losses");
        let z = (1.0f64).exp() + 2.0 * (-0.4f64).exp();
        close(f64::from(found.losses[0]), z.ln() - 1.0);
        close(f64::from(found.probabilities[0]), (1.0f64).exp() / z);
        assert_eq!(found.probabilities[1], 0.0);
        close(f64::from(found.probabilities[2]), 2.0 * (-0.4f64).exp() / z);
        close(f64::from(found.probabilities[3..].iter().sum::<f32>()), 1.0);
        let mean = found.losses.iter().map(|&l| f64::from(l)).sum::<f64>() / 2.0;
        close(mean, loss(PLAIN, &terms).0);
    }

    #[test]
    fn hardness_is_of_the_hardest_that_counts_and_of_rows_that_have_one() {
        // Targets are columns 0 and 1 of the two rows; by hand.
        let found = |keep: [bool; 6]| terms(&keep).hardness(&[0.5, -0.25, 0.75, 0.1, 0.2, 0.3]);
        let (t, f) = (true, false);
        let targets = f64::from(0.5f32 + 0.2) / 2.0;
        let all = found([t, t, t, t, t, t]).expect("rows have negatives");
        assert!((all.0 - targets).abs() < 1e-6 && (all.1 - (0.75 + 0.3) / 2.0).abs() < 1e-6, "{all:?}");
        let masked = found([t, t, f, t, t, t]).expect("rows have negatives");
        assert!((masked.1 - (-0.25 + 0.3) / 2.0).abs() < 1e-6, "{masked:?}");
        let one = found([t, f, f, t, t, t]).expect("a row has negatives");
        assert!((one.0 - 0.2).abs() < 1e-6 && (one.1 - 0.3).abs() < 1e-6, "{one:?}");
        assert_eq!(found([t, f, f, f, t, f]), None);
    }

    #[test]
    fn rows_that_share_a_label_do_not_compete_for_it() {
        let shared = Terms::masked(Arc::from([1, 1]), Arc::from([true; 6]));
        let mask = reversed_mask(&shared, 3);
        assert_eq!(mask[..], [false; 4]);
    }
}
