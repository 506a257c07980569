//! Which pairs of a batch a cross-encoder reads, and their tokens.
//!
//! ```text
//! list i     the column of the row's positive, then those that it meets as negatives, ascending: what was drawn for it
//!            (`negatives.own`), or all that count
//! pairs      list after list, each [CLS] query [SEP] label [SEP]
//! ```
//! A known positive is in no list, since a batch masks it; nor is a label drawn for another row, where rows meet their
//! own alone.

use crate::batch::Batch;
use crate::judge::Judge;
use crate::text_ids::place;
use data::DataSet;
use engine::Result;
use models::cross::PairTexts;
use samplers::Lists;
use std::collections::HashMap;
use std::ops::Range;

/// The columns of each row's list, its positive first.
pub(crate) fn lists(batch: &Batch, own: bool) -> Lists {
    let width = batch.keep.len() / batch.rows.len().max(1);
    let all: Vec<u32> = if own { vec![] } else { (0..batch.labels.len() as u32).collect() };
    let row = |(i, &target): (usize, &u32)| {
        let drawn = match (own, &batch.own) {
            (false, _) => &all[..],
            (true, Some(drawn)) => drawn.row(i),
            (true, None) => &[],
        };
        let counts = |&&column: &&u32| column != target && batch.keep[i * width + column as usize] > 0.0;
        let mut against: Vec<u32> = drawn.iter().filter(counts).copied().collect();
        against.sort_unstable();
        [&[target][..], &against].concat()
    };
    batch.targets.iter().enumerate().map(row).collect()
}

/// The pairs of lists.
pub(crate) struct Pairs {
    texts: PairTexts,
    /// Where each list begins, and the end of the last.
    pub(crate) starts: Vec<u32>,
}

impl Pairs {
    /// Those of a batch, as a cross-encoder spells them.
    ///
    /// # Errors
    /// If its tokenizer cannot spell a text.
    pub(crate) fn of(judge: &Judge, data: &DataSet, batch: &Batch, lists: &Lists) -> Result<Pairs> {
        let (mut texts, mut starts) = (PairTexts::default(), vec![0]);
        let (labels, mut spelled) = (data.labels(), HashMap::new());
        for (i, &query) in batch.rows.iter().enumerate() {
            let (of, at) = place(data, query);
            let query = judge.tokens(&of.text(at))?;
            for &column in lists.row(i) {
                let label = batch.labels[column as usize];
                if let std::collections::hash_map::Entry::Vacant(slot) = spelled.entry(label) {
                    slot.insert(judge.tokens(&labels.text(label as usize))?);
                }
                judge.model.join(&mut texts, &query, &spelled[&label]);
            }
            starts.push(texts.texts.len() as u32);
        }
        Ok(Pairs { texts, starts })
    }
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.texts.len()
    }
    /// Tokens of all pairs.
    pub(crate) fn tokens(&self) -> usize {
        self.texts.texts.tokens.len()
    }
    /// Some of them.
    pub(crate) fn part(&self, pairs: Range<usize>) -> PairTexts {
        let of = &self.texts.texts.starts;
        let tokens = of[pairs.start] as usize..of[pairs.end] as usize;
        PairTexts { texts: self.texts.texts.slice(pairs), types: self.texts.types[tokens].to_vec() }
    }
    /// All of them, cut where so many tokens are reached.
    pub(crate) fn chunks(&self, tokens: usize) -> Vec<Range<usize>> {
        let of = &self.texts.texts.starts;
        let (mut chunks, mut from) = (vec![], 0);
        for to in 1..=self.len() {
            if (of[to] - of[from]) as usize >= tokens || to == self.len() {
                chunks.push(from..to);
                from = to;
            }
        }
        chunks
    }
    /// The lists, cut where so many pairs are reached, and a list at least; 0 for all at once.
    pub(crate) fn groups(&self, pairs: usize) -> Vec<Range<usize>> {
        let lists = self.starts.len() - 1;
        let (mut groups, mut from) = (vec![], 0);
        for to in 1..=lists {
            let next = if to < lists { self.starts[to + 1] - self.starts[from] } else { u32::MAX };
            if pairs > 0 && next as usize > pairs || to == lists {
                groups.push(from..to);
                from = to;
            }
        }
        groups
    }
}
