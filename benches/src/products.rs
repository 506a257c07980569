//! The matrix products of training: layers 384 and 768 wide, over the tokens of small and large batches.

use engine::{Engine, Mat, gemm};

/// Inputs and outputs of a layer.
const LAYERS: [[usize; 2]; 6] = [[384, 384], [384, 1536], [1536, 384], [768, 768], [768, 3072], [3072, 768]];

/// Which factors lie transposed in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// g·W: the gradient of a layer's input.
    NN,
    /// x·Wᵀ: a layer.
    NT,
    /// gᵀ·x: the gradient of its weights.
    TN,
}

/// C `[m, n]` = A `[m, k]` · B `[k, n]`.
#[derive(Clone, Debug)]
pub struct Product {
    /// How A and B lie.
    pub kind: Kind,
    /// m, k, n.
    pub size: [usize; 3],
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

/// Every kind and layer, for batches of 1024 and 8192 tokens, and of 4900 (a batch of titles) 384 wide.
pub fn shapes() -> Vec<(Kind, [usize; 3])> {
    let layers = |tokens: usize| LAYERS.iter().map(move |&[from, to]| (tokens, from, to));
    let narrow = layers(4900).filter(|&(_, from, to)| from.min(to) == 384);
    let all = layers(1024).chain(layers(8192)).chain(narrow);
    all.flat_map(|(tokens, from, to)| {
        [(Kind::NN, [tokens, from, to]), (Kind::NT, [tokens, from, to]), (Kind::TN, [from, tokens, to])]
    })
    .collect()
}

impl Product {
    /// One of [`shapes`].
    pub fn new((kind, [m, k, n]): (Kind, [usize; 3])) -> Product {
        let (a, b) = (crate::numbers(m * k), crate::numbers(k * n));
        Product { kind, size: [m, k, n], a, b, c: vec![0.0; m * n] }
    }
    /// Multiplications and additions.
    pub fn flops(&self) -> f64 {
        2.0 * self.size.iter().product::<usize>() as f64
    }
    /// C ← A·B.
    pub fn run(&mut self, engine: &Engine) {
        let [m, k, n] = self.size;
        let a = if self.kind == Kind::TN { Mat::new(&self.a, k, m).t() } else { Mat::new(&self.a, m, k) };
        let b = if self.kind == Kind::NT { Mat::new(&self.b, n, k).t() } else { Mat::new(&self.b, k, n) };
        gemm(engine, 1.0, a, b, 0.0, &mut self.c);
    }
}
