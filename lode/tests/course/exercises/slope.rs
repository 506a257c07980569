//! Exercise 1: the slope of f(x) = (x² + 1)·tanh(x).

/// f′(x).
pub(crate) fn slope(x: f64) -> f64 {
    // HOLE: f is a product of two functions. tanh(x) has the slope 1 − tanh²(x).
    0.0 * x
}
