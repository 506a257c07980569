//! The product on every other processor, and in f64: blocks of C by `matrixmultiply`, which chooses AVX2 or portable
//! code by itself.
//!
//! A block is large because every block packs its own panels of A and B.

use super::{Job, Team};
use crate::real::Real;

/// Rows and columns of a block of C.
const BLOCK: usize = 768;

/// C ← α·A·B + β·C, for k > 0 and C not empty.
///
/// # Safety
/// What [`Job`] promises holds.
pub(super) unsafe fn multiply<T: Real>(team: &Team<'_>, job: &Job<'_, T>) {
    let [m, k, n] = job.size;
    let rows = BLOCK.min(m.next_multiple_of(2).div_ceil(2).max(64)).min(m);
    let columns = if m >= 4 * BLOCK { n } else { BLOCK.min(n) };
    let across = n.div_ceil(columns);
    team.run(m.div_ceil(rows) * across, &|task| {
        let (i, j) = (task / across * rows, task % across * columns);
        let (rows, columns) = (i..m.min(i + rows), j..n.min(j + columns));
        let stride = |s: [usize; 2]| s.map(|s| s as isize);
        // SAFETY: by contract; no other task writes this block of C.
        unsafe {
            let a = (job.a.start.add(i * job.a.strides[0]), stride(job.a.strides));
            let b = (job.b.start.add(j * job.b.strides[1]), stride(job.b.strides));
            let c = (job.c.at(i * n + j), [n as isize, 1]);
            T::matrix_multiply([rows.len(), k, columns.len()], job.alpha, a, b, job.beta, c);
        }
        (job.finished)(rows, columns);
    });
}
