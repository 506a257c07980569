//! Mistakes that people make. The marking has to see each of them.

use crate::exercises::mask::Known;
use crate::marks::{self, Marked};
use crate::solutions;
use lode::autograd::gradcheck::{Case, In};
use lode::engine::Packed;

/// Each mistake, and how it was marked.
pub(crate) fn all() -> Vec<(&'static str, Marked)> {
    [derivatives(), layers(), negatives()].concat()
}

/// Chapters 1 to 4.
fn derivatives() -> Vec<(&'static str, Marked)> {
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

/// Chapters 5 and 6.
fn layers() -> Vec<(&'static str, Marked)> {
    vec![
        (
            "attention without 1/√d",
            marks::attention(|q, k, v, s| {
                solutions::attention::attention(q.scale((q.shape().last() as f64).sqrt()), k, v, s)
            }),
        ),
        (
            "attention over the ends of texts",
            marks::attention(|q, k, v, s| solutions::attention::attention(q, k, v, &[s[0], s[s.len() - 1]])),
        ),
        (
            "attention whose keys are not learned",
            marks::attention(|q, k, v, s| solutions::attention::attention(q, k.detach(), v, s)),
        ),
        (
            "AdamW without the corrections of the start",
            marks::adamw(|state, p, g, rate, decay| {
                state.t = 100_000;
                solutions::adamw::step(state, p, g, rate, decay);
            }),
        ),
        (
            "decay that goes through the division",
            marks::adamw(|state, p, g, rate, decay| {
                let g: Vec<f64> = g.iter().zip(&*p).map(|(g, p)| g + decay * p).collect();
                solutions::adamw::step(state, p, &g, rate, 0.0);
            }),
        ),
    ]
}

/// Chapters 7 and 8.
fn negatives() -> Vec<(&'static str, Marked)> {
    vec![
        (
            "a mask of the drawn positive alone",
            marks::mask(|known, queries, columns, target| {
                let mut positives = known.positives.clone();
                queries
                    .iter()
                    .zip(target)
                    .for_each(|(&q, &t)| positives[q as usize] = vec![columns[t as usize]]);
                let known = Known { positives, text: known.text.clone() };
                solutions::mask::keep(&known, queries, columns, target)
            }),
        ),
        (
            "a mask that knows no texts",
            marks::mask(|known, queries, columns, target| {
                let known = Known {
                    positives: known.positives.clone(),
                    text: (0..known.text.len() as u32).collect(),
                };
                solutions::mask::keep(&known, queries, columns, target)
            }),
        ),
        (
            "a mask of the target, too",
            marks::mask(|known, queries, columns, target| {
                solutions::mask::keep(known, queries, columns, &vec![u32::MAX; target.len()])
            }),
        ),
        (
            "halves by a channel that says nothing",
            marks::halves(|rows| {
                let mut order: Vec<u32> = (0..rows.rows() as u32).collect();
                order.sort_by(|&a, &b| rows.row(a as usize)[4].total_cmp(&rows.row(b as usize)[4]));
                let right = order.split_off(order.len().div_ceil(2));
                [order, right]
            }),
        ),
        (
            "two means whose sides are not equal",
            marks::halves(|rows| {
                let side = |lobe: bool| {
                    (0..rows.rows() as u32)
                        .filter(|&r| {
                            let row = rows.row(r as usize);
                            (row[1] > row[0]) == lobe
                        })
                        .collect()
                };
                [side(false), side(true)]
            }),
        ),
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
