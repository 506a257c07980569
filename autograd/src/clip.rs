//! Clipping by the global norm, and the factor of accumulated gradients.
//!
//! ```text
//! n = √(Σ over all gradients Σᵢ gᵢ²)        in f64, in an order that depends on sizes alone
//! g ← g · min(1, n_max / (n + 1e-6))
//! ```
//! Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, algorithm 1; the
//! 1e-6 is PyTorch's.

use crate::grad::Grad;
use crate::param::ParamGrads;
use engine::Engine;
use engine::kernels::squares::{block_squares, scale_by, tree_sum};
use engine::profile::Way;

/// What PyTorch adds to the norm before it divides.
const NORM_FLOOR: f64 = 1e-6;

impl Grad {
    /// The Euclidean norm. Rows that are not there count as zeros.
    pub fn norm(&self, engine: &Engine) -> f64 {
        norm_of(engine, std::iter::once(self))
    }
}

impl ParamGrads {
    /// The Euclidean norm of all gradients together. Rows that are not there count as zeros.
    pub fn norm(&self, engine: &Engine) -> f64 {
        norm_of(engine, self.iter().map(|(_, grad)| grad))
    }
    /// Multiplies all gradients by `factor`: 1 / parts after the gradients of the parts of a batch were added.
    pub fn scale(&mut self, engine: &Engine, factor: f64) {
        // A batch of one part: nothing is read and written for the same bits.
        if factor == 1.0 {
            return;
        }
        for (_, grad) in self.iter_mut() {
            scale_by(engine, grad.values_mut(), factor);
        }
    }
}

/// The Euclidean norm of all of them together.
fn norm_of<'a>(engine: &Engine, grads: impl Iterator<Item = &'a Grad>) -> f64 {
    tree_sum(&block_squares(engine, &grads.map(Grad::values).collect::<Vec<_>>())).sqrt()
}

/// Scales the gradients down so that their global norm is at most `norm_max`, and gives the norm as it was. If it is
/// infinite or NaN nothing is scaled: the caller decides what such a step means.
pub fn clip(engine: &Engine, grads: &mut ParamGrads, norm_max: f64) -> f64 {
    clip_together(engine, &mut [grads], norm_max)
}

/// [`clip`] of the gradients of several sets of parameters, whose norm is that of all of them together.
pub fn clip_together(engine: &Engine, sets: &mut [&mut ParamGrads], norm_max: f64) -> f64 {
    engine.span("clip", Way::Beside, || {
        let norm = norm_of(engine, sets.iter().flat_map(|grads| grads.iter()).map(|(_, grad)| grad));
        let factor = norm_max / (norm + NORM_FLOOR);
        if norm.is_finite() && factor < 1.0 {
            sets.iter_mut().for_each(|grads| grads.scale(engine, factor));
        }
        norm
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParamId, Params};
    use engine::Tensor;

    fn grads(engine: &Engine, a: Vec<f32>, rows: Vec<f32>) -> (ParamGrads, [ParamId; 2]) {
        let mut params = Params::default();
        let ids = [("a", a.len()), ("b", 4)]
            .map(|(name, n)| params.add(name, Tensor::from_vec([n, 1], vec![0.0f32; n]), false));
        let rows = Tensor::from_vec([rows.len(), 1], rows);
        let row_grad = Grad::rows(engine, [4, 1].into(), &[3, 3], &rows);
        let dense = Grad::Dense(Tensor::from_vec([a.len(), 1], a));
        ([(ids[0], dense), (ids[1], row_grad)].into_iter().collect(), ids)
    }

    #[test]
    fn gradients_are_scaled_down_to_the_norm_and_never_up() {
        let engine = Engine::new(2);
        // √(2² + 3² + (2 + 4)²) = 7: what falls on one row is added before it is squared.
        let (mut g, [a, b]) = grads(&engine, vec![2.0, -3.0], vec![2.0, 4.0]);
        assert_eq!(clip(&engine, &mut g, 7.5), 7.0);
        let all = |id, g: &ParamGrads| g.get(id).unwrap().to_f64();
        assert_eq!((all(a, &g), all(b, &g)), (vec![2.0, -3.0], vec![0.0, 0.0, 0.0, 6.0]));
        assert_eq!(clip(&engine, &mut g, 3.5), 7.0);
        for (got, want) in all(a, &g).iter().chain(&all(b, &g)).zip([1.0, -1.5, 0.0, 0.0, 0.0, 3.0]) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }

    #[test]
    fn sets_that_are_clipped_together_have_one_norm() {
        let engine = Engine::new(2);
        // 7 and 24: √(49 + 576) = 25.
        let (mut one, [a, _]) = grads(&engine, vec![2.0, -3.0], vec![2.0, 4.0]);
        let (mut other, [c, _]) = grads(&engine, vec![24.0, 0.0], vec![0.0, 0.0]);
        assert_eq!(clip_together(&engine, &mut [&mut one, &mut other], 2.5), 25.0);
        let first = |id, g: &ParamGrads| g.get(id).unwrap().to_f64()[0];
        assert!((first(a, &one) - 0.2).abs() < 1e-6 && (first(c, &other) - 2.4).abs() < 1e-6);
    }

    #[test]
    fn a_norm_that_is_no_number_is_told_and_scales_nothing() {
        let engine = Engine::new(2);
        for bad in [f32::NAN, f32::INFINITY] {
            let (mut g, [a, _]) = grads(&engine, vec![bad, 100.0], vec![0.0, 0.0]);
            assert!(!clip(&engine, &mut g, 1.0).is_finite());
            assert_eq!(g.get(a).unwrap().to_f64()[1], 100.0);
        }
    }

    #[test]
    fn accumulated_parts_are_the_whole() {
        let engine = Engine::new(1);
        let (mut g, [a, b]) = grads(&engine, vec![1.0, 5.0], vec![1.0, 0.0]);
        g.add(&engine, grads(&engine, vec![3.0, -1.0], vec![2.0, 4.0]).0);
        g.scale(&engine, 0.5);
        assert_eq!(g.get(a).unwrap().to_f64(), [2.0, 2.0]);
        assert_eq!(g.get(b).unwrap().to_f64(), [0.0, 0.0, 0.0, 3.5]);
    }
}
