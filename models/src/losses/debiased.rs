//! Contrast against negatives of which some are positives, and of which the hard ones weigh more.
//!
//! ```text
//! z_ij = s_ij/τ + β_ij        N_i = Σ_j k_ij ω_ij over the negatives of row i        S_i = Σ_j k_ij ω_ij e^{z_ij}
//! hard   S_i = N_i Σ_j k_ij ω_ij e^{(1+b) z_ij} / Σ_j k_ij ω_ij e^{b z_ij}
//! G_i  = max( (S_i − τ₊ N_i e^{z_ic}) / (1 − τ₊),  N_i e^{−1/τ} )          c: the column of the positive of i
//! ℓ_i  = −ln( e^{z_ic} / (e^{z_ic} + G_i) ) = softplus(ln G_i − z_ic)
//! ```
//! Chuang et al., "Debiased contrastive learning", NeurIPS 2020, eq. 8: τ₊ is the share of positives among what is
//! drawn as negatives, and what they add is taken off again; the second term of the maximum is the least that N
//! cosines can give. Robinson et al., "Contrastive learning with hard negative samples", ICLR 2021, eq. 4: weights
//! e^{b z}, b = 0 for none, through which gradients flow as in their code. With τ₊ = b = 0 it is InfoNCE.
//!
//! Where the maximum takes its second term no negative has a gradient. With a small τ that is nearly always so: the
//! e^{z_ic} of a learned positive outweighs all others. A row without negatives has loss and gradient 0.

use super::{Objective, Terms};
use autograd::Var;
use engine::Tensor;

/// InfoNCE without the share of false negatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Debiased {
    /// τ.
    pub temperature: f64,
    /// τ₊: the share of positives among the negatives.
    pub false_negatives: f64,
    /// b: how much the hard ones outweigh the others.
    pub concentration: f64,
}

impl Objective for Debiased {
    #[track_caller]
    fn loss<'t>(&self, scores: Var<'t>, terms: &Terms) -> Var<'t> {
        terms.check(scores);
        let tape = scores.tape();
        let (n, m) = (terms.targets.len(), scores.shape().last());
        let negatives = negatives(terms, m);
        let counts: Vec<f32> = negatives.chunks(m.max(1)).map(|row| row.iter().sum()).collect();
        let column = |values: Vec<f32>| tape.constant(Tensor::from_vec([n, 1], values));

        let mut z = scores.scale(1.0 / self.temperature);
        if let Some(shift) = &terms.shift {
            z = z + tape.constant(shift.clone());
        }
        let places = terms.targets.iter().enumerate().map(|(i, &c)| i as u32 * m as u32 + c);
        let positive = z.reshape([n * m, 1]).gather(places.collect());
        let weights = tape.constant(Tensor::from_vec([n, m], negatives));
        let exponentials = z.exp() * weights;
        let mut sum = exponentials.sum_rows();
        if self.concentration != 0.0 {
            let harder = z.scale(self.concentration).exp();
            // Rows without negatives would divide by 0: they are taken out below.
            let spare = column(counts.iter().map(|&c| f32::from(c == 0.0)).collect());
            sum = column(counts.clone()) * (exponentials * harder).sum_rows()
                / ((harder * weights).sum_rows() + spare);
        }
        let share = self.false_negatives;
        let unbiased =
            (sum - column(counts.clone()) * positive.exp().scale(share)).scale(1.0 / (1.0 - share));
        let floor = (-1.0 / self.temperature).exp();
        let floor = column(counts.iter().map(|&c| if c == 0.0 { 1.0 } else { c * floor as f32 }).collect());
        let partition = (unbiased - floor).relu() + floor;
        let losses = (partition.log() - positive).softplus();
        let counted = column(counts.iter().map(|&c| f32::from(c > 0.0)).collect());
        terms.mean((losses * counted).reshape([n]))
    }
}

/// k ω of the negatives, 0 at the targets: `[n · m]`.
fn negatives(terms: &Terms, m: usize) -> Vec<f32> {
    let mut weights: Vec<f32> = terms.keep.iter().map(|&keep| f32::from(keep)).collect();
    if let Some(omega) = &terms.weight {
        weights.iter_mut().zip(omega.data::<f32>()).for_each(|(w, omega)| *w *= omega);
    }
    terms.targets.iter().enumerate().for_each(|(i, &c)| weights[i * m + c as usize] = 0.0);
    weights
}

#[cfg(test)]
mod tests {
    use super::super::InfoNce;
    use super::super::testing::{close, terms};
    use super::*;

    const SCORES: [f32; 8] = [0.5, 0.1, -0.2, 0.3, 0.4, 0.0, -0.3, 0.2];

    fn loss(objective: &dyn Objective, terms: &Terms) -> (f64, Vec<f64>) {
        super::super::testing::loss(objective, &SCORES, terms)
    }
    const ALL: [bool; 8] = [true; 8];

    #[test]
    fn without_false_negatives_and_weights_it_is_infonce() {
        let objective = Debiased { temperature: 0.5, false_negatives: 0.0, concentration: 0.0 };
        let infonce = InfoNce { temperature: 0.5, symmetric: false, top_rows: 1.0 };
        for keep in [ALL, [true, false, true, true, true, true, false, true], [false; 8]] {
            let (got, want) = (loss(&objective, &terms(&keep)), loss(&infonce, &terms(&keep)));
            close(got.0, want.0);
            got.1.iter().zip(want.1).for_each(|(got, want)| close(*got, want));
        }
    }

    /// By hand from the equations, one row at a time.
    fn row(z: [f64; 4], c: usize, share: f64, b: f64, floor: f64) -> f64 {
        let others: Vec<f64> = (0..4).filter(|&j| j != c).map(|j| z[j]).collect();
        let sum: f64 = match b == 0.0 {
            true => others.iter().map(|z| z.exp()).sum(),
            false => {
                let top: f64 = others.iter().map(|z| ((1.0 + b) * z).exp()).sum();
                3.0 * top / others.iter().map(|z| (b * z).exp()).sum::<f64>()
            }
        };
        let partition = ((sum - share * 3.0 * z[c].exp()) / (1.0 - share)).max(3.0 * floor);
        (1.0 + partition / z[c].exp()).ln()
    }

    #[test]
    fn the_share_of_false_negatives_is_taken_off_and_hard_ones_weigh_more() {
        for (share, b) in [(0.1, 0.0), (0.1, 1.0), (0.0, 0.5)] {
            let objective = Debiased { temperature: 0.5, false_negatives: share, concentration: b };
            let z: Vec<f64> = SCORES.iter().map(|&s| f64::from(s) / 0.5).collect();
            let floor = (-2.0f64).exp();
            let of = |z: &[f64], c| row(z.try_into().expect("four"), c, share, b, floor);
            let want = (of(&z[..4], 0) + of(&z[4..], 1)) / 2.0;
            close(loss(&objective, &terms(&ALL)).0, want);
        }
    }

    /// ∂L/∂z₋ = e^{z₋}/((1−τ₊)(e^{z₊}+G)), ∂L/∂z₊ = e^{z₊}(1 − τ₊N/(1−τ₊))/(e^{z₊}+G) − 1 while not clamped.
    #[test]
    fn gradients_are_those_of_the_paper() {
        let share = 0.1;
        let objective = Debiased { temperature: 1.0, false_negatives: share, concentration: 0.0 };
        let (_, grad) = loss(&objective, &terms(&ALL));
        let z = [0.5f64, 0.1, -0.2, 0.3];
        let g = ((z[1].exp() + z[2].exp() + z[3].exp()) - 3.0 * share * z[0].exp()) / (1.0 - share);
        let whole = z[0].exp() + g;
        close(grad[1], z[1].exp() / (1.0 - share) / whole / 2.0);
        close(grad[0], (z[0].exp() * (1.0 - share * 3.0 / (1.0 - share)) / whole - 1.0) / 2.0);
    }

    #[test]
    fn below_the_least_that_is_possible_no_negative_has_a_gradient() {
        let objective = Debiased { temperature: 0.05, false_negatives: 0.3, concentration: 1.0 };
        let (value, grad) = loss(&objective, &terms(&ALL));
        assert!(value.is_finite());
        assert_eq!(grad[1..4], [0.0; 3]);
        assert!(grad[0] < 0.0, "{grad:?}");
    }
}
