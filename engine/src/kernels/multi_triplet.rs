//! The triplet loss over the hardest positives and the hardest negatives of each row (equations:
//! `autograd/src/ops/multi_triplet.rs`). Bound by bytes: the selection reads the scores once.

use super::relevance::Relevance;
use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;

/// Rows in one parallel chunk.
const ROWS: usize = 16;
/// Stands where a row had fewer positives or negatives than wanted.
const NONE: u32 = u32::MAX;

/// What turns a row of scores into a loss.
#[derive(Clone, Debug)]
pub struct MultiTriplet {
    /// The positives and negatives of each row.
    pub relevance: Relevance,
    /// P: how many positives count, those with the lowest scores.
    pub positives: usize,
    /// K: how many negatives count, those with the highest scores.
    pub negatives: usize,
    /// γ: by how much a positive should beat a negative.
    pub margin: f64,
}

/// The losses `[n]` of scores `[n, m]`, and the columns that count: `[n, P + K]`, positives first, the hardest first.
///
/// # Panics
/// If sizes differ or the scores are no floats.
#[track_caller]
pub fn multi_triplet(engine: &Engine, s: &Tensor, loss: &MultiTriplet) -> (Tensor, Tensor) {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::multi_triplet(cuda, s, loss);
    }
    for_real!(s, forward(engine, s, loss))
}

/// The gradient of the scores from the gradient `g` of the losses and the columns that [`multi_triplet`] chose.
///
/// # Panics
/// As [`multi_triplet`].
#[track_caller]
pub fn gradient(engine: &Engine, s: &Tensor, columns: &Tensor, g: &Tensor, loss: &MultiTriplet) -> Tensor {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::multi_triplet_back(cuda, s, columns, g, loss);
    }
    for_real!(s, backward(engine, s, columns, g, loss))
}

/// The columns of the largest hardness among those that `takes` part, hardest first; of equal ones the lower column.
fn hardest<T: Real>(
    hardness: impl Fn(usize) -> T,
    takes: impl Fn(usize) -> bool,
    m: usize,
    chosen: &mut Vec<(T, u32)>,
    columns: &mut [u32],
) {
    chosen.clear();
    for column in (0..m).filter(|&c| takes(c)) {
        let (full, h) = (chosen.len() == columns.len(), hardness(column));
        if full && chosen.last().is_none_or(|last| h <= last.0) {
            continue;
        }
        if full {
            chosen.pop();
        }
        let at = chosen.partition_point(|c| c.0 >= h);
        chosen.insert(at, (h, column as u32));
    }
    columns.fill(NONE);
    columns.iter_mut().zip(chosen).for_each(|(to, c)| *to = c.1);
}

/// One negative beside one positive.
#[derive(Clone, Copy)]
struct Pair<T> {
    column: u32,
    /// ℓ = max(0, s⁻ − s⁺ + γ).
    hinge: T,
    weight: T,
}

impl MultiTriplet {
    /// Hinges and weights of the negatives against one positive; gives Σ w ℓ.
    fn weigh<T: Real>(&self, scores: &[T], positive: u32, negatives: &[u32], pairs: &mut Vec<Pair<T>>) -> T {
        pairs.clear();
        let mut largest = T::ZERO;
        for &column in negatives.iter().take_while(|&&c| c != NONE) {
            let distance = scores[column as usize] - scores[positive as usize] + T::of(self.margin);
            // The maximum with a NaN is its second number: a NaN must not become 0.
            let hinge = T::ZERO.max(distance);
            largest = hinge.max(largest);
            pairs.push(Pair { column, hinge, weight: T::ZERO });
        }
        let mut sum = T::ZERO;
        // A NaN is not at rest either: it must reach the loss.
        for pair in pairs.iter_mut().filter(|p| !at_rest(p.hinge)) {
            pair.weight = (pair.hinge - largest).exp();
            sum += pair.weight;
        }
        let mut total = T::ZERO;
        for pair in pairs.iter_mut().filter(|p| !at_rest(p.hinge)) {
            pair.weight = pair.weight / sum;
            total += pair.weight * pair.hinge;
        }
        total
    }
}

fn at_rest<T: Real>(hinge: T) -> bool {
    hinge <= T::ZERO
}

fn forward<T: Real>(engine: &Engine, s: &Tensor, loss: &MultiTriplet) -> (Tensor, Tensor) {
    let (n, m, data) = (s.shape().rows(), s.shape().last(), s.data::<T>());
    let width = loss.positives + loss.negatives;
    let (mut losses, mut columns) = (engine.buffer::<T>(n), engine.buffer::<u32>(n * width));
    let per = T::of(1.0 / (loss.positives * loss.negatives) as f64);
    engine.chunks2((&mut losses, ROWS), (&mut columns, ROWS * width), |chunk, losses, columns| {
        let (mut chosen, mut pairs) = (Vec::with_capacity(width), Vec::with_capacity(loss.negatives));
        for (r, (to, columns)) in losses.iter_mut().zip(columns.chunks_mut(width)).enumerate() {
            let i = chunk * ROWS + r;
            let (scores, (positive, negative)) = (&data[i * m..][..m], loss.relevance.row(i, m));
            let (low, high) = columns.split_at_mut(loss.positives);
            hardest(|c| -scores[c], |c| positive[c], m, &mut chosen, low);
            hardest(|c| scores[c], |c| negative[c] && !positive[c], m, &mut chosen, high);
            *to = T::ZERO;
            for &p in low.iter().take_while(|&&p| p != NONE) {
                *to += loss.weigh(scores, p, high, &mut pairs) * per;
            }
        }
    });
    (Tensor::from_buf([n], losses), Tensor::from_buf([n, width], columns))
}

fn backward<T: Real>(
    engine: &Engine,
    s: &Tensor,
    columns: &Tensor,
    g: &Tensor,
    loss: &MultiTriplet,
) -> Tensor {
    let (m, data, g, columns) = (s.shape().last(), s.data::<T>(), g.data::<T>(), columns.data::<u32>());
    let (width, per) =
        (loss.positives + loss.negatives, T::of(1.0 / (loss.positives * loss.negatives) as f64));
    let mut ds = engine.buffer::<T>(s.len());
    engine.chunks(&mut ds, ROWS * m, |chunk, ds| {
        let mut pairs = Vec::with_capacity(loss.negatives);
        for (r, ds) in ds.chunks_mut(m).enumerate() {
            let i = chunk * ROWS + r;
            let (low, high) = columns[i * width..][..width].split_at(loss.positives);
            ds.fill(T::ZERO);
            for &p in low.iter().take_while(|&&p| p != NONE) {
                let mean = loss.weigh(&data[i * m..][..m], p, high, &mut pairs);
                for pair in pairs.iter().filter(|pair| !at_rest(pair.hinge)) {
                    let push = g[i] * per * pair.weight * (T::ONE + pair.hinge - mean);
                    ds[pair.column as usize] += push;
                    ds[p as usize] -= push;
                }
            }
        }
    });
    Tensor::from_buf(s.shape(), ds)
}
