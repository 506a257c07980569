//! The product as it is meant, which the fast one equals bit for bit:
//!
//! ```text
//! s_d = Σ_x a[i][x]·b[x][j], one fused multiply-add after another, x in the d-th run of `depth` terms
//! c[i][j] ← α·s_0 + β·c[i][j], or α·s_0 if β is 0;   then c[i][j] ← α·s_d + c[i][j] for d = 1, 2, …, fused
//! ```

use super::Mat;

/// C ← α·A·B + β·C for one matrix. A and B come with the place of their first number.
#[inline(always)]
pub(super) fn multiply(
    depth: usize,
    alpha: f32,
    a: (usize, Mat<'_, f32>),
    b: (usize, Mat<'_, f32>),
    beta: f32,
    c: &mut [f32],
) {
    let ([_, m, k], n) = (a.1.size, b.1.columns());
    let number = |(first, x): (usize, Mat<'_, f32>), row: usize, column: usize| {
        x.data[first + row * x.strides[1] + column * x.strides[2]]
    };
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let c = &mut c[i * n + j];
        if k == 0 {
            *c = if beta == 0.0 { 0.0 } else { beta * *c };
        }
        for first in (0..k).step_by(depth) {
            let terms = first..k.min(first + depth);
            let sum = terms.fold(0.0f32, |s, x| number(a, i, x).mul_add(number(b, x, j), s));
            *c = match (first, beta) {
                (0, 0.0) => alpha * sum,
                (0, _) => alpha.mul_add(sum, beta * *c),
                _ => alpha.mul_add(sum, *c),
            };
        }
    }
}
