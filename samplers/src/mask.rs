//! No known positive is ever a negative.
//!
//! ```text
//! keep[i, j] = 1   if j = target[i]
//!              0   if text(label j) is the text of the target, of another label in Y_i, or of a label barred
//!              1   otherwise
//! ```
//! Y_i are all known positives of query i, not only the one drawn. Labels are compared by their text's group,
//! so that a copy under another id is masked too. `train` applies this to every block of scores, before any
//! strategy.

use crate::Csr;

/// What is known about queries and labels.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Row `q`: the labels of query `q`.
    pub positives: Csr<'a>,
    /// Row `q`: labels that must not be used as negatives of query `q` (filters of the data set).
    pub barred: Option<Csr<'a>>,
    /// For each label the number of its text: labels with equal text share it. `None` if all texts differ.
    pub text_group: Option<&'a [u32]>,
}

impl Known<'_> {
    pub(crate) fn group(&self, label: u32) -> u32 {
        self.text_group.map_or(label, |groups| groups[label as usize])
    }
}

/// The keep mask of a block of scores, `[B, U]`, 1 or 0: rows are `queries`, columns are the labels `columns`,
/// and `target[i]` is the column of row i's positive.
pub fn known_positives(known: &Known<'_>, queries: &[u32], columns: &[u32], target: &[u32]) -> Vec<f32> {
    let positives: Vec<u32> = target.iter().map(|&column| columns[column as usize]).collect();
    let mut keep = no_positive(known, queries, columns, &positives);
    for (row, &target) in keep.chunks_exact_mut(columns.len().max(1)).zip(target) {
        row[target as usize] = 1.0;
    }
    keep
}

/// The keep mask of columns among which no row has its target, `[B, U]`, 1 or 0; `positives` are the labels drawn for
/// the rows.
pub fn no_positive(known: &Known<'_>, queries: &[u32], columns: &[u32], positives: &[u32]) -> Vec<f32> {
    let mut by_group: Vec<(u32, u32)> = columns.iter().zip(0..).map(|(&l, j)| (known.group(l), j)).collect();
    by_group.sort_unstable();
    let mut keep = vec![1.0; queries.len() * columns.len()];
    for (i, row) in keep.chunks_exact_mut(columns.len().max(1)).enumerate() {
        let mut drop = |label: u32| {
            let group = known.group(label);
            let first = by_group.partition_point(|&(g, _)| g < group);
            let copies = by_group[first..].iter().take_while(|&&(g, _)| g == group);
            copies.for_each(|&(_, j)| row[j as usize] = 0.0);
        };
        let query = queries[i] as usize;
        known.positives.row(query).iter().copied().for_each(&mut drop);
        known.barred.iter().flat_map(|barred| barred.row(query)).copied().for_each(&mut drop);
        drop(positives[i]);
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels 0..6; label 4 has the text of label 1, label 5 that of label 2.
    const GROUPS: [u32; 6] = [0, 1, 2, 3, 1, 2];
    const POSITIVES: Csr<'static> = Csr { starts: &[0, 2, 3, 4], items: &[0, 1, 3, 2] };

    #[test]
    fn all_known_positives_and_copies_of_their_text_are_masked_but_the_target() {
        let known = Known { positives: POSITIVES, barred: None, text_group: Some(&GROUPS) };
        let keep = known_positives(&known, &[0, 1, 2], &[0, 1, 2, 3, 4, 5], &[0, 3, 2]);
        let want = [
            [1.0, 0.0, 1.0, 1.0, 0.0, 1.0], // Y = {0, 1}, target 0: label 1 and its copy 4 go
            [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], // Y = {3}, target 3: nothing else has that text
            [1.0, 1.0, 1.0, 1.0, 1.0, 0.0], // Y = {2}, target 2: its copy 5 goes
        ];
        assert_eq!(keep, want.concat());
    }

    #[test]
    fn barred_labels_are_masked_and_a_target_never() {
        let barred = Csr { starts: &[0, 0, 2, 3], items: &[0, 3, 2] };
        let known = Known { positives: POSITIVES, barred: Some(barred), text_group: None };
        let keep = known_positives(&known, &[1, 2, 0], &[0, 2, 3], &[2, 1, 0]);
        assert_eq!(keep, [[0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]].concat());
    }
}
