//! What each pair cost, epoch by epoch: pairs far off the others weigh less (after the idea of DBPM: Zhang, Liu, Zhang,
//! Gao, "Dynamic bad pair mining in contrastive learning of time series", 2023).
//!
//! ```text
//! m_i = Σ_t (1 + t) ℓ_i,t / Σ_t (1 + t)       over the epochs t that had the pair; μ, σ over all pairs
//! ρ_i = exp(−½ ((m_i − μ)/σ)²)               where m_i ≤ μ − easy·σ  or  m_i ≥ μ + hard·σ; 1 elsewhere
//! ```
//! The published code compares means over epochs with a bound and then puts the raw loss of the last epoch into the
//! density, which is on another scale and may exceed 1; here both are m, and a pair that an epoch left out is none the
//! worse for it. Weights are those of the epoch's start. A pair of which nothing is known weighs 1.

use super::State;
use crate::config::MemoryConfig;
use engine::{Result, Tensor};

/// Losses of every training query.
pub(crate) struct History {
    easy: f64,
    hard: f64,
    warmup: u32,
    /// Σ (1 + t) ℓ of each query.
    sums: Vec<f32>,
    /// Σ (1 + t) over the epochs that are in it.
    shares: Vec<f32>,
    /// ρ, in force in this epoch.
    weights: Vec<f32>,
}

impl History {
    pub(crate) fn new(config: &MemoryConfig, queries: usize) -> History {
        History {
            easy: config.easy,
            hard: config.hard,
            warmup: config.warmup_epochs.max(1),
            sums: vec![0.0; queries],
            shares: vec![0.0; queries],
            weights: vec![1.0; queries],
        }
    }
    /// ρ of training queries; none where all of them weigh 1.
    pub(crate) fn weights(&self, queries: &[u32]) -> Option<Vec<f32>> {
        let weights: Vec<f32> = queries.iter().map(|&query| self.weights[query as usize]).collect();
        weights.iter().any(|&w| w != 1.0).then_some(weights)
    }
    pub(super) fn observe(&mut self, epoch: u32, queries: &[u32], losses: &[f32]) {
        let weight = (1 + epoch) as f32;
        for (&query, &loss) in queries.iter().zip(losses) {
            self.sums[query as usize] += weight * loss;
            self.shares[query as usize] += weight;
        }
    }
    pub(super) fn begin_epoch(&mut self, epoch: u32) {
        if epoch < self.warmup {
            return;
        }
        let mean = |i: usize| f64::from(self.sums[i]) / f64::from(self.shares[i]);
        let known: Vec<usize> = (0..self.sums.len()).filter(|&i| self.shares[i] > 0.0).collect();
        let n = known.len().max(1) as f64;
        let mu = known.iter().map(|&i| mean(i)).sum::<f64>() / n;
        let sigma = (known.iter().map(|&i| (mean(i) - mu).powi(2)).sum::<f64>() / n).sqrt();
        let weight = |i: usize| {
            let off = (mean(i) - mu) / sigma;
            let (easy, hard) = (self.easy > 0.0 && off <= -self.easy, self.hard > 0.0 && off >= self.hard);
            if easy || hard { (-0.5 * off * off).exp() as f32 } else { 1.0 }
        };
        let weights: Vec<(usize, f32)> = match sigma > 0.0 {
            true => known.iter().map(|&i| (i, weight(i))).collect(),
            false => vec![],
        };
        self.weights.fill(1.0);
        weights.into_iter().for_each(|(i, weight)| self.weights[i] = weight);
    }
    pub(super) fn state(&self) -> Vec<(String, Tensor)> {
        let n = self.sums.len();
        vec![
            ("history.sums".into(), Tensor::from_vec([n], self.sums.clone())),
            ("history.shares".into(), Tensor::from_vec([n], self.shares.clone())),
            ("history.weights".into(), Tensor::from_vec([n], self.weights.clone())),
        ]
    }
    pub(super) fn restore(&mut self, state: &mut State) -> Result<()> {
        let n = self.sums.len();
        self.sums = state.numbers("history.sums", n)?;
        self.shares = state.numbers("history.shares", n)?;
        self.weights = state.numbers("history.weights", n)?;
        Ok(())
    }
    pub(super) fn bytes(&self) -> usize {
        12 * self.sums.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(easy: f64, hard: f64) -> History {
        History::new(&MemoryConfig { easy, hard, warmup_epochs: 2, ..MemoryConfig::default() }, 6)
    }

    #[test]
    fn pairs_far_off_weigh_less_once_the_warm_up_is_over() {
        let mut history = history(1.0, 1.5);
        // Two of four epochs: later ones count more. Query 5 was never seen.
        history.observe(0, &[0, 1, 2, 3, 4], &[2.0, 2.0, 2.0, 2.0, 0.0]);
        history.begin_epoch(1);
        assert_eq!(history.weights, [1.0; 6], "the warm-up");
        history.observe(1, &[4, 3, 2, 1, 0], &[0.0, 9.0, 2.0, 2.0, 2.0]);
        history.begin_epoch(2);
        // m = (ℓ₀ + 2·ℓ₁)/3
        let m = [2.0, 2.0, 2.0, 20.0 / 3.0, 0.0f64];
        let mu = m.iter().sum::<f64>() / 5.0;
        let sigma = (m.iter().map(|m| (m - mu).powi(2)).sum::<f64>() / 5.0).sqrt();
        let density = |m: f64| (-0.5 * ((m - mu) / sigma).powi(2)).exp();
        for query in [0, 1, 2, 5] {
            assert_eq!(history.weights[query], 1.0);
        }
        assert!(
            (f64::from(history.weights[3]) - density(20.0 / 3.0)).abs() < 1e-6 && history.weights[3] < 0.2
        );
        assert!((f64::from(history.weights[4]) - density(0.0)).abs() < 1e-6 && history.weights[4] < 0.7);
    }

    #[test]
    fn a_pair_that_an_epoch_left_out_is_none_the_worse_for_it() {
        let mut history = history(0.5, 0.5);
        history.observe(0, &[0, 1, 2, 3], &[2.0; 4]);
        history.observe(1, &[0, 1, 4], &[2.0; 3]);
        history.observe(0, &[5], &[5.0]);
        history.begin_epoch(2);
        assert!(history.weights[..5] == [1.0; 5] && history.weights[5] < 1.0, "{:?}", history.weights);
    }

    #[test]
    fn only_the_side_that_is_asked_for_is_weighed() {
        let mut history = history(0.0, 1.5);
        for epoch in 0..2 {
            history.observe(epoch, &[0, 1, 2, 3, 4, 5], &[1.0, 1.0, 1.0, 1.0, 9.0, 0.0]);
        }
        history.begin_epoch(2);
        assert!(history.weights[4] < 1.0 && history.weights[5] == 1.0);
        // Nothing stands out of losses that are all the same.
        let mut same = History::new(&MemoryConfig { hard: 0.1, ..MemoryConfig::default() }, 3);
        same.observe(0, &[0, 1, 2], &[1.0; 3]);
        same.begin_epoch(1);
        assert_eq!(same.weights, [1.0; 3]);
    }
}
