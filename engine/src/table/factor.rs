//! Rows of a table that are factors of others: `W = V U + 1 ωᵀ`, V the table.
//!
//! ```text
//! w_l = Uᵀ v_l + ω    V [L, d] of f32,  U [d, d] and ω [d] of f64;  summed in f64, in the order of the rows of U
//! ```
//! Bound by flops, 2·d² a row: [`TOGETHER`] rows share each row of U while it is in cache. Whoever reads W, in memory
//! or from a checkpoint, comes through here, so all see the same bits.

use crate::engine::{Engine, KernelClass};

/// Rows that are multiplied together.
const TOGETHER: usize = 8;
/// Rows in one parallel chunk.
const ROWS: usize = 64;

/// U and ω.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    /// U `[d, d]`.
    pub u: &'a [f64],
    /// ω `[d]`.
    pub omega: &'a [f64],
}

impl Factor<'_> {
    /// row ← Uᵀ row + ω, for each of some rows of V.
    ///
    /// # Panics
    /// If sizes differ.
    pub fn multiply(self, engine: &Engine, rows: &mut [f32]) {
        let width = self.omega.len();
        engine.work(2 * (rows.len() * width) as u64, 4 * rows.len() as u64);
        engine
            .chunks(rows, (ROWS * width).max(1), |_, rows| self.multiply_alone(engine.kernel_class(), rows));
    }
    /// [`Factor::multiply`] by the thread that calls: the same bits.
    ///
    /// # Panics
    /// As there.
    pub fn multiply_alone(self, class: KernelClass, rows: &mut [f32]) {
        let width = self.omega.len();
        assert_eq!(self.u.len(), width * width, "Factor: U has another width than ω");
        assert!(rows.len().is_multiple_of(width.max(1)), "Factor: rows of another width");
        let mut sums = vec![0.0f64; TOGETHER * width];
        for rows in rows.chunks_mut((TOGETHER * width).max(1)) {
            let sums = &mut sums[..rows.len()];
            class.vectorised(
                #[inline(always)]
                || {
                    sums.chunks_exact_mut(width).for_each(|sum| sum.copy_from_slice(self.omega));
                    for (k, u) in self.u.chunks_exact(width).enumerate() {
                        for (sum, row) in sums.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
                            let v = f64::from(row[k]);
                            sum.iter_mut().zip(u).for_each(|(sum, &u)| *sum += v * u);
                        }
                    }
                    rows.iter_mut().zip(&*sums).for_each(|(row, &sum)| *row = sum as f32);
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    /// Against each sum written out, over chunks and blocks that are not full; any number of threads and any class of
    /// kernels has the same bits.
    #[test]
    fn rows_are_those_of_the_product() {
        let (rows, d) = (ROWS + TOGETHER + 3, 5);
        let draw = |n: usize, tag| (0..n as u64).map(move |i| Stream::new(2, tag).uniform(i) - 0.5);
        let v: Vec<f32> = draw(rows * d, 1).map(|x| x as f32).collect();
        let (u, omega): (Vec<f64>, Vec<f64>) = (draw(d * d, 2).collect(), draw(d, 3).collect());
        let factor = Factor { u: &u, omega: &omega };
        let mut got = v.clone();
        factor.multiply(&Engine::new(3), &mut got);
        for (row, (v, got)) in v.chunks(d).zip(got.chunks(d)).enumerate() {
            for (j, got) in got.iter().enumerate() {
                let want = (0..d).map(|k| f64::from(v[k]) * u[k * d + j]).sum::<f64>() + omega[j];
                assert!((f64::from(*got) - want).abs() < 1e-7, "row {row}, column {j}: {got} is not {want}");
            }
        }
        for class in [KernelClass::Portable, KernelClass::detect()] {
            let mut alone = v.clone();
            factor.multiply_alone(class, &mut alone);
            assert!(alone == got, "{}", class.name());
        }
    }
}
