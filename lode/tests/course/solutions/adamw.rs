//! Exercise 6: one step of AdamW.
//!
//! ```text
//! p ← p (1 − rate·λ)
//! m ← β₁m + (1 − β₁)g,   v ← β₂v + (1 − β₂)g²               β = (0.9, 0.999)
//! p ← p − rate·m̂/(√v̂ + ε),   m̂ = m/(1 − β₁ᵗ),   v̂ = v/(1 − β₂ᵗ)         ε = 1e-8
//! ```

use crate::exercises::adamw::State;

/// Moves `p` against its gradient `g`; `decay` is λ.
pub(crate) fn step(state: &mut State, p: &mut [f64], g: &[f64], rate: f64, decay: f64) {
    let (b1, b2) = (0.9f64, 0.999f64);
    state.t += 1;
    for i in 0..p.len() {
        p[i] *= 1.0 - rate * decay;
        state.m[i] = b1 * state.m[i] + (1.0 - b1) * g[i];
        state.v[i] = b2 * state.v[i] + (1.0 - b2) * g[i] * g[i];
        let (m, v) = (state.m[i] / (1.0 - b1.powi(state.t)), state.v[i] / (1.0 - b2.powi(state.t)));
        p[i] -= rate * m / (v.sqrt() + 1e-8);
    }
}
