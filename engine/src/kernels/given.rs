//! Numbers for a whole tensor, or for some rows of it and zero elsewhere, walked beside the tensor.

use crate::real::Element;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::ops::Range;

/// What an update in place reads beside the tensor that it writes.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// A number for every number of the tensor.
    All(&'a Tensor),
    /// Which rows (ascending, each once) and their numbers, `[n, width]`. All other rows are zero.
    Rows(&'a [u32], &'a Tensor),
}

impl<'a> Given<'a> {
    /// # Panics
    /// If the numbers are not those of a tensor of shape `of`.
    #[track_caller]
    pub(crate) fn check(self, of: Shape) {
        match self {
            Given::All(x) => {
                assert_eq!(x.shape(), of, "the given numbers have another shape than the tensor")
            }
            Given::Rows(rows, x) => {
                let fits = x.len() == rows.len() * of.last() && rows.is_sorted_by(|a, b| a < b);
                assert!(fits, "{} ascending rows of {of:?} cannot be {:?}", rows.len(), x.shape());
                let last = rows.last().is_none_or(|&r| (r as usize) < of.rows());
                assert!(last, "row {:?} of a tensor {of:?}", rows.last());
            }
        }
    }
    /// The numbers beside the places `range` of a tensor whose rows have `width` numbers.
    #[inline(always)]
    pub(crate) fn pieces<T: Element>(self, width: usize, range: Range<usize>) -> Pieces<'a, T> {
        let width = width.max(1);
        let (rows, values) = match self {
            Given::All(x) => (None, x.data::<T>()),
            Given::Rows(rows, x) => (Some(rows), x.data::<T>()),
        };
        let next = rows.map_or(0, |rows| rows.partition_point(|&r| (r as usize + 1) * width <= range.start));
        Pieces { rows, values, width, next, start: range.start, at: range.start, end: range.end }
    }
}

/// A range of a tensor, cut into pieces that have numbers and pieces that are zero.
pub(crate) struct Pieces<'a, T> {
    rows: Option<&'a [u32]>,
    values: &'a [T],
    width: usize,
    /// The first row that was not walked.
    next: usize,
    start: usize,
    at: usize,
    end: usize,
}

impl<'a, T> Iterator for Pieces<'a, T> {
    /// The piece, counted from the start of the range, and its numbers; none where all are zero.
    type Item = (Range<usize>, Option<&'a [T]>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let from = self.at;
        let (to, numbers) = match self.rows {
            None => (self.end, Some(&self.values[from..self.end])),
            Some(rows) => {
                let start = rows.get(self.next).map_or(self.end, |&r| r as usize * self.width);
                if from < start {
                    (start.min(self.end), None)
                } else {
                    let to = (start + self.width).min(self.end);
                    let first = self.next * self.width + from - start;
                    self.next += 1;
                    (to, Some(&self.values[first..first + to - from]))
                }
            }
        };
        self.at = to;
        Some((from - self.start..to - self.start, numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::kernels::rows::scattered;

    #[test]
    fn pieces_of_rows_are_those_of_the_scattered_tensor_wherever_it_is_cut() {
        let (table, rows) = (Shape::from([7, 3]), [1u32, 2, 5]);
        let values = Tensor::from_vec([3, 3], (1..=9).map(f64::from).collect());
        let all = scattered(&Engine::new(1), table, &rows, &values);
        for start in 0..=21 {
            for end in start..=21 {
                let mut seen = Vec::new();
                for (range, numbers) in Given::Rows(&rows, &values).pieces::<f64>(3, start..end) {
                    assert_eq!(range.start, seen.len());
                    seen.extend(numbers.map_or(vec![0.0; range.len()], <[f64]>::to_vec));
                    assert_eq!(range.end, seen.len());
                }
                assert_eq!(seen, all.data::<f64>()[start..end]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "row Some(7)")]
    fn a_row_beyond_the_tensor_is_refused() {
        Given::Rows(&[7], &Tensor::from_vec([1, 3], vec![0.0f32; 3])).check(Shape::from([7, 3]));
    }
}
