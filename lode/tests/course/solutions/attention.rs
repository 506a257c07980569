//! Exercise 5: attention of one head over packed texts, from operations that you know.
//!
//! ```text
//! for every text:    S = Q Kᵀ/√d,   P = softmax of the rows of S,   O = P V          q, k, v, o [T, d]
//! ```

use lode::Var;

/// o, from q, k and v; text `b` is the rows `starts[b]..starts[b + 1]`.
pub(crate) fn attention<'t>(q: Var<'t>, k: Var<'t>, v: Var<'t>, starts: &[u32]) -> Var<'t> {
    let scale = 1.0 / (q.shape().last() as f64).sqrt();
    let text = |cut: &[u32]| {
        let rows = cut[0] as usize..cut[1] as usize;
        let [q, k, v] = [q, k, v].map(|x| x.slice(0, rows.clone()));
        q.matmul_nt(k).scale(scale).softmax().matmul(v)
    };
    let texts: Vec<Var<'t>> = starts.windows(2).map(text).collect();
    Var::concat(&texts, 0)
}
