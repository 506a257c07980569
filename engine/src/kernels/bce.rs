//! From logits to the gradient of binary cross-entropy, in place (equations: `models/src/heads/one_vs_all.rs`).
//!
//! ```text
//! z_l ← (σ(z_l) − y_l) · per        y_l = 1 for positives, a number between 0 and 1 for labels with a soft target;
//!                                   0 in all where a label plays no part, whatever its logit
//! ℓ   = Σ_l max(z_l, 0) + log(1 + e^{−|z_l|}) − y_l z_l
//! ```
//! Bound by the exponential, one a logit. The logarithms of the loss are taken of products of [`FACTORS`] numbers
//! between 1 and 2, which f32 holds: what that rounds away is told of, never differentiated.

use super::lanes;
use crate::cuda;
use crate::engine::Engine;
use crate::tensor::Tensor;

/// Factors of one logarithm: their product is below 2⁶⁴.
const FACTORS: usize = 64;

/// Ids of rows: row `i` is `items[starts[i]..starts[i + 1]]`, ascending.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// Where each row starts, and the end.
    pub starts: &'a [usize],
    /// The ids of all rows.
    pub items: &'a [u32],
}

/// Targets of ids that are neither positives nor left out: `targets[k]` is that of `ids.items[k]`.
#[derive(Clone, Copy, Debug)]
pub struct Soft<'a> {
    /// The ids of all rows.
    pub ids: Ids<'a>,
    /// Their targets, between 0 and 1.
    pub targets: &'a [f32],
}

/// What the rows of a batch have besides negatives.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'a> {
    /// The positives of each row.
    pub positives: Ids<'a>,
    /// Labels that play no part in a row: neither pulled nor pushed. None of them is a positive.
    pub left_out: Ids<'a>,
    /// Labels of which somebody else says how likely they are; none where nobody does.
    pub soft: Option<Soft<'a>>,
}

impl Ids<'_> {
    /// The ids of row `i` in `first..first + width`, counted from `first`.
    #[inline(always)]
    fn within(&self, i: usize, first: usize, width: usize) -> impl Iterator<Item = usize> {
        self.placed_within(i, first, width).map(|(_, j)| j)
    }
    /// The same, each behind its place among the items.
    #[inline(always)]
    fn placed_within(&self, i: usize, first: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
        let row = &self.items[self.starts[i]..self.starts[i + 1]];
        let from = row.partition_point(|&id| (id as usize) < first);
        let place = self.starts[i] + from;
        let ids = row[from..].iter().map(move |&id| id as usize - first).take_while(move |&j| j < width);
        (place..).zip(ids)
    }
}

impl Soft<'_> {
    /// The ids of row `i` in `first..first + width`, counted from `first`, and their targets.
    #[inline(always)]
    fn within(&self, i: usize, first: usize, width: usize) -> impl Iterator<Item = (usize, f32)> {
        self.ids.placed_within(i, first, width).map(|(place, j)| (j, self.targets[place]))
    }
}

/// The cross-entropy of a batch, whose labels come in chunks.
pub struct Bce<'a> {
    truth: Truth<'a>,
    per: f32,
    losses: Losses,
}

/// The loss of each row so far, where the logits lie.
enum Losses {
    Cpu(Vec<f64>),
    /// And the truth, which is sent once.
    Device(cuda::losses::Bce),
}

impl<'a> Bce<'a> {
    /// Of a batch of `n` rows whose logits will lie where `beside` does; gradients are multiplied by `per`.
    ///
    /// # Panics
    /// If there is not a list for each row.
    #[track_caller]
    pub fn new(n: usize, beside: &Tensor, truth: Truth<'a>, per: f32) -> Bce<'a> {
        let losses = match beside.cuda() {
            Some(cuda) => Losses::Device(cuda::losses::Bce::new(cuda, n, truth)),
            None => Losses::Cpu(vec![0.0; n]),
        };
        Bce { truth, per, losses }
    }
    /// Logits `z + shift`, `[n, width]`, of the labels `first..first + width` become gradients, in place; their loss is
    /// added to that of each row.
    ///
    /// # Panics
    /// If sizes differ, or somebody shares the logits, or they lie elsewhere.
    #[track_caller]
    pub fn step(&mut self, engine: &Engine, z: &mut Tensor, (first, shift): (usize, f32)) {
        assert!(z.is_unique(), "bce: nobody else's logits");
        match &mut self.losses {
            Losses::Device(bce) => bce.step(z, (first, shift), self.per),
            Losses::Cpu(losses) => {
                let width = z.shape().last();
                assert_eq!(z.shape().rows(), losses.len(), "bce: logits of these rows");
                if shift != 0.0 {
                    z.data_mut::<f32>().iter_mut().for_each(|z| *z += shift);
                }
                on_cpu(engine, z.data_mut(), (first, width), self.truth, self.per, losses);
            }
        }
    }
    /// The loss of each row. It waits for a device.
    pub fn losses(&self) -> Vec<f64> {
        match &self.losses {
            Losses::Cpu(losses) => losses.clone(),
            Losses::Device(bce) => bce.losses(),
        }
    }
}

fn on_cpu(
    engine: &Engine,
    z: &mut [f32],
    (first, width): (usize, usize),
    Truth { positives, left_out, soft }: Truth<'_>,
    per: f32,
    losses: &mut [f64],
) {
    let soft = |i| soft.iter().flat_map(move |soft| soft.within(i, first, width));
    engine.chunks2(
        (z, width),
        (losses, 1),
        #[inline(always)]
        |i, z, loss| {
            loss[0] += loss_of(z);
            loss[0] -= left_out.within(i, first, width).map(|j| loss_of(&z[j..=j])).sum::<f64>();
            loss[0] -= positives.within(i, first, width).map(|j| f64::from(z[j])).sum::<f64>();
            loss[0] -= soft(i).map(|(j, target)| f64::from(target) * f64::from(z[j])).sum::<f64>();
            for z in z.iter_mut() {
                *z = per / (1.0 + crate::math::exp(-*z));
            }
            left_out.within(i, first, width).for_each(|j| z[j] = 0.0);
            positives.within(i, first, width).for_each(|j| z[j] -= per);
            soft(i).for_each(|(j, target)| z[j] -= target * per);
        },
    );
}

/// Σ log(1 + eᶻ).
#[inline(always)]
fn loss_of(z: &[f32]) -> f64 {
    let mut sum = f64::from(lanes::sum([z], |[z]| if z < 0.0 { 0.0 } else { z }));
    for z in z.chunks(FACTORS) {
        let factor = |[z]: [f32; 1]| 1.0 + crate::math::exp(-z.abs());
        sum += f64::from(lanes::fold([z], 1.0, factor, |a, b| a * b).ln());
    }
    sum
}
