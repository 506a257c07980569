//! Rows of tables: gathered, scattered, added up by row. Bound by bytes.

use crate::cuda;
use crate::engine::Engine;
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Rows in one parallel chunk.
const ROWS: usize = 64;

/// y[n] = table[rows[n]]: `[n, width]`.
///
/// # Panics
/// If a row is out of range.
#[track_caller]
pub fn gathered(engine: &Engine, table: &Tensor, rows: &[u32]) -> Tensor {
    if let Some(cuda) = table.cuda() {
        return cuda::rows::gathered(cuda, table, rows);
    }
    for_real!(table, gathered_real(engine, table, rows))
}

fn gathered_real<T: Real>(engine: &Engine, table: &Tensor, rows: &[u32]) -> Tensor {
    let (width, data) = (table.shape().last(), table.data::<T>());
    let mut y = engine.buffer::<T>(rows.len() * width);
    engine.chunks(&mut y, ROWS * width, |i, y| {
        for (y, &row) in y.chunks_mut(width).zip(&rows[i * ROWS..]) {
            y.copy_from_slice(&data[row as usize * width..][..width]);
        }
    });
    Tensor::from_buf([rows.len(), width], y)
}

/// Zeros of shape `table` with `values[n]` in row `rows[n]`. The rows differ.
///
/// # Panics
/// If a row is out of range.
#[track_caller]
pub fn scattered(engine: &Engine, table: Shape, rows: &[u32], values: &Tensor) -> Tensor {
    if let Some(cuda) = values.cuda() {
        return cuda::rows::scattered(cuda, table, rows, values);
    }
    for_real!(values, scattered_real(engine, table, rows, values))
}

fn scattered_real<T: Real>(engine: &Engine, table: Shape, rows: &[u32], values: &Tensor) -> Tensor {
    let (width, mut all) = (table.last(), engine.zeros::<T>(table.len()));
    for (&row, value) in rows.iter().zip(values.data::<T>().chunks(width.max(1))) {
        all[row as usize * width..][..width].copy_from_slice(value);
    }
    Tensor::from_buf(table, all)
}

/// Sums the rows of `values` (`[n, width]`) that carry the same id. The ids come back ascending, each once; what falls
/// on one id is added in the order of `values`.
pub fn add_by_row(engine: &Engine, ids: &[u32], values: &Tensor) -> (Vec<u32>, Tensor) {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by_key(|&i| (ids[i as usize], i));
    let groups: Vec<&[u32]> = order.chunk_by(|&a, &b| ids[a as usize] == ids[b as usize]).collect();
    let unique = groups.iter().map(|g| ids[g[0] as usize]).collect();
    if let Some(cuda) = values.cuda() {
        let mut cuts = vec![0];
        cuts.extend(groups.iter().scan(0, |at, group| {
            *at += group.len() as u32;
            Some(*at)
        }));
        let width = values.len().checked_div(ids.len()).unwrap_or(0);
        return (unique, cuda::rows::add_by_row(cuda, values, &order, &cuts, width));
    }
    (unique, for_real!(values, add_by_row_real(engine, &groups, values)))
}

fn add_by_row_real<T: Real>(engine: &Engine, groups: &[&[u32]], values: &Tensor) -> Tensor {
    let rows = groups.iter().map(|group| group.len()).sum();
    let (width, data) = (values.len().checked_div(rows).unwrap_or(0), values.data::<T>());
    let mut sums = engine.buffer::<T>(groups.len() * width);
    engine.chunks(
        &mut sums,
        ROWS * width,
        #[inline(always)]
        |i, sums| {
            for (sum, group) in sums.chunks_mut(width).zip(&groups[i * ROWS..]) {
                let row = |i: u32| &data[i as usize * width..][..width];
                sum.copy_from_slice(row(group[0]));
                for &i in &group[1..] {
                    sum.iter_mut().zip(row(i)).for_each(|(s, &x)| *s += x);
                }
            }
        },
    );
    Tensor::from_buf([groups.len(), width], sums)
}

/// The rows of `a`, then the rows of `b`.
///
/// # Panics
/// If widths or types differ.
#[track_caller]
pub fn joined(engine: &Engine, a: &Tensor, b: &Tensor) -> Tensor {
    if let Some(cuda) = cuda::of(&[a, b]) {
        assert_eq!(a.shape().last(), b.shape().last(), "joined: the widths differ");
        return cuda::rows::joined(cuda, a, b);
    }
    for_real!(a, joined_real(engine, a, b))
}

fn joined_real<T: Real>(engine: &Engine, a: &Tensor, b: &Tensor) -> Tensor {
    assert_eq!(a.shape().last(), b.shape().last(), "joined: the widths differ");
    let mut both = engine.buffer::<T>(a.len() + b.len());
    both[..a.len()].copy_from_slice(a.data());
    both[a.len()..].copy_from_slice(b.data());
    Tensor::from_buf([a.shape().rows() + b.shape().rows(), a.shape().last()], both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_gathered_added_and_scattered() {
        let engine = Engine::new(2);
        let table = Tensor::from_vec([3, 2], vec![0.0f32, 1.0, 10.0, 11.0, 20.0, 21.0]);
        let y = gathered(&engine, &table, &[2, 0, 2]);
        assert_eq!(y.data::<f32>(), [20.0, 21.0, 0.0, 1.0, 20.0, 21.0]);
        let (ids, sums) = add_by_row(&engine, &[2, 0, 2], &y);
        assert_eq!((&ids[..], sums.data::<f32>()), (&[0, 2][..], &[0.0, 1.0, 40.0, 42.0][..]));
        let all = scattered(&engine, table.shape(), &ids, &sums);
        assert_eq!(all.data::<f32>(), [0.0, 1.0, 0.0, 0.0, 40.0, 42.0]);
        assert_eq!(joined(&engine, &sums, &y).shape(), Shape::from([5, 2]));
    }
}
