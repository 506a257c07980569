//! What all encoders share: masks, positions, attention, norms and pooling over padded texts.
//!
//! ```text
//! m [B, S]  1 where a token is, else 0            p = max(Σ_{j ≤ i} m_j − 1, 0)  [B, S]
//! attention(q, k, v) = softmax(where(seen, q kᵀ/√d_h + bias, lowest)) v          by head
//! pool Mean  Σ_i m_i h_i / max(Σ_i m_i, 1)     First  Σ_i m_i [p_i = 0] h_i     Max  max_i where(m_i, h_i, lowest)
//! ```
//! `lowest` is the smallest f32 and not −∞: a row of which nothing is seen, as of padding, then is no NaN.

use super::graph::{Dim, Graph, Name, Told};
use autograd::{Activation, Pool};

/// The dimension of texts.
pub(super) const BATCH: Dim = Dim::Named("batch");
/// The dimension of tokens.
const SEQUENCE: Dim = Dim::Named("sequence");

/// Types of numbers in ONNX, as `Cast` is told them.
const FLOAT: i64 = 1;
const BOOL: i64 = 9;

/// The texts of a batch.
pub(super) struct Text {
    /// Token ids `[B, S]`, int64.
    pub(super) ids: Name,
    /// `[B, S]`, int64.
    mask: Name,
    /// Positions `[B, S]`, int64.
    pub(super) positions: Name,
    /// Where a token is, `[B, S]`, bool.
    is_token: Name,
}

impl Text {
    pub(super) fn new(g: &mut Graph<'_>) -> Text {
        let ids = g.input("input_ids", &[BATCH, SEQUENCE]);
        let mask = g.input("attention_mask", &[BATCH, SEQUENCE]);
        g.part = "text".to_owned();
        let (axis, one, zero) = (g.int(1), g.int(1), g.int(0));
        let so_far = g.op("CumSum", &[&mask, &axis], &[]);
        let before = g.op("Sub", &[&so_far, &one], &[]);
        let positions = g.op("Max", &[&before, &zero], &[]);
        let is_token = g.op("Cast", &[&mask], &[("to", Told::Int(BOOL))]);
        Text { ids, mask, positions, is_token }
    }
    /// Types of tokens, as an input.
    pub(super) fn types(g: &mut Graph<'_>) -> Name {
        g.input("token_type_ids", &[BATCH, SEQUENCE])
    }
    /// Which keys are seen, `[B, 1, 1, S]`, bool.
    pub(super) fn keys(&self, g: &mut Graph<'_>) -> Name {
        let axes = g.ints(&[1, 2]);
        g.op("Unsqueeze", &[&self.is_token, &axes], &[])
    }
    /// p_i − p_j `[B, S, S]`, int64.
    pub(super) fn distances(&self, g: &mut Graph<'_>) -> Name {
        let (last, middle) = (g.ints(&[2]), g.ints(&[1]));
        let queries = g.op("Unsqueeze", &[&self.positions, &last], &[]);
        let keys = g.op("Unsqueeze", &[&self.positions, &middle], &[]);
        g.op("Sub", &[&queries, &keys], &[])
    }
    /// The tokens that are neither the first nor the last of their text, as weights `[B, S, 1]`.
    pub(super) fn inner(&self, g: &mut Graph<'_>) -> Name {
        let (axis, two, zero) = (g.ints(&[1]), g.int(2), g.int(0));
        let tokens = g.op("ReduceSum", &[&self.mask, &axis], &[("keepdims", Told::Int(1))]);
        let last_inner = g.op("Sub", &[&tokens, &two], &[]);
        let after = g.op("Greater", &[&self.positions, &zero], &[]);
        let until = g.op("LessOrEqual", &[&self.positions, &last_inner], &[]);
        let inside = g.op("And", &[&after, &until], &[]);
        let inner = g.op("And", &[&inside, &self.is_token], &[]);
        weights(g, &inner)
    }
    /// One vector a text, `[B, d]`, from h `[B, S, d]`.
    pub(super) fn pooled(&self, g: &mut Graph<'_>, h: &Name, how: Pool, normalise: bool) -> Name {
        g.part = "pooling".to_owned();
        let pooled = match how {
            Pool::Mean => {
                let weights = weights(g, &self.is_token);
                mean(g, h, &weights)
            }
            Pool::First => {
                let zero = g.int(0);
                let at_first = g.op("Equal", &[&self.positions, &zero], &[]);
                let first = g.op("And", &[&at_first, &self.is_token], &[]);
                let weights = weights(g, &first);
                sum(g, h, &weights)
            }
            Pool::Max => {
                let (axis, lowest) = (g.ints(&[2]), g.float(f32::MIN));
                let is_token = g.op("Unsqueeze", &[&self.is_token, &axis], &[]);
                let seen = g.op("Where", &[&is_token, h, &lowest], &[]);
                g.op("ReduceMax", &[&seen], &[("axes", Told::Ints(&[1])), ("keepdims", Told::Int(0))])
            }
        };
        normalised(g, pooled, normalise)
    }
}

/// Bools `[B, S]` as weights `[B, S, 1]`.
fn weights(g: &mut Graph<'_>, chosen: &Name) -> Name {
    let axis = g.ints(&[2]);
    let weights = g.op("Cast", &[chosen], &[("to", Told::Int(FLOAT))]);
    g.op("Unsqueeze", &[&weights, &axis], &[])
}

/// Σ_i w_i h_i, `[B, d]`.
fn sum(g: &mut Graph<'_>, h: &Name, weights: &Name) -> Name {
    let axis = g.ints(&[1]);
    let weighed = g.op("Mul", &[h, weights], &[]);
    g.op("ReduceSum", &[&weighed, &axis], &[("keepdims", Told::Int(0))])
}

/// Σ_i w_i h_i / max(Σ_i w_i, 1), `[B, d]`.
pub(super) fn mean(g: &mut Graph<'_>, h: &Name, weights: &Name) -> Name {
    let (axis, one) = (g.ints(&[1]), g.float(1.0));
    let total = g.op("ReduceSum", &[weights, &axis], &[("keepdims", Told::Int(0))]);
    let divisor = g.op("Max", &[&total, &one], &[]);
    let sum = sum(g, h, weights);
    g.op("Div", &[&sum, &divisor], &[])
}

/// y/max(‖y‖, 1e-12), if wished.
pub(super) fn normalised(g: &mut Graph<'_>, y: Name, normalise: bool) -> Name {
    if !normalise {
        return y;
    }
    let floor = g.float(1e-12);
    let length = g.op("ReduceL2", &[&y], &[("axes", Told::Ints(&[1])), ("keepdims", Told::Int(1))]);
    let divisor = g.op("Max", &[&length, &floor], &[]);
    g.op("Div", &[&y, &divisor], &[])
}

/// Heads and what they see.
pub(super) struct Attention<'a> {
    pub(super) heads: usize,
    pub(super) width: usize,
    /// What each query sees, `[B, 1, 1 or S, S]`, bool.
    pub(super) seen: &'a Name,
    /// What is added to the scores, `[B, heads, S, S]`.
    pub(super) bias: Option<&'a Name>,
}

impl Attention<'_> {
    /// `[B, S, d]` → `[B, heads, S, d/heads]`.
    pub(super) fn by_head(&self, g: &mut Graph<'_>, x: &Name) -> Name {
        let shape = g.ints(&[0, 0, self.heads as i64, (self.width / self.heads) as i64]);
        let apart = g.op("Reshape", &[x, &shape], &[]);
        g.op("Transpose", &[&apart], &[("perm", Told::Ints(&[0, 2, 1, 3]))])
    }
    /// What the heads mix, `[B, S, d]`, from q, k and v by head.
    pub(super) fn mixed(&self, g: &mut Graph<'_>, [q, k, v]: [&Name; 3]) -> Name {
        let (scale, lowest) = (g.float(1.0 / ((self.width / self.heads) as f32).sqrt()), g.float(f32::MIN));
        let q = g.op("Mul", &[q, &scale], &[]);
        let k = g.op("Transpose", &[k], &[("perm", Told::Ints(&[0, 1, 3, 2]))]);
        let mut scores = g.op("MatMul", &[&q, &k], &[]);
        if let Some(bias) = self.bias {
            scores = g.op("Add", &[&scores, bias], &[]);
        }
        let scores = g.op("Where", &[self.seen, &scores, &lowest], &[]);
        let probabilities = g.op("Softmax", &[&scores], &[("axis", Told::Int(-1))]);
        let mixed = g.op("MatMul", &[&probabilities, v], &[]);
        let together = g.op("Transpose", &[&mixed], &[("perm", Told::Ints(&[0, 2, 1, 3]))]);
        let shape = g.ints(&[0, 0, self.width as i64]);
        g.op("Reshape", &[&together, &shape], &[])
    }
}

/// Gain and, where there is one, bias.
pub(super) fn norm(g: &mut Graph<'_>, x: &Name, learned: &[&Name], eps: f64) -> Name {
    let inputs: Vec<&Name> = std::iter::once(x).chain(learned.iter().copied()).collect();
    g.op("LayerNormalization", &inputs, &[("axis", Told::Int(-1)), ("epsilon", Told::Float(eps as f32))])
}

/// φ(x).
pub(super) fn bent(g: &mut Graph<'_>, x: &Name, how: Activation) -> Name {
    let half = |g: &mut Graph<'_>, inner: &Name| {
        let (one, half) = (g.float(1.0), g.float(0.5));
        let twice = g.op("Add", &[inner, &one], &[]);
        let share = g.op("Mul", &[&twice, &half], &[]);
        g.op("Mul", &[x, &share], &[])
    };
    match how {
        Activation::Relu => g.op("Relu", &[x], &[]),
        Activation::Gelu => {
            let scale = g.float(std::f32::consts::FRAC_1_SQRT_2);
            let inner = g.op("Mul", &[x, &scale], &[]);
            let inner = g.op("Erf", &[&inner], &[]);
            half(g, &inner)
        }
        Activation::GeluTanh => {
            // tanh(√(2/π) (x + 0.044715 x³))
            let (cubic, scale) = (g.float(0.044_715), g.float((2.0 / std::f32::consts::PI).sqrt()));
            let square = g.op("Mul", &[x, x], &[]);
            let cube = g.op("Mul", &[&square, x], &[]);
            let cube = g.op("Mul", &[&cube, &cubic], &[]);
            let inner = g.op("Add", &[x, &cube], &[]);
            let inner = g.op("Mul", &[&inner, &scale], &[]);
            let inner = g.op("Tanh", &[&inner], &[]);
            half(g, &inner)
        }
    }
}

/// The rows of a table.
pub(super) fn looked_up(g: &mut Graph<'_>, table: &Name, ids: &Name) -> Name {
    g.op("Gather", &[table, ids], &[("axis", Told::Int(0))])
}
