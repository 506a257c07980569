//! y = m ∘ x/(1 − rate), where every number of the mask m is 0 with probability rate and 1 otherwise (Srivastava et
//! al. 2014); the mean of y is x.
//!
//! ```text
//! forward    y = m ∘ x/(1 − rate)                                         x [.., d], one place for every row
//! backward   x̄ = m ∘ ȳ/(1 − rate)
//! m = 0  where  word (channel mod 4) of Philox(key, [channel/4, position, slot, 0])  <  rate·2³²
//! ```
//! The mask is a function of key and counter, so backward draws it again and nothing is stored. Slot and position say
//! which text of the batch a row belongs to and where it stands in it: a text keeps its mask in whatever company it is
//! encoded, and a batch that is cut in pieces gets the masks of the whole.

use super::Entry;
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
pub use engine::kernels::dropout::Dropout;
use engine::kernels::dropout::dropout;
use engine::random::philox;
use engine::{Places, Shape, ShapeError, Tensor};
use std::sync::Arc;

impl<'t> Var<'t> {
    /// Drops a share of the numbers and scales the rest. `[.., d]` → `[.., d]`; with rate 0 it is `self`.
    #[track_caller]
    pub fn dropout(self, dropout: &Dropout) -> Var<'t> {
        if dropout.rate == 0.0 {
            return self;
        }
        self.tape().apply(Drop(dropout.clone()), &[self])
    }
}

#[derive(Debug)]
struct Drop(Dropout);

/// The rule that a dropout on `rows` rows must keep, if it breaks it.
pub(super) fn broken(dropout: &Dropout, rows: usize) -> Option<String> {
    let places = dropout.places.slots().len();
    if !(0.0..1.0).contains(&dropout.rate) {
        return Some(format!("a dropout rate lies in [0, 1), this is {}", dropout.rate));
    }
    (places != rows || dropout.places.positions().len() != rows)
        .then(|| format!("dropout needs a place for each of {rows} rows, there are {places}"))
}

impl Op for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn keep(&self) -> Keep {
        Keep::NOTHING
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match broken(&self.0, inputs[0].rows()) {
            Some(rule) => Err(ShapeError::new(rule, inputs)),
            None => Ok(inputs[0]),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        Flops::each(n.out(), 1, 1)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        dropout(cx.engine, &cx.inputs[0], &self.0)
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.give(0, dropout(cx.engine, cx.grad, &self.0));
    }
}

/// Three rows: two tokens of the text in slot 7, one of slot 9.
pub(super) fn a_third() -> Dropout {
    let places = Places::new(&[0, 2, 2, 3], 7);
    Dropout { rate: 1.0 / 3.0, key: [1, 2], places: Arc::new(places) }
}

/// Whether `a_third` drops number `i` of rows of 70, straight from the definition.
pub(super) fn is_dropped(i: usize) -> bool {
    let (dropout, row, channel) = (a_third(), i / 70, i % 70);
    let counter = [channel as u32 / 4, dropout.places.positions()[row], dropout.places.slots()[row], 0];
    let word = philox(counter, dropout.key)[channel % 4];
    f64::from(word) < f64::from(dropout.rate) * 4_294_967_296.0
}

const ROWS: In = In::normal(&[3, 70]).blocked(is_dropped);

pub(super) const ENTRY: Entry = Entry {
    name: "dropout",
    cases: &[
        Case::new("a third is dropped", &[ROWS], |x| x[0].dropout(&a_third())),
        Case::new("the same mask twice", &[ROWS], |x| x[0].dropout(&a_third()).dropout(&a_third())),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::{Engine, Stream};

    /// What becomes of ones, `[rows, width]`.
    fn of_ones(rate: f32, width: usize, places: Places) -> Vec<f64> {
        let tape = Tape::new(&Engine::poisoned(2));
        let rows = places.slots().len();
        let x = tape.leaf(Tensor::from_vec([rows, width], vec![1.0f32; rows * width]));
        let key = Stream { seed: 3, step: 1, tag: 5 }.key();
        x.dropout(&Dropout { rate, key, places: Arc::new(places) }).value().to_f64()
    }

    #[test]
    fn the_share_of_dropped_numbers_is_the_rate_and_the_rest_is_scaled() {
        for rate in [0.1f32, 0.5, 0.9] {
            let y = of_ones(rate, 100, Places::new(&[0, 300, 1000], 0));
            let (n, p) = (y.len() as f64, f64::from(rate));
            let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64;
            let standard_error = (n * p * (1.0 - p)).sqrt();
            assert!((dropped - n * p).abs() < 5.0 * standard_error, "{dropped} of {n} at rate {rate}");
            let scale = f64::from((1.0 / (1.0 - p)) as f32);
            assert!(y.iter().all(|&y| y == 0.0 || y == scale));
        }
    }

    #[test]
    fn a_text_keeps_its_mask_however_the_batch_is_cut() {
        let whole = of_ones(0.5, 33, Places::new(&[0, 4, 5, 47], 0));
        let tail = of_ones(0.5, 33, Places::new(&[0, 1, 43], 1));
        assert_eq!(whole[4 * 33..], tail);
        let other_slot = of_ones(0.5, 33, Places::new(&[0, 1, 43], 2));
        assert_ne!(other_slot, tail);
    }

    #[test]
    fn rows_and_channels_have_masks_of_their_own() {
        let y = of_ones(0.5, 64, Places::new(&[0, 2, 4], 0));
        let rows: Vec<&[f64]> = y.chunks(64).collect();
        assert!((0..4).all(|i| (0..i).all(|j| rows[i] != rows[j])));
        assert!(rows[0].chunks(4).any(|c| c != &rows[0][..4]));
    }

    #[test]
    fn rate_zero_records_nothing() {
        let tape = Tape::new(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([3, 70], vec![1.0f32; 210]));
        x.dropout(&Dropout { rate: 0.0, ..a_third() });
        assert!(tape.op_names().is_empty());
    }

    #[test]
    #[should_panic(expected = "dropout needs a place for each of 2 rows, there are 3")]
    fn every_row_needs_a_place() {
        let tape = Tape::new(&Engine::new(1));
        tape.leaf(Tensor::from_vec([2, 70], vec![1.0f32; 140])).dropout(&a_third());
    }
}
