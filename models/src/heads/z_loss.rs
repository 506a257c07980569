//! The Z-loss (de Brébisson & Vincent, "The Z-loss: a shift and scale invariant classification loss belonging to the
//! spherical family", arXiv:1604.08859, 2016).
//!
//! ```text
//! s = Σ_k o_k,  q = Σ_k o_k²  over D outputs      μ = s/D,  σ² = q/D − μ² + ε,  z_c = (o_c − μ)/σ
//! ℓ = (1/K) Σ_c (1/a) log(1 + e^{a(b − z_c)})     over K targets c
//!
//! g_c = −1/(1 + e^{−a(b − z_c)})/K                                ∂ℓ/∂z_c
//! ∂ℓ/∂o_c = g_c/σ      ∂ℓ/∂q = −Σ_c g_c z_c/(2Dσ²)      ∂ℓ/∂s = Σ_c (g_c/D)(μ z_c/σ² − 1/σ)
//! ```
//! The paper has one target, K = 1. A row of several labels is K rows of one, each with a weight of 1/K: a label is
//! judged by how far it stands above all outputs, other labels of the row among them.
//!
//! A score counts by how many standard deviations it lies above the mean of all scores of its row. Adding to all scores
//! or multiplying all by a positive number changes nothing: a temperature would have nothing to do. What comes out is
//! no probability. A target that stands more than b deviations above the mean has little left to learn, the less the
//! larger a; so a and b say which ranks are learned for, and the paper searches them for the measure that one wants.
//! ε = 1e-12 keeps σ from 0; scores of a scale of 1e-5 begin to feel it.
//!
//! Pitfall: q/D − μ² cancels where the mean is far from 0. s, q and all that follows are f64.

/// ε, beside a variance.
const EPSILON: f64 = 1e-12;

/// The Z-loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZLoss {
    /// a, above 0.
    pub sharpness: f64,
    /// b.
    pub location: f64,
}

/// What the loss knows of the outputs of a row besides its targets.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// D.
    pub outputs: f64,
    /// s.
    pub sum: f64,
    /// q.
    pub squares: f64,
}

/// The loss of a row, and its derivatives by s and by q.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slopes {
    /// ℓ.
    pub loss: f64,
    /// ∂ℓ/∂s.
    pub sum: f64,
    /// ∂ℓ/∂q.
    pub squares: f64,
}

impl ZLoss {
    /// The loss of a row, and its derivatives: those by the outputs of its `targets` take their places. Without
    /// targets all of it is 0.
    pub fn at(&self, of: Moments, targets: &mut [f64]) -> Slopes {
        let d = of.outputs;
        let mean = of.sum / d;
        // Rounding may bring what is 0 below it.
        let variance = (of.squares / d - mean * mean).max(0.0) + EPSILON;
        let (deviation, share) = (variance.sqrt(), 1.0 / targets.len() as f64);
        let mut all = Slopes::default();
        for target in targets {
            let z = (*target - mean) / deviation;
            let short = self.sharpness * (self.location - z);
            all.loss += share * (short.max(0.0) + (-short.abs()).exp().ln_1p()) / self.sharpness;
            let g = -share / (1.0 + (-short).exp());
            *target = g / deviation;
            all.sum += g / d * (mean * z / variance - 1.0 / deviation);
            all.squares -= g * z / (2.0 * d * variance);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: ZLoss = ZLoss { sharpness: 0.7, location: 2.0 };
    const OUTPUTS: [f64; 7] = [0.3, -1.2, 2.5, 0.0, 0.9, -0.4, 1.1];

    /// By the definition, from all outputs.
    fn naive(o: &[f64], targets: &[usize]) -> f64 {
        let d = o.len() as f64;
        let mean = o.iter().sum::<f64>() / d;
        let deviation = (o.iter().map(|o| (o - mean).powi(2)).sum::<f64>() / d + EPSILON).sqrt();
        let of = |&c: &usize| {
            (1.0 + (LOSS.sharpness * (LOSS.location - (o[c] - mean) / deviation)).exp()).ln() / LOSS.sharpness
        };
        targets.iter().map(of).sum::<f64>() / targets.len() as f64
    }
    fn moments(o: &[f64]) -> Moments {
        let [sum, squares] = [o.iter().sum(), o.iter().map(|o| o * o).sum()];
        Moments { outputs: o.len() as f64, sum, squares }
    }
    /// The loss, and its derivative by every output.
    fn at(o: &[f64], targets: &[usize]) -> (f64, Vec<f64>) {
        let mut of = targets.iter().map(|&c| o[c]).collect::<Vec<f64>>();
        let slopes = LOSS.at(moments(o), &mut of);
        let mut all: Vec<f64> = o.iter().map(|o| slopes.sum + 2.0 * slopes.squares * o).collect();
        targets.iter().zip(of).for_each(|(&c, slope)| all[c] += slope);
        (slopes.loss, all)
    }

    #[test]
    fn three_derivatives_make_those_by_every_output() {
        for targets in [&[2][..], &[1], &[0, 4, 5]] {
            let (loss, slopes) = at(&OUTPUTS, targets);
            assert!((loss - naive(&OUTPUTS, targets)).abs() < 1e-12);
            for (k, slope) in slopes.into_iter().enumerate() {
                let moved = |h: f64| {
                    let mut o = OUTPUTS;
                    o[k] += h;
                    naive(&o, targets)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((slope - want).abs() < 1e-8, "{targets:?}, output {k}: {slope} is not {want}");
            }
        }
    }

    /// Cross-entropy with a softmax, whose loss the same changes.
    fn softmax(o: &[f64], c: usize) -> f64 {
        o.iter().map(|o| o.exp()).sum::<f64>().ln() - o[c]
    }

    #[test]
    fn a_shift_and_a_scale_of_all_outputs_change_nothing() {
        let (loss, _) = at(&OUTPUTS, &[1, 4]);
        for (scale, shift) in [(10.0, 0.0), (0.1, 0.0), (1.0, 300.0), (10.0, -40.0)] {
            let moved = OUTPUTS.map(|o| scale * o + shift);
            let (other, _) = at(&moved, &[1, 4]);
            assert!((other - loss).abs() < 1e-9, "{scale}·o + {shift}: {other} is not {loss}");
            let before_and_after = [softmax(&OUTPUTS, 1), softmax(&moved, 1)];
            let moves = (before_and_after[0] - before_and_after[1]).abs() > 1e-2;
            assert_eq!(moves, scale != 1.0, "a softmax: {before_and_after:?}");
        }
    }

    #[test]
    fn a_row_without_targets_or_of_equal_outputs_has_finite_slopes() {
        let none = LOSS.at(moments(&OUTPUTS), &mut []);
        assert_eq!((none.loss, none.sum, none.squares), (0.0, 0.0, 0.0));
        let (loss, slopes) = at(&[0.5; 4], &[2]);
        assert!(loss.is_finite() && slopes.iter().all(|slope| slope.is_finite()));
    }
}
