//! What every label is to the rows of a batch, for a loss over all labels.

use crate::text_ids::{TextIds, is_nameless};
use data::DataSet;
use models::heads::{Ids, Soft, Truth};
use samplers::Lists;
use std::collections::HashMap;

/// The labels that share their text with another.
pub(crate) struct AllLabels {
    /// The labels of a text that has several, by the number of the text; ascending.
    twins: HashMap<u32, Vec<u32>>,
}

/// The positives of each row, and what plays no part in it.
pub(crate) struct Marks {
    positives: (Vec<usize>, Vec<u32>),
    left_out: (Vec<usize>, Vec<u32>),
}

impl AllLabels {
    /// Finds labels of equal text. Those without one are no twins: of these there can be many.
    pub(crate) fn new(data: &DataSet, ids: &TextIds) -> AllLabels {
        let text = |label: u32| ids.labels[label as usize];
        let mut labels: Vec<u32> = (0..ids.labels.len() as u32).collect();
        labels.retain(|&label| !is_nameless(data, label));
        labels.sort_unstable_by_key(|&label| (text(label), label));
        let same = labels.chunk_by(|&a, &b| text(a) == text(b)).filter(|same| same.len() > 1);
        let twins = same.map(|same| (text(same[0]), same.to_vec())).collect();
        AllLabels { twins }
    }
    /// A row's positives are its own labels. Left out are the labels of other queries with its text, what the data set
    /// filters for it, and other labels with the text of one of these.
    pub(crate) fn marks(&self, data: &DataSet, ids: &TextIds, rows: &[u32]) -> Marks {
        let (mut positives, mut left_out) = ((vec![0], vec![]), (vec![0], vec![]));
        let (known, positives_of, filtered) = (ids.known(data), ids.positives(data), ids.filtered(data));
        for &q in rows {
            let own = positives_of.row(q as usize);
            let barred = filtered.iter().flat_map(|f| f.row(q as usize));
            let mut out: Vec<u32> = known.row(q as usize).iter().chain(barred).copied().collect();
            let twins =
                out.iter().flat_map(|&l| self.twins.get(&ids.labels[l as usize]).into_iter().flatten());
            let twins: Vec<u32> = twins.copied().collect();
            out.extend(twins);
            out.retain(|l| own.binary_search(l).is_err());
            out.sort_unstable();
            out.dedup();
            positives.1.extend(own);
            positives.0.push(positives.1.len());
            left_out.1.extend(out);
            left_out.0.push(left_out.1.len());
        }
        Marks { positives, left_out }
    }
    /// Row `i`: the labels that must not be negatives of query `rows[i]`, ascending.
    pub(crate) fn barred(&self, data: &DataSet, ids: &TextIds, rows: &[u32]) -> Lists {
        let marks = self.marks(data, ids, rows);
        let row = |i: usize| {
            let mut all = [marks.own(i), marks.out_of(i)].concat();
            all.sort_unstable();
            all
        };
        (0..rows.len()).map(row).collect()
    }
}

impl Marks {
    /// As the loss reads them, beside what a teacher says.
    pub(crate) fn truth<'a>(&'a self, soft: Option<Soft<'a>>) -> Truth<'a> {
        Truth {
            soft,
            positives: Ids { starts: &self.positives.0, items: &self.positives.1 },
            left_out: Ids { starts: &self.left_out.0, items: &self.left_out.1 },
        }
    }
    /// The positives of row `i`, ascending.
    pub(crate) fn own(&self, i: usize) -> &[u32] {
        &self.positives.1[self.positives.0[i]..self.positives.0[i + 1]]
    }
    /// What plays no part in row `i`, ascending.
    pub(crate) fn out_of(&self, i: usize) -> &[u32] {
        &self.left_out.1[self.left_out.0[i]..self.left_out.0[i + 1]]
    }
    /// Pairs that play no part.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.1.len()
    }
}
