//! What a cross-encoder minimises: one number for each pair of a list, whose first pair is the right one.
//!
//! ```text
//! y [P]     the numbers of all pairs, list after list; n_i pairs in list i, c the first of them
//! softmax   ℓ_i = ln Σ_j e^{y_j} − y_c                              ∂ℓ_i/∂y_j = p_j − 1[j = c]
//! pairs     ℓ_i = 1/n_i (softplus(−y_c) + Σ_{j ≠ c} softplus(y_j))   ∂ℓ_i/∂y_j = (σ(y_j) − 1[j = c])/n_i
//! L         = Σ_i w_i ℓ_i
//! ```
//! The first is localised contrastive estimation (Gao, Dai, Callan, "Rethink training of BERT rerankers in multi-stage
//! retrieval pipeline", ECIR 2021, eq. 4), and what the ranker of AR2 learns by; the second is binary cross-entropy
//! (Nogueira, Cho, 2019, eq. 1; `BinaryCrossEntropyLoss` of sentence-transformers), after which σ(y) is a probability.
//! In both a list of one pair has neither loss nor gradient: it has no negative.

use autograd::{SoftmaxLoss, Target, Var};
use engine::Tensor;
use std::sync::Arc;

/// How the pairs of a list are held against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListLoss {
    /// The first pair of a list against the others.
    Softmax,
    /// Each pair for itself.
    Pairs,
}

impl ListLoss {
    /// L of numbers `[P]`: list i has the pairs `starts[i] .. starts[i + 1]` and weighs `weights[i]`.
    ///
    /// # Panics
    /// If a list has no pair, or lists, weights and numbers do not fit each other.
    #[track_caller]
    pub fn loss<'t>(self, numbers: Var<'t>, starts: &[u32], weights: &[f32]) -> Var<'t> {
        let pairs = numbers.shape().last();
        let lengths: Vec<usize> = starts.windows(2).map(|list| (list[1] - list[0]) as usize).collect();
        assert!(lengths.iter().all(|&n| n > 0), "ListLoss: a list has a pair at least");
        assert_eq!(lengths.len(), weights.len(), "ListLoss: a weight for each list");
        assert_eq!(
            starts.last().map(|&end| end as usize),
            Some(pairs),
            "ListLoss: lists end with the numbers"
        );
        let (losses, weights) = match self {
            ListLoss::Softmax => (of_lists(numbers, starts, &lengths), weights.to_vec()),
            ListLoss::Pairs => {
                let each = |(&n, w): (&usize, &f32)| vec![if n > 1 { w / n as f32 } else { 0.0 }; n];
                (of_pairs(numbers, starts), lengths.iter().zip(weights).flat_map(each).collect())
            }
        };
        let weights = Tensor::from_vec([weights.len()], weights);
        (losses * numbers.tape().constant(weights)).sum()
    }
}

/// The losses of lists, `[n]`. A list that is shorter than the longest has its first pair in columns that do not count.
fn of_lists<'t>(numbers: Var<'t>, starts: &[u32], lengths: &[usize]) -> Var<'t> {
    let (n, width) = (lengths.len(), lengths.iter().copied().max().unwrap_or(1));
    let places = starts.iter().zip(lengths).flat_map(|(&start, &length)| {
        (0..width).map(move |j| (start + if j < length { j as u32 } else { 0 }, j < length))
    });
    let (places, keep): (Vec<u32>, Vec<bool>) = places.unzip();
    let rows = numbers.reshape([numbers.shape().last(), 1]).gather(places.into()).reshape([n, width]);
    rows.softmax_loss(kernel(Some(keep.into()), vec![0; n]))
}

/// The losses of pairs, `[P]`: softplus(−y) = ln(e^y + e⁰) − y, softplus(y) = ln(e^y + e⁰) − 0.
fn of_pairs<'t>(numbers: Var<'t>, starts: &[u32]) -> Var<'t> {
    let pairs = numbers.shape().last();
    let zeros = numbers.tape().constant(Tensor::from_vec([pairs, 1], vec![0.0f32; pairs]));
    let mut targets = vec![1; pairs];
    starts[..starts.len() - 1].iter().for_each(|&first| targets[first as usize] = 0);
    Var::concat(&[numbers.reshape([pairs, 1]), zeros], 1).softmax_loss(kernel(None, targets))
}

fn kernel(keep: Option<Arc<[bool]>>, targets: Vec<u32>) -> SoftmaxLoss {
    SoftmaxLoss { scale: 1.0, keep, omega: None, beta: None, target: Target::Column(targets.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::Tape;
    use engine::Engine;

    fn loss(of: ListLoss, numbers: &[f32], starts: &[u32], weights: &[f32]) -> (f64, Vec<f64>) {
        let tape = Tape::new(&Engine::new(1));
        let leaf = tape.leaf(Tensor::from_vec([numbers.len()], numbers.to_vec()));
        let loss = of.loss(leaf, starts, weights);
        let value = loss.value().item();
        (value, tape.backward_from(loss).of(leaf).to_f64())
    }

    #[track_caller]
    fn close(got: &[f64], want: &[f64]) {
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?} is not {want:?}");
    }

    /// Two lists of three and two pairs and one of one, which has no negative.
    const NUMBERS: [f32; 6] = [1.0, 0.5, -2.0, -1.0, 2.0, 3.0];
    const STARTS: [u32; 4] = [0, 3, 5, 6];

    #[test]
    fn the_first_of_a_list_is_held_against_the_others() {
        let (value, grad) = loss(ListLoss::Softmax, &NUMBERS, &STARTS, &[1.0, 0.5, 1.0]);
        let [a, b, c, d, e] = [1.0f64, 0.5, -2.0, -1.0, 2.0].map(f64::exp);
        let (first, second) = (a + b + c, d + e);
        assert!((value - (first.ln() - 1.0 + 0.5 * (second.ln() + 1.0))).abs() < 1e-6, "{value}");
        close(
            &grad,
            &[a / first - 1.0, b / first, c / first, 0.5 * (d / second - 1.0), 0.5 * e / second, 0.0],
        );
    }

    #[test]
    fn each_pair_is_right_or_wrong_for_itself() {
        let (value, grad) = loss(ListLoss::Pairs, &NUMBERS, &STARTS, &[1.0, 0.5, 1.0]);
        let softplus = |x: f64| x.exp().ln_1p();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let want = (softplus(-1.0) + softplus(0.5) + softplus(-2.0)) / 3.0
            + 0.5 * (softplus(1.0) + softplus(2.0)) / 2.0;
        assert!((value - want).abs() < 1e-6, "{value} is not {want}");
        let third = |x: f64| x / 3.0;
        close(
            &grad,
            &[
                third(sigmoid(1.0) - 1.0),
                third(sigmoid(0.5)),
                third(sigmoid(-2.0)),
                0.25 * (sigmoid(-1.0) - 1.0),
                0.25 * sigmoid(2.0),
                0.0,
            ],
        );
    }

    #[test]
    fn a_list_of_one_pair_costs_nothing() {
        for of in [ListLoss::Softmax, ListLoss::Pairs] {
            assert_eq!(loss(of, &[3.0, -1.0], &[0, 1, 2], &[1.0, 1.0]), (0.0, vec![0.0, 0.0]));
        }
    }
}
