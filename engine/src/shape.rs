//! Shapes: at most four dimensions, row-major, copied by value.

use std::fmt;

/// The most dimensions that a tensor may have.
pub const RANK_MAX: usize = 4;

/// The dimensions of a tensor, outermost first. Rank 0 is a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; RANK_MAX],
    rank: u8,
}

impl Shape {
    /// A shape from its dimensions.
    ///
    /// # Panics
    /// If there are more than [`RANK_MAX`] dimensions or their product overflows.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Shape {
        assert!(dims.len() <= RANK_MAX, "shape {dims:?}: rank {} exceeds {RANK_MAX}", dims.len());
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        assert!(count.is_some(), "shape {dims:?}: the number of elements overflows");
        let mut all = [1; RANK_MAX];
        all[..dims.len()].copy_from_slice(dims);
        Shape { dims: all, rank: dims.len() as u8 }
    }
    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }
    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank()]
    }
    /// Dimension `i`.
    #[track_caller]
    pub fn dim(&self, i: usize) -> usize {
        self.dims()[i]
    }
    /// The innermost dimension; 1 for a scalar.
    pub fn last(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }
    /// The product of all dimensions but the innermost: the number of rows.
    pub fn rows(&self) -> usize {
        self.dims()[..self.rank().saturating_sub(1)].iter().product()
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }
    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The same shape with the innermost dimension replaced.
    #[track_caller]
    pub fn with_last(&self, last: usize) -> Shape {
        assert!(self.rank > 0, "a scalar has no last dimension");
        let mut shape = *self;
        shape.dims[self.rank() - 1] = last;
        shape
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Shape {
        Shape::new(&dims)
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Shape {
        Shape::new(dims)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.dims()).finish()
    }
}

/// An operation was given shapes that do not fit: a programmer's error, which the tape turns into a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The rule, in words: what was expected.
    pub rule: String,
    /// The shapes that were given.
    pub got: Vec<Shape>,
}

impl ShapeError {
    /// A broken rule and the shapes that broke it.
    pub fn new(rule: impl Into<String>, got: &[Shape]) -> ShapeError {
        ShapeError { rule: rule.into(), got: got.to_vec() }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; got {:?}", self.rule, self.got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_counts_rows_and_elements() {
        let s = Shape::from([2, 3, 4]);
        assert_eq!((s.rank(), s.len(), s.rows(), s.last()), (3, 24, 6, 4));
        assert_eq!((Shape::from([]).len(), Shape::from([]).rows(), Shape::from([]).last()), (1, 1, 1));
        assert_eq!(s.with_last(5), Shape::from([2, 3, 5]));
        assert_eq!(format!("{s:?}"), "[2, 3, 4]");
    }
}
