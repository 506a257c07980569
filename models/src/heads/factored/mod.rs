//! Exact gradient descent for all labels that touches few of them: the factored update of Vincent, de Brébisson &
//! Bouthillier ("Efficient exact gradient update for training deep networks with very large sparse targets", NIPS
//! 2015), for a loss that depends on all outputs through their sum and their sum of squares alone ([`ZLoss`]).
//!
//! ```text
//! X [n, d] embeddings in rows, W [L, d] label weights, O = X Wᵀ           L = (1/n) Σ_i ℓ(o_ic, s_i, q_i)
//! W = V U + 1 ωᵀ      V [L, d], U [d, d], ω [d]           kept besides: U⁻ᵀ,  Q = WᵀW,  w̄ = Wᵀ1
//!
//! forward    A = X Q      q_i = a_i·x_i      s_i = x_i·w̄      o_il = v_l·(U x_i) + ω·x_i for the labels that matter
//! gradient   ∂L/∂O = 2 Γ_q O + γ_s 1ᵀ + Y         Y [n, L] sparse;  Γ = diag γ_q;  ȳ the sums of the rows of Y
//!            Z = Y V U + ȳ ωᵀ + γ_s w̄ᵀ             X̄ = 2 Γ A + Z
//! update     U  ← U (I − 2η XᵀΓX)                  U⁻ᵀ by Woodbury, or by inversion where n > d
//!            ω  ← ω − η Xᵀ(2γ_q ∘ (Xω) + γ_s)
//!            V  ← V − η Yᵀ X U⁻¹                   the rows of labels in Y alone; the new U
//!            Q  ← Q + XᵀT + TᵀX,  T = −η X̄ + ½η² (∂L/∂O)(∂L/∂O)ᵀ X
//!            w̄  ← w̄ − η Xᵀ(2γ_q ∘ (Xw̄) + ȳ + L γ_s)
//! ```
//! All right sides are of the old values, but for the U of V's. This is gradient descent on W to rounding: a step takes
//! O(d²(n + r)) for r labels that matter, whatever L is. Of the paper's step this one avoids all that grows with n²
//! where n > d, by multiplying d × d matrices first.
//!
//! What plays no part in a row (`left_out`) is taken out of s, q and D exactly: its output gets the gradient
//! −(2γ_q o + γ_s) in Y, so that nothing is left of what the other terms give it. The paper has no such labels.
//!
//! **Pitfalls.** Momentum, Adam and clipping by rows break the factors: plain descent alone will do. U drifts towards a
//! singular one, since each step contracts it along its queries, and V would have to make up for that with numbers of
//! any size, of f32. So a bound in each step keeps the singular values of U within 1/(2√d) and 2√d, and every
//! [`CHECK_EVERY`] steps two Cholesky factorisations say whether they lie in [1/2, 2]; where not, V takes U in
//! (V ← V U + 1 ωᵀ, U ← I). The paper moves single singular values; a whole fold needs no decomposition, and U has
//! further to go until the next. A fold takes O(L d²), but γ_q has a factor of 1/L, so that at one rate folds come
//! every O(L) steps. Q and w̄ are then made anew from V, and every max(1000, L) steps in any case. The order of the
//! updates matters; q/D − μ² cancels, so Q, s and q are f64; answers still need W; and scores are no probabilities.

mod dense;
mod lesson;
#[cfg(test)]
mod tests;

use super::ZLoss;
use autograd::{RowGrad, TableOptimizer};
use engine::kernels::bce::Truth;
use engine::{Buf, Engine, Factor, Mat, Table, Tensor, gemm};
use lesson::Lesson;
pub use lesson::labels_in;

/// Steps between two looks at the singular values of U.
pub const CHECK_EVERY: u32 = 100;
/// Steps after which Q and w̄ are made anew at the earliest, whatever U is.
const EXACT_EVERY: usize = 1000;
/// Rows of the table that are read at once.
const ROWS: usize = 4096;
/// What ‖U‖² or ‖U⁻¹‖² may be, of their d at the start.
const NORM_MOST: f64 = 4.0;

/// Descent on a table of label weights through its factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factored {
    /// What is minimised.
    pub loss: ZLoss,
    /// Steps between two looks at U: [`CHECK_EVERY`].
    pub check_every: u32,
}

/// What is kept beside V: `3·d² + 2·d` numbers of f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    width: usize,
    labels: usize,
    u: Vec<f64>,
    omega: Vec<f64>,
    /// U⁻ᵀ.
    inverse: Vec<f64>,
    /// Q.
    gram: Vec<f64>,
    /// w̄.
    sum: Vec<f64>,
}

impl Factored {
    /// One step: moves V, the table, and its factors, and gives the loss before it and X̄ `[n, d]`. None, and nothing
    /// has moved, if a number is not finite. What the step reads and writes of the table are the rows of labels in
    /// `truth`, but where U is folded. Soft targets are not read.
    ///
    /// # Panics
    /// If sizes differ, or the optimizer is no plain descent: it must move rows by −rate times their gradient.
    pub fn step(
        &self,
        engine: &Engine,
        (table, factors): (&mut Table, &mut Factors),
        optimizer: &mut dyn TableOptimizer,
        x: &Tensor,
        truth: Truth<'_>,
        rate: f32,
    ) -> Option<(f64, Tensor)> {
        let (n, width) = (x.shape().dim(0), factors.width);
        assert_eq!((table.rows(), table.width()), (factors.labels, width), "factors of another table");
        let labels = labels_in(truth);
        let rows = widened(engine, table.gather(engine, &labels).data());
        let lesson =
            Lesson::of(engine, factors, self.loss, widened(engine, x.data()), (&labels, &rows), truth);
        let mut dx = engine.buffer::<f32>(n * width);
        dx.iter_mut().zip(&*lesson.dx).for_each(|(to, &from)| *to = from as f32);
        if !(lesson.loss.is_finite() && dx.iter().all(|x| x.is_finite())) {
            return None;
        }
        let mut folds = !factors.update(engine, &lesson, f64::from(rate));
        if folds {
            factors.fold(engine, table);
        }
        let mut values = engine.buffer::<f32>(labels.len() * width);
        let of_rows = factors.gradient(engine, &lesson);
        values.iter_mut().zip(&*of_rows).for_each(|(to, &from)| *to = from as f32);
        let values = Tensor::from_buf([labels.len(), width], values);
        let grad = RowGrad { rows: labels, values, table: [table.rows(), width].into() };
        optimizer.step(engine, table, &grad, rate);
        let steps = optimizer.steps();
        if steps.is_multiple_of(self.check_every) && (factors.is_due(steps) || !factors.is_in_range(engine)) {
            factors.fold(engine, table);
            folds = true;
        }
        if folds {
            factors.count(engine, table);
        }
        Some((lesson.loss, Tensor::from_buf([n, width], dx)))
    }
}

impl Factors {
    /// Those of a table that holds W itself.
    pub fn new(engine: &Engine, table: &Table) -> Factors {
        let (labels, width) = (table.rows(), table.width());
        let zeros = |n: usize| vec![0.0; n];
        let mut factors = Factors {
            width,
            labels,
            u: identity(width),
            omega: zeros(width),
            inverse: identity(width),
            gram: zeros(width * width),
            sum: zeros(width),
        };
        factors.count(engine, table);
        factors
    }
    /// What W is of the table.
    pub fn factor(&self) -> Factor<'_> {
        Factor { u: &self.u, omega: &self.omega }
    }
    /// All numbers: U and ω, as [`Factor`] has them, then the rest.
    pub fn state(&self) -> Vec<f64> {
        [&*self.u, &self.omega, &self.inverse, &self.gram, &self.sum].concat()
    }
    /// What [`Factors::state`] gave, of a table of this shape; none if it is of another.
    pub fn restored([labels, width]: [usize; 2], state: &[f64]) -> Option<Factors> {
        if state.len() != Factors::numbers(width) {
            return None;
        }
        let mut rest = state;
        let mut take = |n: usize| {
            let (taken, left) = rest.split_at(n);
            rest = left;
            taken.to_vec()
        };
        let (u, omega) = (take(width * width), take(width));
        let (inverse, gram, sum) = (take(width * width), take(width * width), take(width));
        Some(Factors { width, labels, u, omega, inverse, gram, sum })
    }
    /// How many there are for a table of this width.
    pub fn numbers(width: usize) -> usize {
        3 * width * width + 2 * width
    }
    /// Bytes that a step of `n` rows over `touched` labels takes at most, folding included.
    pub fn step_bytes(labels: usize, width: usize, n: usize, touched: usize) -> usize {
        let (square, small) = (width * width, n.min(width));
        let lesson = 8 * (9 * n * width + 5 * square + 2 * small * small) + 28 * touched * width;
        let folding = 12 * ROWS.min(labels) * width + 8 * square;
        lesson + folding
    }
    /// All but V; false where U⁻ᵀ cannot be kept, and V must take U in before it moves.
    fn update(&mut self, engine: &Engine, lesson: &Lesson, rate: f64) -> bool {
        let (n, d) = (lesson.n, self.width);
        let Lesson { x, weighted, gamma_s, .. } = lesson;
        let mut t = lesson.curvature(engine, self);
        t.iter_mut().zip(&*lesson.dx).for_each(|(t, dx)| *t = 0.5 * rate * rate * *t - rate * dx);
        // U H of the old U.
        let mut moved = engine.buffer::<f64>(n * d);
        gemm(engine, 1.0, rows_of(x, d), rows_of(&self.u, d).t(), 0.0, &mut moved);
        gemm(engine, -2.0 * rate, rows_of(&moved, d).t(), rows_of(weighted, d), 1.0, &mut self.u);
        let by = |of: &[f64], i: usize, more: f64| 2.0 * lesson.gamma_q[i] * dot(lesson.row(i), of) + more;
        let [of_omega, of_sum]: [Vec<f64>; 2] = [
            (0..n).map(|i| by(&self.omega, i, gamma_s[i])).collect(),
            (0..n).map(|i| by(&self.sum, i, lesson.y_sums[i] + self.labels as f64 * gamma_s[i])).collect(),
        ];
        for i in 0..n {
            add(&mut self.omega, -rate * of_omega[i], lesson.row(i));
            add(&mut self.sum, -rate * of_sum[i], lesson.row(i));
        }
        let mut half = engine.buffer::<f64>(d * d);
        gemm(engine, 1.0, rows_of(x, d).t(), rows_of(&t, d), 0.0, &mut half);
        for i in 0..d {
            for j in 0..d {
                self.gram[i * d + j] += half[i * d + j] + half[j * d + i];
            }
        }
        let norm = |of: &[f64]| of.iter().map(|x| x * x).sum::<f64>();
        let most = NORM_MOST * d as f64;
        self.invert(engine, lesson, rate) && norm(&self.u) <= most && norm(&self.inverse) <= most
    }
    /// U⁻ᵀ ← U⁻ᵀ (I − 2η XᵀΓX)⁻¹; false where that is nearly singular.
    ///
    /// (I − 2η XᵀΓX)⁻¹ = I + 2η Xᵀ Γ S⁻¹ X,  S = I − 2η X Xᵀ Γ
    fn invert(&mut self, engine: &Engine, lesson: &Lesson, rate: f64) -> bool {
        let (n, d) = (lesson.n, self.width);
        let Lesson { x, weighted, .. } = lesson;
        if n > d {
            let mut step = identity(d);
            gemm(engine, -2.0 * rate, rows_of(x, d).t(), rows_of(weighted, d), 1.0, &mut step);
            let found = dense::invert(engine, &mut step, d);
            let old = engine.copied(&self.inverse);
            gemm(engine, 1.0, rows_of(&old, d), rows_of(&step, d), 0.0, &mut self.inverse);
            return found;
        }
        let mut s = identity(n);
        gemm(engine, -2.0 * rate, rows_of(x, d), rows_of(weighted, d).t(), 1.0, &mut s);
        if !dense::invert(engine, &mut s, n) {
            return false;
        }
        let [mut solved, mut before] = [(); 2].map(|()| engine.buffer::<f64>(n * d));
        gemm(engine, 1.0, Mat::new(&s, n, n), rows_of(x, d), 0.0, &mut solved);
        solved.chunks_exact_mut(d).zip(&lesson.gamma_q).for_each(|(row, gamma)| {
            row.iter_mut().for_each(|x| *x *= gamma);
        });
        gemm(engine, 1.0, rows_of(x, d), rows_of(&self.inverse, d).t(), 0.0, &mut before);
        gemm(engine, 2.0 * rate, rows_of(&before, d).t(), rows_of(&solved, d), 1.0, &mut self.inverse);
        true
    }
    /// YᵀX U⁻¹: the gradient of the rows of V that are touched, `[r, d]`.
    fn gradient(&self, engine: &Engine, lesson: &Lesson) -> Buf<f64> {
        let d = self.width;
        let mut values = engine.buffer::<f64>(lesson.pulled.len());
        gemm(engine, 1.0, rows_of(&lesson.pulled, d), rows_of(&self.inverse, d).t(), 0.0, &mut values);
        values
    }
    /// V ← V U + 1 ωᵀ, U ← I, ω ← 0.
    fn fold(&mut self, engine: &Engine, table: &mut Table) {
        self.factor().multiply(engine, table.data_mut());
        (self.u, self.inverse) = (identity(self.width), identity(self.width));
        self.omega.fill(0.0);
    }
    /// Q and w̄ of a table that holds W itself.
    fn count(&mut self, engine: &Engine, table: &Table) {
        let d = self.width;
        self.gram.fill(0.0);
        self.sum.fill(0.0);
        for rows in table.data().chunks(ROWS * d) {
            let rows = widened(engine, rows);
            let part = rows_of(&rows, d);
            gemm(engine, 1.0, part.t(), part, 1.0, &mut self.gram);
            rows.chunks_exact(d).for_each(|row| add(&mut self.sum, 1.0, row));
        }
    }
    /// Whether Q is to be made anew, after so many steps.
    fn is_due(&self, steps: u32) -> bool {
        let every = self.labels.max(EXACT_EVERY).next_multiple_of(CHECK_EVERY as usize);
        (steps as usize).is_multiple_of(every)
    }
    /// Whether all singular values of U lie in [1/2, 2]: UᵀU − I/4 and 4·I − UᵀU are positive definite.
    fn is_in_range(&self, engine: &Engine) -> bool {
        let d = self.width;
        let u = rows_of(&self.u, d);
        let mut squares = engine.buffer::<f64>(d * d);
        gemm(engine, 1.0, u.t(), u, 0.0, &mut squares);
        dense::is_definite(engine, &squares, d, 1.0, -0.25)
            && dense::is_definite(engine, &squares, d, -1.0, 4.0)
    }
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect()
}

fn widened(engine: &Engine, values: &[f32]) -> Buf<f64> {
    let mut wide = engine.buffer::<f64>(values.len());
    wide.iter_mut().zip(values).for_each(|(to, &from)| *to = f64::from(from));
    wide
}

/// A matrix of rows of `d` numbers.
fn rows_of(values: &[f64], d: usize) -> Mat<'_, f64> {
    Mat::new(values, values.len() / d, d)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// to ← to + c·x.
fn add(to: &mut [f64], c: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += c * x);
}
