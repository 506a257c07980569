//! Exercise 3: one row of InfoNCE, its loss and its forces.
//!
//! ```text
//! ℓ   = log Σ_j e^{s_j/τ} − s_c/τ           over the columns that compete: those that are kept, and c
//! s̄_j = (p_j − [j = c]) / τ                 0 for a column that does not compete
//! ```

/// ℓ and s̄ of the scores `s` of a row whose positive is in the column `c`.
pub(crate) fn infonce(s: &[f64], c: usize, keep: &[bool], temperature: f64) -> (f64, Vec<f64>) {
    let competes = |j: usize| keep[j] || j == c;
    let columns = || (0..s.len()).filter(|&j| competes(j));
    let largest = columns().map(|j| s[j] / temperature).fold(f64::NEG_INFINITY, f64::max);
    let e = |j: usize| (s[j] / temperature - largest).exp();
    let z: f64 = columns().map(e).sum();
    let loss = z.ln() + largest - s[c] / temperature;
    let force = |j: usize| match competes(j) {
        true => (e(j) / z - f64::from(u8::from(j == c))) / temperature,
        false => 0.0,
    };
    (loss, (0..s.len()).map(force).collect())
}
