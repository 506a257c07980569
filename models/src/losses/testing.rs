//! What tests of losses share: a small matrix of scores, the loss over it and its gradient.

use super::{Objective, Terms};
use autograd::Tape;
use engine::{Engine, Tensor};
use std::sync::Arc;

/// The loss of scores `[2, m]` and its gradient, on a tape and an engine that poison what nobody may read. Nothing on
/// the way is infinite or no number.
pub(super) fn loss(objective: &dyn Objective, scores: &[f32], terms: &Terms) -> (f64, Vec<f64>) {
    let tape = Tape::checked(&Engine::poisoned(1));
    let scores = tape.leaf(Tensor::from_vec([2, scores.len() / 2], scores.to_vec()));
    let loss = objective.loss(scores, terms);
    let value = loss.value().item();
    let grad = tape.backward_from(loss).of(scores).to_f64();
    assert!(tape.anomaly().is_none(), "{:?}", tape.anomaly().map(|anomaly| anomaly.to_string()));
    (value, grad)
}

/// Two rows whose positives are columns 0 and 1.
pub(super) fn terms(keep: &[bool]) -> Terms {
    Terms::masked(Arc::from([0, 1]), Arc::from(keep))
}

/// Equal but for what f32 rounds.
#[track_caller]
pub(super) fn close(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-6, "{got} is not {want}");
}
