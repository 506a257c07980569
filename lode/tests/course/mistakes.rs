//! Mistakes that people make. The marking has to see each of them.

use crate::marks::{self, Marked};
use crate::solutions;
use lode::autograd::gradcheck::{Case, In};
use lode::engine::Packed;

/// Each mistake, and how it was marked.
pub(crate) fn all() -> Vec<(&'static str, Marked)> {
    vec![
        ("a slope of the first factor alone", marks::slope(|x| 2.0 * x * x.tanh())),
        ("a slope of one factor times that of the other", {
            marks::slope(|x| 2.0 * x * (1.0 - x.tanh() * x.tanh()))
        }),
        ("an outer product that hides b from the walk back", marks::outer(HIDES_B)),
        ("forces without 1/τ", marks::infonce(without_temperature)),
        ("a loss that forgets the mask", {
            marks::infonce(|s, c, keep, t| solutions::infonce::infonce(s, c, &vec![true; keep.len()], t))
        }),
        ("exponentials that overflow", marks::infonce(overflowing)),
        ("a mean over the frame, too", marks::bag(with_frame)),
        ("texts that run into each other", {
            marks::bag(|table, width, texts| {
                let mut one = Packed::default();
                one.push(texts.tokens.iter().copied());
                solutions::bag::encode(table, width, &one).repeat(texts.len())
            })
        }),
    ]
}

const HIDES_B: Case = Case::new("hides b", &[In::normal(&[3]), In::normal(&[4])], |x| {
    x[0].reshape([3, 1]).matmul(x[1].detach().reshape([1, 4]))
});

fn without_temperature(s: &[f64], c: usize, keep: &[bool], temperature: f64) -> (f64, Vec<f64>) {
    let (loss, forces) = solutions::infonce::infonce(s, c, keep, temperature);
    (loss, forces.iter().map(|f| f * temperature).collect())
}

/// Right wherever no exponential is infinite.
fn overflowing(s: &[f64], c: usize, keep: &[bool], temperature: f64) -> (f64, Vec<f64>) {
    let e = |j: usize| if keep[j] || j == c { (s[j] / temperature).exp() } else { 0.0 };
    let z: f64 = (0..s.len()).map(e).sum();
    let force =
        |j: usize| if e(j) == 0.0 { 0.0 } else { (e(j) / z - f64::from(u8::from(j == c))) / temperature };
    (z.ln() - s[c] / temperature, (0..s.len()).map(force).collect())
}

fn with_frame(table: &[f32], width: usize, texts: &Packed) -> Vec<f32> {
    let mut framed = Packed::default();
    (0..texts.len()).for_each(|i| framed.push([[0].as_slice(), texts.text(i), &[0]].concat()));
    solutions::bag::encode(table, width, &framed)
}
