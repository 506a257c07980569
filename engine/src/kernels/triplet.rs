//! The triplet loss over the hardest negatives of each row (equations: `autograd/src/ops/triplet.rs`). Bound by bytes:
//! the selection reads the scores once.

use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Rows in one parallel chunk.
const ROWS: usize = 16;
/// Stands where a row had fewer than k negatives.
const NONE: u32 = u32::MAX;

/// What turns a row of scores into a loss.
#[derive(Clone, Debug)]
pub struct Triplet {
    /// The column of the positive: `[n]`.
    pub target: Arc<[u32]>,
    /// False where a column is no negative of the row: `[n, m]`.
    pub keep: Option<Arc<[bool]>>,
    /// How many negatives count, the hardest.
    pub k: usize,
    /// γ: by how much a positive should beat them.
    pub margin: f64,
    /// τ: how strongly the weights prefer the hardest.
    pub temperature: f64,
    /// How the negatives of a row are weighted.
    pub weighting: Weighting,
}

/// The weights w of the negatives of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weighting {
    /// All 1.
    None,
    /// Softmax of s/τ over the negatives that violate the margin.
    #[default]
    Active,
    /// Softmax of s/τ over all k, where those that do not violate the margin take part with logit 0.
    Published,
}

/// The losses `[n]` of scores `[n, m]`, and the columns of the negatives, hardest first: `[n, k]`.
///
/// # Panics
/// If sizes differ, a target is out of range, or the scores are no floats.
#[track_caller]
pub fn triplet(engine: &Engine, s: &Tensor, loss: &Triplet) -> (Tensor, Tensor) {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::triplet(cuda, s, loss);
    }
    for_real!(s, forward(engine, s, loss))
}

/// The gradient of the scores from the gradient `g` of the losses and the columns that [`triplet`] chose.
///
/// # Panics
/// As [`triplet`].
#[track_caller]
pub fn gradient(engine: &Engine, s: &Tensor, columns: &Tensor, g: &Tensor, loss: &Triplet) -> Tensor {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::triplet_back(cuda, s, columns, g, loss);
    }
    for_real!(s, backward(engine, s, columns, g, loss))
}

/// One chosen negative.
#[derive(Clone, Copy)]
struct Negative<T> {
    column: u32,
    score: T,
    /// ℓ = max(0, s⁻ − s⁺ + γ).
    hinge: T,
    weight: T,
}

impl Triplet {
    /// The k hardest negatives of row `i`; of equal ones the lower column. `hardest` is scratch.
    fn choose<T: Real>(&self, i: usize, scores: &[T], hardest: &mut Vec<(T, u32)>, columns: &mut [u32]) {
        let keep = self.keep.as_ref().map(|keep| &keep[i * scores.len()..][..scores.len()]);
        hardest.clear();
        for (column, &score) in scores.iter().enumerate() {
            let full = hardest.len() == self.k;
            let negative = column != self.target[i] as usize && keep.is_none_or(|keep| keep[column]);
            if !negative || full && hardest.last().is_none_or(|last| score <= last.0) {
                continue;
            }
            if full {
                hardest.pop();
            }
            let at = hardest.partition_point(|h| h.0 >= score);
            hardest.insert(at, (score, column as u32));
        }
        columns.fill(NONE);
        columns.iter_mut().zip(hardest).for_each(|(to, h)| *to = h.1);
    }
    /// Fills in hinges and weights of the chosen negatives of row `i`.
    fn weigh<T: Real>(&self, i: usize, scores: &[T], columns: &[u32], row: &mut Vec<Negative<T>>) {
        let positive = scores[self.target[i] as usize];
        row.clear();
        for &column in columns.iter().take_while(|&&c| c != NONE) {
            let score = scores[column as usize];
            // The maximum with a NaN is its second number: a NaN must not become 0.
            let hinge = T::ZERO.max(score - positive + T::of(self.margin));
            row.push(Negative { column, score, hinge, weight: T::ONE });
        }
        if self.weighting == Weighting::None {
            return;
        }
        // Twice: the logits, and what becomes of them.
        let per_temperature = T::of(1.0 / self.temperature);
        for n in row.iter_mut() {
            n.weight = match (n.hinge > T::ZERO, self.weighting) {
                (true, _) => n.score * per_temperature,
                (false, Weighting::Published) => T::ZERO,
                (false, _) => T::NEG_INFINITY,
            };
        }
        let largest = row.iter().fold(T::NEG_INFINITY, |m, n| n.weight.max(m));
        let mut sum = T::ZERO;
        for n in row.iter_mut() {
            n.weight = if n.weight == T::NEG_INFINITY { T::ZERO } else { (n.weight - largest).exp() };
            sum += n.weight;
        }
        if sum > T::ZERO {
            row.iter_mut().for_each(|n| n.weight = n.weight / sum);
        }
    }
}

/// Σ w ℓ.
fn total<T: Real>(row: &[Negative<T>]) -> T {
    row.iter().fold(T::ZERO, |sum, n| sum + n.weight * n.hinge)
}

fn forward<T: Real>(engine: &Engine, s: &Tensor, loss: &Triplet) -> (Tensor, Tensor) {
    let (n, m, data, k) = (s.shape().rows(), s.shape().last(), s.data::<T>(), loss.k);
    let (mut losses, mut columns) = (engine.buffer::<T>(n), engine.buffer::<u32>(n * k));
    let per = T::of(1.0 / k as f64);
    engine.chunks2(
        (&mut losses, ROWS),
        (&mut columns, ROWS * k),
        #[inline(always)]
        |chunk, losses, columns| {
            let (mut hardest, mut row) = (Vec::with_capacity(k), Vec::with_capacity(k));
            for (r, (to, columns)) in losses.iter_mut().zip(columns.chunks_mut(k)).enumerate() {
                let i = chunk * ROWS + r;
                let scores = &data[i * m..][..m];
                loss.choose(i, scores, &mut hardest, columns);
                loss.weigh(i, scores, columns, &mut row);
                *to = total(&row) * per;
            }
        },
    );
    (Tensor::from_buf([n], losses), Tensor::from_buf([n, k], columns))
}

fn backward<T: Real>(engine: &Engine, s: &Tensor, columns: &Tensor, g: &Tensor, loss: &Triplet) -> Tensor {
    let (m, data, k, g) = (s.shape().last(), s.data::<T>(), loss.k, g.data::<T>());
    let columns = columns.data::<u32>();
    // The weights move with the scores only where they are a softmax.
    let sharpness = if loss.weighting == Weighting::None { 0.0 } else { 1.0 / loss.temperature };
    let mut ds = engine.buffer::<T>(s.len());
    engine.chunks(
        &mut ds,
        ROWS * m,
        #[inline(always)]
        |chunk, ds| {
            let mut row = Vec::with_capacity(k);
            for (r, ds) in ds.chunks_mut(m).enumerate() {
                let i = chunk * ROWS + r;
                loss.weigh(i, &data[i * m..][..m], &columns[i * k..][..k], &mut row);
                let (mean, scale) = (total(&row), g[i] * T::of(1.0 / k as f64));
                ds.fill(T::ZERO);
                for n in row.iter().filter(|n| n.hinge > T::ZERO) {
                    let push = n.weight * scale;
                    ds[n.column as usize] = push + push * T::of(sharpness) * (n.hinge - mean);
                    ds[loss.target[i] as usize] -= push;
                }
            }
        },
    );
    Tensor::from_buf(s.shape(), ds)
}
