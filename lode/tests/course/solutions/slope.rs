//! Exercise 1: the slope of f(x) = (x² + 1)·tanh(x).
//!
//! ```text
//! f = u·v,  u = x² + 1,  v = tanh x         f′ = u′v + u v′ = 2x·tanh x + (x² + 1)(1 − tanh² x)
//! ```

/// f′(x).
pub(crate) fn slope(x: f64) -> f64 {
    let t = x.tanh();
    2.0 * x * t + (x * x + 1.0) * (1.0 - t * t)
}
