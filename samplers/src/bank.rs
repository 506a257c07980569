//! The memory bank: the last embedding of every query, written as training goes along, so that a new
//! clustering costs no extra forward pass.
//!
//! ```text
//! values [N, d]      row i = embedding of query i, from the step written_at[i]
//! ```
//! A row is as old as the last batch that its query was in: one epoch, or more where the rest that filled no batch
//! was dropped. Plain data: a checkpoint stores `values` and `written_at` and gives them
//! back.

use engine::{Error, Kind, Result};

use crate::Matrix;

/// The step of a row that was never written.
pub const NEVER: u64 = u64::MAX;

/// Stored embeddings and their age.
#[derive(Clone, Debug, PartialEq)]
pub struct Bank {
    values: Vec<f32>,
    width: usize,
    written_at: Vec<u64>,
}

impl Bank {
    /// An empty bank for `rows` embeddings of `width` numbers: 4·rows·width bytes.
    pub fn new(rows: usize, width: usize) -> Bank {
        Bank { values: vec![0.0; rows * width], width, written_at: vec![NEVER; rows] }
    }
    /// The bank that a checkpoint holds.
    ///
    /// # Errors
    /// If the lengths do not belong together.
    pub fn from_parts(values: Vec<f32>, width: usize, written_at: Vec<u64>) -> Result<Bank> {
        if width == 0 || written_at.len().checked_mul(width) != Some(values.len()) {
            let sizes = format!("{} numbers, width {width}, {} rows", values.len(), written_at.len());
            return Err(Error::new(Kind::Damaged, format!("the memory bank does not fit together: {sizes}")));
        }
        Ok(Bank { values, width, written_at })
    }
    /// Writes the embeddings `values` (`[rows.len(), d]`) of the queries `rows`, made at optimizer step
    /// `step`.
    ///
    /// # Panics
    /// If the sizes do not fit.
    #[track_caller]
    pub fn write(&mut self, step: u64, rows: &[u32], values: &[f32]) {
        assert_eq!(
            values.len(),
            rows.len() * self.width,
            "Bank::write: {} rows of {}",
            rows.len(),
            self.width
        );
        for (&row, value) in rows.iter().zip(values.chunks_exact(self.width)) {
            let start = row as usize * self.width;
            self.values[start..start + self.width].copy_from_slice(value);
            self.written_at[row as usize] = step;
        }
    }
    /// True when all of `rows` were written at least once.
    pub fn covers(&self, rows: &[u32]) -> bool {
        rows.iter().all(|&row| self.written_at[row as usize] != NEVER)
    }
    /// How many rows were written at least once.
    pub fn covered(&self) -> usize {
        self.written_at.iter().filter(|&&step| step != NEVER).count()
    }
    /// True when every row was written at least once.
    pub fn is_whole(&self) -> bool {
        self.covered() == self.written_at.len()
    }
    /// The step of the oldest embedding; `None` when nothing was written.
    pub fn oldest(&self) -> Option<u64> {
        self.written_at.iter().copied().filter(|&step| step != NEVER).min()
    }
    /// The embeddings, `[N, d]`; zero where nothing was written.
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.values, self.width)
    }
    /// The step at which each row was written, or [`NEVER`].
    pub fn written_at(&self) -> &[u64] {
        &self.written_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_counted_and_dated() {
        let mut bank = Bank::new(3, 2);
        assert_eq!((bank.covered(), bank.oldest(), bank.is_whole()), (0, None, false));
        bank.write(7, &[2, 0], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(bank.matrix().data, [3.0, 4.0, 0.0, 0.0, 1.0, 2.0]);
        assert!(bank.covers(&[0, 2]) && !bank.covers(&[0, 1]));
        bank.write(9, &[1, 2], &[5.0; 4]);
        assert_eq!((bank.covered(), bank.oldest(), bank.is_whole()), (3, Some(7), true));
        assert_eq!(bank.written_at(), [7, 9, 9]);
    }

    #[test]
    fn a_stored_bank_comes_back_and_a_torn_one_is_refused() {
        let mut bank = Bank::new(2, 2);
        bank.write(1, &[1], &[1.0, 2.0]);
        let (values, dates) = (bank.matrix().data.to_vec(), bank.written_at().to_vec());
        assert_eq!(Bank::from_parts(values.clone(), 2, dates.clone()).unwrap(), bank);
        assert!(Bank::from_parts(values, 1, dates).is_err() && Bank::from_parts(vec![], 0, vec![]).is_err());
    }
}
