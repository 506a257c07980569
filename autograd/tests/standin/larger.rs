//! Cases that are larger than one tile, one block or one warp of a kernel: the gradient cases of the operations are
//! small, since differences are taken of each.

use autograd::gradcheck::{Case, Draw, In};
use autograd::{
    Activation, DecoupledSoftmax, Dropout, MultiTriplet, Pool, Relevance, SoftTopK, SoftmaxLoss, Target,
    Triplet, Var, Weighting,
};
use engine::Tensor;
use engine::packed::Places;
use std::sync::Arc;

/// Texts of 70, 1, 0 and 79 tokens.
const STARTS: [u32; 5] = [0, 70, 71, 71, 150];

fn dropout() -> Option<Dropout> {
    Some(Dropout { rate: 0.25, key: [3, 4], places: Arc::new(Places::new(&STARTS, 5)) })
}

/// Five rows of 300 scores: one in twenty a positive, one in six left out, the others negatives.
fn relevance() -> Relevance {
    let mark = |of: fn(usize) -> bool| (0..1500).map(of).collect::<Vec<bool>>().into();
    Relevance { positive: mark(|i| i % 20 == 3), negative: mark(|i| i % 6 != 0) }
}

const SCORES: In = In::normal(&[5, 300]);
const APART: In = In::drawn(&[5, 300], Draw::Distinct(0.01));
const TEXTS: In = In::normal(&[150, 80]);
const WIDE: In = In::normal(&[150, 128]);

pub(super) const CASES: &[Case] = &[
    Case::new("map", &[In::normal(&[1000])], |x| x[0].gelu()),
    Case::new("linear", &[In::normal(&[130, 70]), In::normal(&[100, 70]), In::normal(&[100])], |x| {
        x[0].linear(x[1], Some(x[2]))
    }),
    Case::new("matmul", &[In::normal(&[2, 70, 33]), In::normal(&[2, 33, 65])], |x| x[0].matmul(x[1])),
    Case::new("matmul, transposed", &[In::normal(&[2, 70, 33]), In::normal(&[2, 65, 33])], |x| {
        x[0].matmul_nt(x[1])
    }),
    Case::new(
        "feed_forward",
        &[
            In::normal(&[70, 20]),
            In::normal(&[130, 20]),
            In::normal(&[130]),
            In::normal(&[40, 130]),
            In::normal(&[40]),
        ],
        |x| x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::Gelu),
    ),
    Case::new(
        "feed_forward, lines of 16 bytes in bf16",
        &[
            In::normal(&[72, 24]),
            In::normal(&[136, 24]),
            In::normal(&[136]),
            In::normal(&[40, 136]),
            In::normal(&[40]),
        ],
        |x| x[0].feed_forward(x[1], x[2], x[3], x[4], Activation::Gelu),
    ),
    Case::new("attention", &[WIDE, WIDE, WIDE], |x| x[0].attention(x[1], x[2], Arc::new(STARTS), 2, None)),
    Case::new("attention, dropout", &[TEXTS, TEXTS, TEXTS], |x| {
        x[0].attention(x[1], x[2], Arc::new(STARTS), 2, dropout())
    }),
    Case::new("attention, the widest head", &[WIDE, WIDE, WIDE], |x| {
        x[0].attention(x[1], x[2], Arc::new(STARTS), 1, None)
    }),
    Case::new("attention, a bias and dropout", &[TEXTS, TEXTS, TEXTS, In::normal(&[161, 2])], |x| {
        x[0].biased_attention([x[1], x[2], x[3]], Arc::new(STARTS), 2, dropout())
    }),
    Case::new("attention, a window", &[TEXTS, TEXTS, TEXTS], |x| {
        let far = |at: usize| if at / 2 > 80 + 20 || at / 2 < 80 - 20 { f32::NEG_INFINITY } else { 0.0 };
        let bias = x[0].tape().constant(Tensor::from_vec([161, 2], (0..322).map(far).collect()));
        x[0].biased_attention([x[1], x[2], bias], Arc::new(STARTS), 2, None)
    }),
    Case::new("rotary", &[TEXTS], |x| x[0].rotary((0..150).collect(), 5, 1e4)),
    Case::new("softmax", &[SCORES], |x| x[0].softmax()),
    // Its exponentials are infinite unless the maximum is taken away.
    Case::new("softmax, far from 0", &[SCORES], |x| x[0].shift(200.0).softmax()),
    Case::new("normalise, shorter than the floor", &[SCORES], |x| x[0].scale(1e-14).normalise()),
    Case::new("logsumexp", &[SCORES], |x| x[0].logsumexp(None)),
    Case::new("normalise", &[SCORES], |x| x[0].normalise()),
    Case::new("layer_norm", &[In::normal(&[200, 150]), In::normal(&[150]), In::normal(&[150])], |x| {
        x[0].layer_norm(x[1], x[2], 1e-5)
    }),
    Case::new("residual_norm", &[TEXTS, TEXTS, In::normal(&[80]), In::normal(&[80])], |x| {
        x[0].residual_norm(x[1], &dropout(), x[2], x[3], 1e-5)
    }),
    Case::new("dropout", &[TEXTS], |x| x[0].dropout(&dropout().expect("it is one"))),
    Case::new("pool, mean", &[WIDE], |x| x[0].pool(Pool::Mean, Arc::new(STARTS))),
    Case::new("pool, max", &[In::normal(&[150, 300])], |x| x[0].pool(Pool::Max, Arc::new(STARTS))),
    Case::new("gather", &[In::normal(&[50, 70])], |x| x[0].gather((0..200).map(|i| i * i % 50).collect())),
    Case::new("slice", &[WIDE], |x| x[0].slice(1, 30..100)),
    Case::new("concat", &[WIDE, TEXTS], |x| Var::concat(x, 1)),
    Case::new("sum", &[In::normal(&[200, 170])], |x| x[0].sum()),
    Case::new("row repeated", &[In::normal(&[300, 70]), In::normal(&[70])], |x| x[0] * x[1]),
    Case::new("middle repeated", &[In::normal(&[3, 150, 7]), In::normal(&[3, 1, 7])], |x| x[0] * x[1]),
    Case::new("softmax_loss", &[SCORES], |x| {
        let target = Target::Column([0, 299, 150, 7, 128].into());
        let keep = Some((0..1500).map(|i| i % 7 != 2).collect::<Vec<bool>>().into());
        x[0].softmax_loss(SoftmaxLoss { scale: 2.0, keep, omega: None, beta: None, target })
    }),
    Case::new("decoupled_softmax", &[SCORES], |x| {
        x[0].decoupled_softmax(DecoupledSoftmax { scale: 1.5, relevance: relevance(), omega: None })
    }),
    Case::new("soft_top_k", &[SCORES], |x| {
        x[0].soft_top_k(SoftTopK { k: 10.0, sharpness: 1.3, relevance: relevance() })
    }),
    Case::new("top_k", &[APART], |x| x[0].top_k(140)),
    // Every number twice, the second with an input of its own: of equal ones the first is chosen.
    Case::new("top_k, equal numbers", &[APART, APART], |x| {
        Var::concat(&[x[0], x[0] + (x[1] - x[1].detach())], 1).top_k(7)
    }),
    Case::new("triplet", &[APART], |x| {
        let target = [0, 299, 150, 7, 128].into();
        let (k, margin, temperature, weighting) = (40, 0.5, 0.8, Weighting::Active);
        x[0].triplet(Triplet { target, keep: None, k, margin, temperature, weighting })
    }),
    Case::new("multi_triplet", &[APART], |x| {
        x[0].multi_triplet(MultiTriplet { relevance: relevance(), positives: 9, negatives: 30, margin: 0.5 })
    }),
];
