//! How many negatives are false, where somebody knows.
//!
//! ```text
//! share = Σ_i |{ j : label j counts as a negative of row i, and answers it }| / Σ_i |{ j : label j counts as one }|
//! ```
//! It is counted after every mask and shaper, over labels against queries. Training never sees it.

use crate::batch::Batch;
use crate::config::Config;
use data::DataSet;
use engine::Result;
use samplers::Lists;

/// All labels that answer each training query.
pub(crate) struct Truth(Lists);

/// Negatives that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    negatives: u64,
    answers: u64,
}

impl Found {
    pub(crate) fn plus(self, other: Found) -> Found {
        Found { negatives: self.negatives + other.negatives, answers: self.answers + other.answers }
    }
    /// The share of the negatives that are answers; 0 of none.
    pub(crate) fn share(self) -> f64 {
        self.answers as f64 / self.negatives.max(1) as f64
    }
}

impl Truth {
    /// What `data.truth` says; none where it is empty.
    ///
    /// # Errors
    /// If the file cannot be read or is of other data.
    pub(crate) fn of(config: &Config, data: &DataSet) -> Result<Option<Truth>> {
        match &config.data.truth {
            path if path.as_os_str().is_empty() => Ok(None),
            path => Ok(Some(Truth(data::read_judgements(path, data)?.into_iter().collect()))),
        }
    }
    /// Looks at what counts as a negative: `keep` is `[n · C]`, as the loss sees it.
    pub(crate) fn found(&self, batch: &Batch, keep: &[bool]) -> Found {
        let width = keep.len() / batch.rows.len().max(1);
        let (columns, mut found) = (batch.label_columns(), Found::default());
        for (i, row) in keep.chunks_exact(width).enumerate() {
            let answers = self.answers(batch.rows[i]);
            let counts = |&&(j, _): &&(usize, u32)| row[j] && j as u32 != batch.targets[i];
            for (_, label) in columns.iter().filter(counts) {
                found.negatives += 1;
                found.answers += u64::from(answers.binary_search(label).is_ok());
            }
        }
        found
    }
    /// Of the text of a label that is trained on as a query nothing is known.
    fn answers(&self, query: u32) -> &[u32] {
        if (query as usize) < self.0.rows() { self.0.row(query as usize) } else { &[] }
    }
}
