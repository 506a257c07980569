//! The pairs of a positive and a negative that count, side by side.

use super::Terms;
use autograd::Var;
use engine::Tensor;

/// Scores of pairs, `[P, 1]` each.
pub(super) struct Pairs<'t> {
    pub(super) positive: Var<'t>,
    pub(super) negative: Var<'t>,
    /// Where the two scores stand in the matrix.
    pub(super) places: Vec<(usize, usize)>,
    /// ρ_i ω_ij.
    weights: Vec<f32>,
}

/// The pairs of scores `[n, m]`; none if no negative counts.
pub(super) fn counting<'t>(scores: Var<'t>, terms: &Terms) -> Option<Pairs<'t>> {
    let m = scores.shape().last();
    let omega = terms.weight.as_ref().map(|omega| omega.data::<f32>());
    let (mut places, mut weights) = (vec![], vec![]);
    for (i, &target) in terms.targets.iter().enumerate() {
        let rho = terms.row_weight.as_ref().map_or(1.0, |rho| rho[i]);
        for j in (0..m).filter(|&j| j != target as usize && terms.keep[i * m + j]) {
            let weight = rho * omega.map_or(1.0, |omega| omega[i * m + j]);
            if weight > 0.0 {
                places.push((i * m + target as usize, i * m + j));
                weights.push(weight);
            }
        }
    }
    if places.is_empty() {
        return None;
    }
    let flat = scores.reshape([terms.targets.len() * m, 1]);
    let positive = flat.gather(places.iter().map(|&(positive, _)| positive as u32).collect());
    let negative = flat.gather(places.iter().map(|&(_, negative)| negative as u32).collect());
    Some(Pairs { positive, negative, places, weights })
}

impl<'t> Pairs<'t> {
    /// The weighted mean of a loss of every pair.
    pub(super) fn mean(&self, losses: Var<'t>) -> Var<'t> {
        let total: f64 = self.weights.iter().map(|&w| f64::from(w)).sum();
        let engine = losses.tape().engine();
        let weights = Tensor::from_buf([self.weights.len(), 1], engine.copied(&self.weights));
        (losses * losses.tape().constant(weights)).sum().scale(1.0 / total)
    }
}
