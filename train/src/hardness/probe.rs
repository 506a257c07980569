//! A linear probe on frozen embeddings: which channels tell the right label from the others.
//!
//! ```text
//! φ_o = d · x_q ∘ z_o                       an option o of a query, [d]; d makes its numbers about 1
//! p(o) = softmax_o(w·φ_o)
//! w = argmin  ½|w|² + Σ_pairs −ln p(right)          ∇ = w + Σ_pairs (Σ_o p(o) φ_o − φ_right)
//! ```
//! Strictly convex; found by steps down the gradient, each as long as the last two gradients advise (Barzilai &
//! Borwein 1988) and halved until it helps.

use samplers::{Items, Matrix};

/// Steps at most.
const STEPS: usize = 300;
/// The share of the first gradient's length at which it is over.
const SMALL: f64 = 1e-5;
/// The share of what a step promises that it must keep (Armijo).
const KEPT: f64 = 1e-4;

/// A choice: a query and its options, the right one first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Task {
    pub(super) query: u32,
    pub(super) options: Vec<u32>,
}

impl Task {
    /// φ of all options, `[options, d]`.
    fn features(&self, queries: Matrix<'_>, labels: Items<'_>) -> Vec<f64> {
        let (query, d) = (queries.row(self.query as usize), queries.width as f64);
        let of = |&label: &u32| {
            let label = labels.row(label as usize);
            query.iter().zip(&*label).map(|(x, z)| d * f64::from(*x) * f64::from(*z)).collect::<Vec<f64>>()
        };
        self.options.iter().flat_map(of).collect()
    }
}

/// What it learned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe(Vec<f64>);

impl Probe {
    pub(super) fn fit(tasks: &[&Task], queries: Matrix<'_>, labels: Items<'_>) -> Probe {
        let features: Vec<Vec<f64>> = tasks.iter().map(|task| task.features(queries, labels)).collect();
        Probe(minimise(&features, queries.width))
    }
    /// −ln p(right).
    pub(super) fn nats(&self, task: &Task, queries: Matrix<'_>, labels: Items<'_>) -> f64 {
        surprise(&scores(&task.features(queries, labels), &self.0))
    }
}

fn scores(features: &[f64], w: &[f64]) -> Vec<f64> {
    features.chunks_exact(w.len()).map(|option| dot(option, w)).collect()
}

/// −ln of the share of the first.
fn surprise(scores: &[f64]) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + scores.iter().map(|s| (s - most).exp()).sum::<f64>().ln() - scores[0]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The w of the equation over tasks whose options are rows of `width` numbers, the right one first.
fn minimise(tasks: &[Vec<f64>], width: usize) -> Vec<f64> {
    let mut w = vec![0.0; width];
    let (mut value, mut gradient) = objective(tasks, &w);
    let first = dot(&gradient, &gradient);
    let mut length = 1.0 / (1.0 + tasks.iter().map(|task| dot(task, task)).sum::<f64>());
    for _ in 0..STEPS {
        let norm = dot(&gradient, &gradient);
        if norm <= SMALL * SMALL * first {
            break;
        }
        let (next, (lower, turned)) = loop {
            let next: Vec<f64> = w.iter().zip(&gradient).map(|(w, g)| w - length * g).collect();
            let found = objective(tasks, &next);
            // A step that is too short to change a number of 64 bits ends it, too.
            if found.0 <= value - KEPT * length * norm || length * norm < 1e-300 {
                break (next, found);
            }
            length /= 2.0;
        };
        let bend: f64 = turned.iter().zip(&gradient).map(|(new, old)| -(new - old) * old).sum();
        // s·s / s·y with s = −length·gradient and y the difference of the gradients; convex, so s·y > 0.
        length = if bend > 0.0 { length * norm / bend } else { length };
        (w, value, gradient) = (next, lower, turned);
    }
    w
}

/// The value to minimise, and its gradient.
fn objective(tasks: &[Vec<f64>], w: &[f64]) -> (f64, Vec<f64>) {
    let (mut value, mut gradient) = (dot(w, w) / 2.0, w.to_vec());
    for task in tasks {
        let scores = scores(task, w);
        let loss = surprise(&scores);
        value += loss;
        for (o, (option, score)) in task.chunks_exact(w.len()).zip(&scores).enumerate() {
            // ln p(o) = score(o) − score(right) − loss.
            let p = (score - scores[0] - loss).exp() - f64::from(u8::from(o == 0));
            gradient.iter_mut().zip(option).for_each(|(g, x)| *g += p * x);
        }
    }
    (value, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pair, two options, one channel: w = σ(−w), which is 0.401 058 138 (the fixed point, by hand).
    #[test]
    fn one_pair_has_the_weight_of_the_fixed_point() {
        let w = minimise(&[vec![1.0, 0.0]], 1);
        assert!((w[0] - 0.401_058_138).abs() < 1e-5, "{w:?}");
        assert!((surprise(&[w[0], 0.0]) - 0.512_591_0).abs() < 1e-5);
        assert!((surprise(&[0.0; 8]) - 8f64.ln()).abs() < 1e-12);
    }

    /// Six choices of three options, four channels; w and −ln p by scipy's BFGS (`tests/golden/probe.py`).
    #[test]
    fn a_probe_equals_that_of_scipy() {
        let phi = |i: usize, o: usize, j: usize| {
            2.0 * (1.3 * i as f64 + 2.1 * o as f64 + 0.7 * (j * (o + 1)) as f64).sin()
        };
        let task = |i| (0..3).flat_map(|o| (0..4).map(move |j| phi(i, o, j))).collect::<Vec<f64>>();
        let tasks: Vec<Vec<f64>> = (0..6).map(task).collect();
        let w = minimise(&tasks, 4);
        let nats: Vec<f64> = tasks.iter().map(|task| surprise(&scores(task, &w))).collect();
        let near = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&w, &[0.030_706, 0.151_991, 0.087_140, 0.169_091]), "{w:?}");
        let want = [0.609_766, 0.884_115, 1.602_737, 1.621_534, 0.905_634, 0.607_823];
        assert!(near(&nats, &want), "{nats:?}");
        assert!((objective(&tasks, &w).0 - 6.261_724).abs() < 1e-5);
    }

    #[test]
    fn features_are_products_of_the_channels() {
        let (queries, labels) = ([1.0f32, 2.0, 3.0, 4.0], [1.0f32, 0.5, -1.0, 2.0]);
        let (queries, labels) = (Matrix::new(&queries, 2), Matrix::new(&labels, 2));
        let task = Task { query: 1, options: vec![1, 0] };
        assert_eq!(task.features(queries, Items::F32(labels)), [-6.0, 16.0, 6.0, 4.0]);
    }
}
