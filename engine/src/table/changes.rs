//! Which rows were written since the last checkpoint: one bit a row.

/// The rows `from..to` as `[from, to]`, of a list that ascends and does not overlap.
pub type Run = [u32; 2];

/// Bits in a word.
const BITS: usize = 64;

pub(super) struct Changes {
    words: Vec<u64>,
    rows: usize,
}

impl Changes {
    /// Of so many rows none.
    pub(super) fn none(rows: usize) -> Changes {
        Changes { words: vec![0; rows.div_ceil(BITS)], rows }
    }
    pub(super) fn add(&mut self, row: usize) {
        self.words[row / BITS] |= 1 << (row % BITS);
    }
    pub(super) fn add_all(&mut self) {
        (0..self.rows).for_each(|row| self.add(row));
    }
    pub(super) fn forget(&mut self) {
        self.words.fill(0);
    }
    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
    /// Runs as long as they can be.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let from = self.seek(next, true).filter(|&row| row < self.rows)?;
            next = self.seek(from, false).map_or(self.rows, |row| row.min(self.rows));
            Some([from as u32, next as u32])
        })
    }
    /// The first row at or after `row` that was written, or was not; rows after the last one were not.
    fn seek(&self, row: usize, written: bool) -> Option<usize> {
        let mut at_and_after = u64::MAX << (row % BITS);
        for (i, &word) in self.words.iter().enumerate().skip(row / BITS) {
            let found = if written { word } else { !word } & at_and_after;
            if found != 0 {
                return Some(BITS * i + found.trailing_zeros() as usize);
            }
            at_and_after = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_a_walk_over_the_rows() {
        let sets: [(usize, &[usize]); 7] = [
            (0, &[]),
            (1, &[0]),
            (64, &[63]),
            (65, &[62, 63, 64]),
            (200, &[0, 1, 2, 64, 66, 127, 128, 191, 192, 199]),
            (128, &[]),
            (130, &[5]),
        ];
        for (rows, written) in sets {
            let mut changes = Changes::none(rows);
            written.iter().for_each(|&row| changes.add(row));
            let mut want: Vec<Run> = vec![];
            for &row in written {
                match want.last_mut() {
                    Some([_, end]) if *end as usize == row => *end += 1,
                    _ => want.push([row as u32, row as u32 + 1]),
                }
            }
            assert_eq!((changes.runs().collect::<Vec<_>>(), changes.count()), (want, written.len()));
            changes.add_all();
            let all: Vec<Run> = if rows > 0 { vec![[0, rows as u32]] } else { vec![] };
            assert_eq!((changes.runs().collect::<Vec<_>>(), changes.count()), (all, rows));
            changes.forget();
            assert_eq!((changes.runs().count(), changes.count()), (0, 0));
        }
    }
}
