//! Softmax attention of every text with itself (Vaswani et al. 2017), over packed texts: no padded position is ever
//! computed, and no mask is needed.
//!
//! ```text
//! forward    for every text of n tokens and every head of d channels, with Q, K, V its n × d parts of q, k, v:
//!            S = Q Kᵀ/√d + B,  B_ij = b[m + i − j, head]    (or no b)            q, k, v, o  [T, heads·d]
//!            P = softmax of the rows of S:  P_ij = e^{S_ij}/Σ_l e^{S_il}
//!            M = mask/(1 − rate)            (all ones without dropout)
//!            O = (M ∘ P) V
//!
//! backward   V̄ = (M ∘ P)ᵀ Ō
//!            P̄ = M ∘ (Ō Vᵀ)
//!            S̄ = P ∘ (P̄ − c),  c_i = Σ_j P_ij P̄_ij      a row of P adds up to 1: what all of its entries
//!                                                        gain together, none gains
//!            Q̄ = S̄ K/√d,   K̄ = S̄ᵀ Q/√d
//!            b̄[m + δ, head] = Σ S̄_ij over all texts and all i, j with i − j = δ   b  [2m + 1, heads]
//! ```
//! b is a bias by distance: relative positions (Raffel et al. 2020, "T5"; Song et al. 2020, "MPNet"). Where it is −∞ a
//! key is as if it were not there, so that a window (Beltagy et al. 2020, "Longformer") is a bias, too.
//!
//! P is n × n for every head: with n = 512 and d = 32 it would be 16 times as large as q. It is not stored. Backward
//! keeps q, k, v and computes S and P again, one block of queries at a time in cache: a third more arithmetic in
//! backward, and the memory of attention grows with T and not with n². The same is done on accelerators, for the same
//! reason (Dao et al. 2022, "FlashAttention"); texts of some dozen tokens do not need its running softmax.
//!
//! The mask of (head, query i, key j) is word (j mod 4) of Philox(key, [j/4, i, slot, 1 + head]): as in `dropout.rs`,
//! drawn again and never stored.

use super::dropout::{Dropout, broken};
use super::{Entry, pool::cuts};
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::kernels::attention::{Layout, attention, gradients};
use engine::{Places, Shape, ShapeError, Tensor};
use std::sync::Arc;

impl<'t> Var<'t> {
    /// What each token reads from the tokens of its text: queries `self`, keys `k`, values `v`, all `[T, heads·d]` →
    /// `[T, heads·d]`. Text `b` is the rows `starts[b]..starts[b + 1]`; head `h` the columns `h·d..(h + 1)·d`.
    #[track_caller]
    pub fn attention(
        self,
        k: Var<'t>,
        v: Var<'t>,
        starts: Arc<[u32]>,
        heads: usize,
        dropout: Option<Dropout>,
    ) -> Var<'t> {
        let dropout = dropout.filter(|d| d.rate != 0.0);
        self.tape().apply(Attention { starts, heads, dropout }, &[self, k, v])
    }
    /// As [`Var::attention`], with `bias` `[2·m + 1, heads]` added to the scores: row `m + i − j` for query i and key
    /// j. No text is longer than m + 1 tokens.
    #[track_caller]
    pub fn biased_attention(
        self,
        [k, v, bias]: [Var<'t>; 3],
        starts: Arc<[u32]>,
        heads: usize,
        dropout: Option<Dropout>,
    ) -> Var<'t> {
        let dropout = dropout.filter(|d| d.rate != 0.0);
        self.tape().apply(Attention { starts, heads, dropout }, &[self, k, v, bias])
    }
}

#[derive(Debug)]
struct Attention {
    starts: Arc<[u32]>,
    heads: usize,
    dropout: Option<Dropout>,
}

impl Attention {
    fn layout<'a>(&'a self, bias: Option<&'a Tensor>) -> Layout<'a> {
        Layout { starts: &self.starts, heads: self.heads, dropout: self.dropout.as_ref(), bias }
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let q = inputs[0];
        let whole = q.rank() == 2 && self.heads > 0 && q.dim(1) > 0 && q.dim(1).is_multiple_of(self.heads);
        if !whole || inputs[..3].iter().any(|&x| x != q) {
            let rule = format!("q, k and v are [T, {} heads · d], d > 0", self.heads);
            return Err(ShapeError::new(rule, inputs));
        }
        if !cuts(&self.starts, q.dim(0)) {
            return Err(ShapeError::new("starts run from 0 to T and never fall", inputs));
        }
        let longest = self.starts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        if let Some(bias) = inputs.get(3) {
            let [rows, heads] = [0, 1].map(|at| if bias.rank() == 2 { bias.dim(at) } else { 0 });
            if heads != self.heads || rows.is_multiple_of(2) || rows < 2 * longest.max(1) - 1 {
                let rule = format!("a bias is [2m + 1, {} heads] with m + 1 ≥ {longest} tokens", self.heads);
                return Err(ShapeError::new(rule, inputs));
            }
        }
        match self.dropout.as_ref().and_then(|dropout| broken(dropout, q.dim(0))) {
            Some(rule) => Err(ShapeError::new(rule, inputs)),
            None => Ok(q),
        }
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        // Σ n² over the texts: in one head, a pair is a query and a key.
        let pairs: u64 = self.starts.windows(2).map(|w| u64::from(w[1] - w[0]).pow(2)).sum();
        let (products, softmax) = (pairs * n.width(0), pairs * self.heads as u64);
        let (dropped, biased) = (u64::from(self.dropout.is_some()), u64::from(n.count() > 3));
        let of_bias = if biased == 1 { n.wants(3) } else { 0 };
        // S and O; then S again, P̄, V̄, Q̄, K̄. A row of P as in `softmax.rs`.
        Flops {
            forward: 4 * products + (5 + dropped + biased) * softmax,
            backward: 10 * products + (9 + dropped + biased + of_bias) * softmax,
        }
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        attention(cx.engine, [0, 1, 2].map(|i| &cx.inputs[i]), self.layout(cx.inputs.get(3)))
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let biased = cx.count() > 3;
        let layout = self.layout(biased.then(|| cx.input(3)));
        let of_bias = biased && cx.wants(3);
        let grads = gradients(cx.engine, [0, 1, 2].map(|i| cx.input(i)), cx.grad, layout, of_bias);
        for (i, grad) in grads.qkv.into_iter().chain(grads.bias).enumerate() {
            cx.give(i, grad);
        }
    }
}

/// Texts of 3, 1, 0 and 5 tokens.
const STARTS: [u32; 5] = [0, 3, 4, 4, 9];

/// Two heads of three channels, texts as in [`STARTS`].
const VALUES: In = In::normal(&[9, 6]);
/// A text of one token reads itself, whatever its query and key are.
const QUERIES: In = VALUES.blocked(|i| i / 6 == 3);
/// A text longer than one block of queries, and one of one token.
const LONG: In = In::normal(&[38, 2]);
/// Distances of up to five tokens, of which four are met.
const NEAR: In = In::normal(&[11, 2]).blocked(|i| !(2..20).contains(&i));

pub(super) const ENTRY: Entry = Entry {
    name: "attention",
    cases: &[
        Case::new("two heads, ragged texts", &[QUERIES, QUERIES, VALUES], |x| {
            x[0].attention(x[1], x[2], Arc::new(STARTS), 2, None)
        }),
        Case::new("one value is query, key and value", &[VALUES], |x| {
            x[0].attention(x[0], x[0], Arc::new(STARTS), 1, None)
        }),
        Case::new(
            "a text of several blocks",
            &[LONG.blocked(|i| i < 2), LONG.blocked(|i| i < 2), LONG],
            |x| x[0].attention(x[1], x[2], Arc::new([0, 1, 38]), 1, None),
        ),
        Case::new("dropout", &[QUERIES, QUERIES, VALUES], |x| {
            let places = Arc::new(Places::new(&STARTS, 4));
            // With this key every query keeps a key, and every key is kept by a query.
            let dropout = Dropout { rate: 0.2, key: [5, 7], places };
            x[0].attention(x[1], x[2], Arc::new(STARTS), 2, Some(dropout))
        }),
        Case::new("a bias by distance", &[QUERIES, QUERIES, VALUES, NEAR], |x| {
            x[0].biased_attention([x[1], x[2], x[3]], Arc::new(STARTS), 2, None)
        }),
        Case::new("a bias and dropout", &[QUERIES, QUERIES, VALUES, NEAR], |x| {
            let places = Arc::new(Places::new(&STARTS, 4));
            let dropout = Dropout { rate: 0.2, key: [5, 7], places };
            x[0].biased_attention([x[1], x[2], x[3]], Arc::new(STARTS), 2, Some(dropout))
        }),
        Case::new(
            "a bias over several blocks",
            &[LONG.blocked(|i| i < 2), LONG.blocked(|i| i < 2), LONG, In::normal(&[73, 1])],
            |x| x[0].biased_attention([x[1], x[2], x[3]], Arc::new([0, 1, 38]), 1, None),
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use engine::random::philox;
    use engine::{Engine, Stream};

    fn draw(n: usize, tag: u64) -> Vec<f32> {
        (0..n as u64).map(|i| 4.0 * Stream::new(2, tag).uniform(i) as f32 - 2.0).collect()
    }

    /// The equations of the module, number by number.
    fn naive(
        [q, k, v]: &[Vec<f32>; 3],
        starts: &[u32],
        heads: usize,
        width: usize,
        dropout: Option<&Dropout>,
    ) -> Vec<f64> {
        let (d, mut o) = (width / heads, vec![0.0; q.len()]);
        let at = |x: &[f32], token: usize, head: usize, c: usize| f64::from(x[token * width + head * d + c]);
        for (text, w) in starts.windows(2).enumerate() {
            let (start, end) = (w[0] as usize, w[1] as usize);
            for (i, head) in (start..end).flat_map(|i| (0..heads).map(move |h| (i, h))) {
                let logit = |j| {
                    (0..d).map(|c| at(q, i, head, c) * at(k, j, head, c)).sum::<f64>() / (d as f64).sqrt()
                };
                let total: f64 = (start..end).map(|j| f64::exp(logit(j))).sum();
                for j in start..end {
                    let mask = dropout.map_or(1.0, |dropout| {
                        let slot = dropout.places.slots()[0] + text as u32;
                        let key = (j - start) as u32;
                        let counter = [key / 4, (i - start) as u32, slot, 1 + head as u32];
                        let word = philox(counter, dropout.key)[key as usize % 4];
                        let kept = f64::from(word) / 4_294_967_296.0 >= f64::from(dropout.rate);
                        f64::from(u8::from(kept)) / (1.0 - f64::from(dropout.rate))
                    });
                    for c in 0..d {
                        o[i * width + head * d + c] += mask * logit(j).exp() / total * at(v, j, head, c);
                    }
                }
            }
        }
        o
    }

    #[track_caller]
    fn check(lengths: &[u32], heads: usize, d: usize, rate: f32) {
        let starts: Vec<u32> = std::iter::once(0)
            .chain(lengths.iter().scan(0, |end, n| {
                *end += n;
                Some(*end)
            }))
            .collect();
        let (tokens, width) = (starts[lengths.len()] as usize, heads * d);
        let data = [1, 2, 3].map(|tag| draw(tokens * width, tag));
        let places = Arc::new(Places::new(&starts, 11));
        let dropout = (rate > 0.0).then_some(Dropout { rate, key: [8, 9], places });
        let tape = Tape::inference(&Engine::poisoned(3));
        let [q, k, v] = data.clone().map(|x| tape.leaf(Tensor::from_vec([tokens, width], x)));
        let o = q.attention(k, v, starts.clone().into(), heads, dropout.clone()).value().to_f64();
        let want = naive(&data, &starts, heads, width, dropout.as_ref());
        let worst = o.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{lengths:?}, {heads} heads of {d}: {worst:e}");
        assert!(o.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn output_equals_the_equations_on_ragged_texts() {
        check(&[3, 1, 0, 16, 17, 2], 2, 5, 0.0);
        check(&[0, 33, 64, 65], 1, 32, 0.0);
        check(&[1, 200], 3, 16, 0.0);
        check(&[512], 2, 8, 0.0);
        check(&[5, 1, 0, 40], 3, 7, 0.25);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let tape = Tape::inference(&Engine::poisoned(1));
        let x = tape.leaf(Tensor::from_vec([2, 1], vec![100.0f32, -100.0]));
        let o = x.attention(x, x, Arc::new([0, 2]), 1, None).value().to_f64();
        assert_eq!(o, [100.0, -100.0]);
    }

    #[test]
    fn bits_do_not_depend_on_threads_or_company() {
        let starts: Vec<u32> = (0..60).map(|i| i * (i + 1) / 2 % 1000 / 40 * 40 + i).collect();
        let starts: Vec<u32> = {
            let mut s = starts;
            s.sort_unstable();
            s
        };
        let tokens = starts[59] as usize;
        let data = [1, 2, 3, 4].map(|tag| draw(tokens * 6, tag));
        let run = |threads, from: usize| {
            let tape = Tape::new(&Engine::new(threads));
            let first = starts[from];
            let cut: Vec<u32> = starts[from..].iter().map(|s| s - first).collect();
            let n = tokens - first as usize;
            let tensor = |x: &Vec<f32>| Tensor::from_vec([n, 6], x[first as usize * 6..].to_vec());
            let [q, k, v] = [0, 1, 2].map(|i| tape.leaf(tensor(&data[i])));
            let places = Arc::new(Places::new(&cut, from as u32));
            let dropout = Dropout { rate: 0.2, key: [3, 4], places };
            let o = q.attention(k, v, cut.into(), 2, Some(dropout));
            let grads = tape.backward(vec![(o, tensor(&data[3]))]);
            [o.value().to_f64(), grads.of(q).to_f64(), grads.of(k).to_f64(), grads.of(v).to_f64()]
        };
        let whole = run(1, 0);
        assert!(run(3, 0) == whole, "threads");
        let tail = run(2, 20);
        assert!(tail.iter().zip(&whole).all(|(t, w)| t[..] == w[starts[20] as usize * 6..]), "company");
    }
}
