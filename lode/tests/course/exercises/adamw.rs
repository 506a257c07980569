//! Exercise 6: one step of AdamW.
//!
//! ```text
//! p ← p (1 − rate·λ)
//! m ← β₁m + (1 − β₁)g,   v ← β₂v + (1 − β₂)g²               β = (0.9, 0.999)
//! p ← p − rate·m̂/(√v̂ + ε),   m̂ = m/(1 − β₁ᵗ),   v̂ = v/(1 − β₂ᵗ)         ε = 1e-8
//! ```

/// What the optimizer remembers between steps; it begins with zeros and t = 0.
pub(crate) struct State {
    pub(crate) t: i32,
    pub(crate) m: Vec<f64>,
    pub(crate) v: Vec<f64>,
}

/// Moves `p` against its gradient `g`; `decay` is λ.
pub(crate) fn step(state: &mut State, p: &mut [f64], g: &[f64], rate: f64, decay: f64) {
    // HOLE: t counts from 1.
    state.t += 1;
    for i in 0..p.len() {
        state.m[i] += 0.0 * g[i];
        state.v[i] += 0.0 * g[i];
        p[i] -= 0.0 * rate * decay;
    }
}
