//! What a batch says of factored weights before they move: the loss, X̄ and the parts of ∂L/∂O (equations: `mod.rs`).

use super::{Factors, add, dot, rows_of};
use crate::heads::{Moments, ZLoss};
use engine::kernels::bce::Truth;
use engine::{Buf, Engine, gemm};

/// The gradient of a batch, by its parts.
pub(super) struct Lesson {
    pub(super) n: usize,
    width: usize,
    /// X `[n, d]`.
    pub(super) x: Buf<f64>,
    /// The mean of the rows' losses.
    pub(super) loss: f64,
    pub(super) gamma_q: Vec<f64>,
    pub(super) gamma_s: Vec<f64>,
    /// Γ X `[n, d]`.
    pub(super) weighted: Buf<f64>,
    /// Y: of each row the labels' places among those that are touched, and the numbers.
    y: Vec<Vec<(usize, f64)>>,
    /// ȳ.
    pub(super) y_sums: Vec<f64>,
    /// A = X Q `[n, d]`.
    a: Buf<f64>,
    /// Z `[n, d]`.
    z: Buf<f64>,
    /// X̄ `[n, d]`.
    pub(super) dx: Buf<f64>,
    /// Yᵀ X `[r, d]`.
    pub(super) pulled: Buf<f64>,
}

/// The labels that some row has or leaves out, ascending.
pub fn labels_in(truth: Truth<'_>) -> Vec<u32> {
    let mut labels = [truth.positives.items, truth.left_out.items].concat();
    labels.sort_unstable();
    labels.dedup();
    labels
}

impl Lesson {
    /// Of the embeddings `x` `[n, d]`, for factors as they are; `labels` are those in `truth`, with their rows of V.
    ///
    /// # Panics
    /// If sizes differ.
    pub(super) fn of(
        engine: &Engine,
        factors: &Factors,
        loss: ZLoss,
        x: Buf<f64>,
        (labels, v): (&[u32], &[f64]),
        truth: Truth<'_>,
    ) -> Lesson {
        let (d, n) = (factors.width, truth.positives.starts.len() - 1);
        assert!(
            x.len() == n * d && v.len() == labels.len() * d,
            "embeddings and label weights differ in width"
        );
        let [mut a, mut moved] = [(); 2].map(|()| engine.buffer::<f64>(n * d));
        gemm(engine, 1.0, rows_of(&x, d), rows_of(&factors.gram, d), 0.0, &mut a);
        gemm(engine, 1.0, rows_of(&x, d), rows_of(&factors.u, d).t(), 0.0, &mut moved);
        let mut all = Lesson {
            n,
            width: d,
            loss: 0.0,
            gamma_q: vec![],
            gamma_s: vec![],
            weighted: engine.copied(&x),
            y: vec![],
            y_sums: vec![],
            a,
            z: engine.buffer::<f64>(n * d),
            dx: engine.zeros::<f64>(n * d),
            pulled: engine.zeros::<f64>(labels.len() * d),
            x,
        };
        for i in 0..n {
            all.learn_row(factors, loss, (i, &moved[i * d..(i + 1) * d]), (labels, v), truth);
        }
        // Y V, then Z = Y V U + ȳ ωᵀ + γ_s w̄ᵀ.
        let mut of_v = engine.zeros::<f64>(n * d);
        for (i, of) in of_v.chunks_exact_mut(d).enumerate() {
            all.y[i].iter().for_each(|&(place, y)| add(of, y, &v[place * d..(place + 1) * d]));
        }
        gemm(engine, 1.0, rows_of(&of_v, d), rows_of(&factors.u, d), 0.0, &mut all.z);
        for i in 0..n {
            let span = i * d..(i + 1) * d;
            let (z, dx) = (&mut all.z[span.clone()], &mut all.dx[span.clone()]);
            add(z, all.y_sums[i], &factors.omega);
            add(z, all.gamma_s[i], &factors.sum);
            dx.copy_from_slice(z);
            add(dx, 2.0 * all.gamma_q[i], &all.a[span.clone()]);
            all.weighted[span.clone()].iter_mut().for_each(|x| *x *= all.gamma_q[i]);
            let x = &all.x[span];
            all.y[i].iter().for_each(|&(place, y)| add(&mut all.pulled[place * d..(place + 1) * d], y, x));
        }
        all
    }
    /// The loss of row `i`, whose U x is `moved`, and its derivatives.
    fn learn_row(
        &mut self,
        factors: &Factors,
        loss: ZLoss,
        (i, moved): (usize, &[f64]),
        (labels, v): (&[u32], &[f64]),
        truth: Truth<'_>,
    ) {
        let (d, per) = (self.width, 1.0 / self.n as f64);
        let (x, a) = (self.row(i), &self.a[i * d..(i + 1) * d]);
        let shift = dot(&factors.omega, x);
        let outputs = |ids: engine::kernels::bce::Ids<'_>| -> Vec<(usize, f64)> {
            let row = &ids.items[ids.starts[i]..ids.starts[i + 1]];
            let place = |label| labels.binary_search(label).expect("every label of the batch is touched");
            let output = |place: usize| dot(&v[place * d..(place + 1) * d], moved) + shift;
            row.iter().map(place).map(|place| (place, output(place))).collect()
        };
        let (mut y, left_out) = (outputs(truth.positives), outputs(truth.left_out));
        let gone = |of: fn(f64) -> f64| left_out.iter().map(|pair| of(pair.1)).sum::<f64>();
        let of = Moments {
            outputs: (factors.labels - left_out.len()) as f64,
            sum: dot(&factors.sum, x) - gone(|o| o),
            squares: dot(a, x) - gone(|o| o * o),
        };
        let mut slopes: Vec<f64> = y.iter().map(|pair| pair.1).collect();
        let at = loss.at(of, &mut slopes);
        let (gamma_q, gamma_s) = (per * at.squares, per * at.sum);
        y.iter_mut().zip(slopes).for_each(|(pair, slope)| pair.1 = per * slope);
        y.extend(left_out.into_iter().map(|(place, o)| (place, -(2.0 * gamma_q * o + gamma_s))));
        self.loss += per * at.loss;
        self.gamma_q.push(gamma_q);
        self.gamma_s.push(gamma_s);
        self.y_sums.push(y.iter().map(|pair| pair.1).sum());
        self.y.push(y);
    }
    /// Row `i` of X.
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.x[i * self.width..(i + 1) * self.width]
    }
    /// G Gᵀ X `[n, d]` for G = ∂L/∂O, of factors that have not moved: with R = γ_s 1ᵀ + Y, O = X Wᵀ and R W = Z,
    ///
    /// ```text
    /// G Gᵀ X = Γ X (4 AᵀΓX + 2 ZᵀX) + 2 Z (XᵀΓX) + R Rᵀ X
    /// R Rᵀ X = Y (YᵀX) + ȳ (γ_sᵀX) + γ_s (ȳᵀX) + L γ_s (γ_sᵀX)
    /// ```
    pub(super) fn curvature(&self, engine: &Engine, factors: &Factors) -> Buf<f64> {
        let (n, d) = (self.n, self.width);
        let [mut inner, mut weights] = [(); 2].map(|()| engine.buffer::<f64>(d * d));
        gemm(engine, 4.0, rows_of(&self.a, d).t(), rows_of(&self.weighted, d), 0.0, &mut inner);
        gemm(engine, 2.0, rows_of(&self.z, d).t(), rows_of(&self.x, d), 1.0, &mut inner);
        gemm(engine, 1.0, rows_of(&self.x, d).t(), rows_of(&self.weighted, d), 0.0, &mut weights);
        let mut all = engine.buffer::<f64>(n * d);
        gemm(engine, 1.0, rows_of(&self.weighted, d), rows_of(&inner, d), 0.0, &mut all);
        gemm(engine, 2.0, rows_of(&self.z, d), rows_of(&weights, d), 1.0, &mut all);
        let [mut of_s, mut of_y] = [(); 2].map(|()| vec![0.0; d]);
        for i in 0..n {
            add(&mut of_s, self.gamma_s[i], self.row(i));
            add(&mut of_y, self.y_sums[i], self.row(i));
        }
        for (i, row) in all.chunks_exact_mut(d).enumerate() {
            for &(place, y) in &self.y[i] {
                add(row, y, &self.pulled[place * d..(place + 1) * d]);
            }
            add(row, self.y_sums[i] + factors.labels as f64 * self.gamma_s[i], &of_s);
            add(row, self.gamma_s[i], &of_y);
        }
        all
    }
}
