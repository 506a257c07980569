//! One step of row-wise Adagrad: one accumulator for a whole row.
//!
//! ```text
//! a ← a + (1/d) Σⱼ gⱼ²
//! p ← p − rate · g / (√a + ε)
//! ```

use super::lanes;
use super::map::CHUNK;
use crate::engine::Engine;
use crate::table::Table;
use crate::tensor::Tensor;

/// One step of ascending rows of a table and of their accumulators, `[rows, 1]`. `grads`, `[n, width]`, lies where the
/// tables do; weights of bf16 are rounded by the chance of step `number`.
///
/// # Panics
/// If sizes differ, rows do not ascend or leave the table, or the tables lie in different memories.
#[track_caller]
pub fn adagrad_rows(
    engine: &Engine,
    [table, accumulators]: [&mut Table; 2],
    (rows, grads): (&[u32], &Tensor),
    (rate, eps): (f32, f32),
    number: u64,
) {
    assert_eq!(grads.shape().dims(), [rows.len(), table.width()], "adagrad_rows: gradients of other rows");
    if let Some(table) = table.on_device(rows) {
        let sums = accumulators.on_device(rows).expect("accumulators on the device of the table");
        return table.adagrad(number, sums, (rows, grads), (rate, eps));
    }
    let mut accumulators = accumulators.rows_mut(rows);
    table.change(engine, number, rows, |mut values| {
        rows_on_cpu(engine, &mut values, &mut accumulators, grads.data(), (rate, eps));
    });
}

/// `values[i]` is a row of the table, `accumulators[i]` its one number.
fn rows_on_cpu(
    engine: &Engine,
    values: &mut [&mut [f32]],
    accumulators: &mut [&mut [f32]],
    grads: &[f32],
    (rate, eps): (f32, f32),
) {
    let width = values.first().map_or(1, |row| row.len().max(1));
    let block = (CHUNK / width).max(1);
    engine.chunks2(
        (values, block),
        (accumulators, block),
        #[inline(always)]
        |i, values, accumulators| {
            let rows = values.iter_mut().zip(accumulators).zip(grads[i * block * width..].chunks(width));
            for ((p, sum), grad) in rows {
                sum[0] += lanes::sum([grad], |[g]| g * g) / width as f32;
                let step = rate / (sum[0].sqrt() + eps);
                p.iter_mut().zip(grad).for_each(|(p, &g)| *p -= step * g);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_moves_by_the_root_of_its_mean_square() {
        // Mean squares 25, 0 and 144 give the roots 5, 5 and 13.
        let (mut row, mut sum) = ([1.0f32, 1.0], [0.0f32]);
        let mut step = |grad: [f32; 2], want: [f32; 2], accumulated: f32| {
            rows_on_cpu(&Engine::new(1), &mut [&mut row], &mut [&mut sum], &grad, (0.5, 0.0));
            assert!(row.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?} after {grad:?}");
            assert_eq!(sum[0], accumulated);
        };
        step([1.0, 7.0], [0.9, 0.3], 25.0);
        step([0.0, 0.0], [0.9, 0.3], 25.0);
        step([12.0, -12.0], [0.9 - 6.0 / 13.0, 0.3 + 6.0 / 13.0], 169.0);
    }
}
