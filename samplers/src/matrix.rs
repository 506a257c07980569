//! The two shapes in which everything comes in: rows of numbers, and rows of ids.
//!
//! ```text
//! Matrix  data [n · width]        row i = data[i·width .. (i+1)·width]
//! Csr     starts [n + 1], items   row i = items[starts[i] .. starts[i+1]]        Lists own what a Csr borrows
//! ```

use engine::kernels::lanes;

/// Rows of f32 numbers, borrowed: embeddings, scores.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// All rows, one after another, `[n · width]`.
    pub data: &'a [f32],
    /// Numbers in a row.
    pub width: usize,
}

impl<'a> Matrix<'a> {
    /// Reads `data` as rows of `width` numbers.
    ///
    /// # Panics
    /// If `width` is 0 or does not divide the length.
    #[track_caller]
    pub fn new(data: &'a [f32], width: usize) -> Matrix<'a> {
        assert!(
            width > 0 && data.len().is_multiple_of(width),
            "Matrix: {} numbers, width {width}",
            data.len()
        );
        Matrix { data, width }
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.data.len() / self.width
    }
    /// Row `i`.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.width..(i + 1) * self.width]
    }
}

/// Rows of ids, borrowed (compressed sparse rows): the labels of each query, the queries of each label,
/// filters. The ids of a row ascend.
#[derive(Clone, Copy, Debug)]
pub struct Csr<'a> {
    /// Where each row starts, and the end: `[n + 1]`.
    pub starts: &'a [u64],
    /// The ids of all rows, one row after another.
    pub items: &'a [u32],
}

impl<'a> Csr<'a> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
    /// The ids of row `i`, ascending.
    pub fn row(&self, i: usize) -> &'a [u32] {
        &self.items[self.starts[i] as usize..self.starts[i + 1] as usize]
    }
}

/// Rows of ids, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    starts: Vec<u64>,
    items: Vec<u32>,
}

impl Lists {
    /// Rows that follow each other in `items`, each ending where `ends` says.
    ///
    /// # Panics
    /// If the ends descend, or the last one is not the end of the items.
    #[track_caller]
    pub fn new(ends: impl IntoIterator<Item = u64>, items: Vec<u32>) -> Lists {
        let starts: Vec<u64> = std::iter::once(0).chain(ends).collect();
        assert!(starts.is_sorted(), "Lists: a row ends before it starts");
        assert_eq!(starts.last(), Some(&(items.len() as u64)), "Lists: the last row ends with the items");
        Lists { starts, items }
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }
    /// The ids of row `i`.
    pub fn row(&self, i: usize) -> &[u32] {
        self.csr().row(i)
    }
    /// The ids of all rows, one row after another.
    pub fn items(&self) -> &[u32] {
        &self.items
    }
    /// To be read by others.
    pub fn csr(&self) -> Csr<'_> {
        Csr { starts: &self.starts, items: &self.items }
    }
    /// The same rows of other ids.
    pub fn map(self, to: impl Fn(&u32) -> u32) -> Lists {
        Lists { items: self.items.iter().map(to).collect(), starts: self.starts }
    }
    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        8 * self.starts.len() + 4 * self.items.len()
    }
}

impl<R: AsRef<[u32]>> FromIterator<R> for Lists {
    fn from_iter<I: IntoIterator<Item = R>>(rows: I) -> Lists {
        let (mut starts, mut items) = (vec![0], vec![]);
        for row in rows {
            items.extend_from_slice(row.as_ref());
            starts.push(items.len() as u64);
        }
        Lists { starts, items }
    }
}

/// x·y, in lanes: the same bits on every processor.
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    lanes::sum([x, y], |[x, y]| x * y)
}

/// sum ← sum + α·x.
#[inline(always)]
pub(crate) fn add_scaled(sum: &mut [f32], alpha: f32, x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += alpha * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_is_the_sum_of_products_at_every_length() {
        for n in [0usize, 1, 31, 32, 33, 64, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            let y: Vec<f32> = (0..n).map(|i| (i % 5) as f32).collect();
            // Whole numbers below 2²⁴: f32 has them exactly, in any order of summation.
            let want: f32 = (0..n).map(|i| x[i] * y[i]).sum();
            assert_eq!(dot(&x, &y), want, "length {n}");
        }
    }

    #[test]
    fn lists_are_rows_one_after_another() {
        let lists: Lists = [&[4, 9][..], &[], &[1]].into_iter().collect();
        assert_eq!(
            (lists.rows(), lists.row(0), lists.row(1), lists.row(2)),
            (3, &[4, 9][..], &[][..], &[1][..])
        );
        assert_eq!(lists, Lists::new([2, 2, 3], vec![4, 9, 1]));
        assert_eq!(lists.map(|id| id + 1).items(), [5, 10, 2]);
    }

    #[test]
    fn csr_rows_come_back_and_may_be_empty() {
        let csr = Csr { starts: &[0, 2, 2, 3], items: &[4, 9, 1] };
        assert_eq!((csr.rows(), csr.row(0), csr.row(1), csr.row(2)), (3, &[4, 9][..], &[][..], &[1][..]));
    }
}
