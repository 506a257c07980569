//! One side of the pairs that are mined, queries or corpus: tokens as the data set has them, or made anew behind a
//! prompt.

use crate::embed::{Part, embed};
use crate::network::Network;
use crate::observer::Observer;
use data::{DataSet, Texts, Tokenizer};
use engine::{Engine, Error, Packed, Result};
use std::ops::Range;

/// Texts that are embedded some at a time.
pub(super) struct Side<'a> {
    texts: Texts<'a>,
    prompt: Option<Prompt>,
    /// The data set whose labels these are; none for queries.
    labels_of: Option<&'a DataSet>,
}

struct Prompt {
    text: String,
    tokenizer: Tokenizer,
    max_len: usize,
}

impl<'a> Side<'a> {
    /// Texts behind a prompt; empty for none.
    ///
    /// # Errors
    /// If there is a prompt and the data set does not have the texts, or the model leaves prompts out of its pooling
    /// and this one is none of its own.
    pub(super) fn new(data: &DataSet, network: &Network, texts: Texts<'a>, prompt: &str) -> Result<Side<'a>> {
        network.demand_known(prompt)?;
        if prompt.is_empty() {
            return Ok(Side { texts, prompt: None, labels_of: None });
        }
        if !data.has_whole_texts() {
            let e = Error::input("a prompt needs the texts, and this data set has tokens and titles alone");
            return Err(e.at(data.path()).help("make the data set again with `lode prepare`"));
        }
        let max_len = data.max_len().min(network.encoder.tokens_max());
        let prompt = Prompt { text: prompt.to_owned(), tokenizer: data.tokenizer()?, max_len };
        Ok(Side { texts, prompt: Some(prompt), labels_of: None })
    }
    /// The labels of a data set behind a prompt, with the auxiliary vectors of a network that has such.
    ///
    /// # Errors
    /// As [`Side::new`].
    pub(super) fn of_labels(data: &'a DataSet, network: &Network, prompt: &str) -> Result<Side<'a>> {
        Ok(Side { labels_of: Some(data), ..Side::new(data, network, data.labels(), prompt)? })
    }
    /// The embeddings, of length 1, of the texts that `rows` names in `lot`.
    ///
    /// # Errors
    /// As [`embed`], or if a text cannot be tokenized.
    pub(super) fn embed(
        &self,
        (engine, network): (&Engine, &Network),
        rows: &[u32],
        lot: Range<usize>,
        what: &str,
        observer: &mut dyn Observer,
    ) -> Result<Vec<f32>> {
        let mut part = Part { observer, before: lot.start, total: rows.len() };
        let rows = &rows[lot];
        let mut all = match &self.prompt {
            None => {
                let push = |i: usize, packed: &mut Packed| self.texts.push_to(rows[i] as usize, packed);
                embed(engine, network, rows.len(), push, what, &mut part)?
            }
            Some(prompt) => {
                let texts: Vec<String> =
                    rows.iter().map(|&row| prompt.text.clone() + &self.texts.text(row as usize)).collect();
                let (tokens, _) = prompt.tokenizer.encode_batch(engine, &texts, prompt.max_len)?;
                let push = |i: usize, packed: &mut Packed| packed.push(tokens.text(i).iter().copied());
                embed(engine, network, rows.len(), push, what, &mut part)?
            }
        };
        if let Some(data) = self.labels_of {
            network.add_vectors(engine, data, rows, &mut all);
        }
        all.chunks_mut(network.width()).for_each(|row| {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            row.iter_mut().for_each(|x| *x /= length);
        });
        Ok(all)
    }
}
