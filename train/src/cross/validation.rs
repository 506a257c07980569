//! How well a cross-encoder tells right from wrong: of each query that is held out it reads the labels of its list and
//! its positives, as the reranking evaluator of sentence-transformers does. The list says what is there to be told
//! apart, so numbers of two runs compare where their lists are the same.

use crate::evaluate::{Evaluation, Options, Ranked, of_rankings, relevant};
use crate::observer::{Event, Observer};
use crate::text_ids::place;
use crate::trainer::Trainer;
use data::Split;
use data::metrics::Metric;
use engine::{Error, Kind, Result};
use samplers::Ranked as Listed;
use std::borrow::Cow;

impl Trainer {
    /// P@1 and the like over the lists of these training queries, by the cross-encoder as it is.
    ///
    /// # Errors
    /// If the observer wants to stop, or a text cannot be spelled.
    ///
    /// # Panics
    /// If the run has no cross-encoder.
    pub fn measure_cross(
        &self,
        queries: &[u32],
        metrics: Vec<Metric>,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation> {
        let judge = &self.cross.as_ref().expect("the run has a cross-encoder").judge;
        let none = Listed::default();
        let lists = self.parts.miner.lists().filter(|lists| lists.rows() > 0).unwrap_or(&none);
        let labels = self.data.labels();
        let mut rankings = vec![];
        for (done, &query) in queries.iter().enumerate() {
            if observer.stop() {
                let what = format!("stopped after {done} of {} queries", queries.len());
                return Err(Error::new(Kind::Interrupted, what));
            }
            let right = relevant(&self.data, Split::Train, query);
            let listed = if lists.rows() > 0 { lists.row(query as usize).0 } else { &[] };
            let read = [&right[..], listed].concat();
            let texts: Vec<Cow<'_, str>> = read.iter().map(|&label| labels.text(label as usize)).collect();
            let (of, at) = place(&self.data, query);
            let scores = judge.scores(&self.engine, &of.text(at), texts.iter().map(|text| &**text))?;
            let mut ranked: Vec<(u32, f32)> = read.into_iter().zip(scores).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let best = |wanted: bool| {
                let of = ranked.iter().filter(|(label, _)| right.contains(label) == wanted);
                of.map(|&(_, score)| score).fold(f32::NEG_INFINITY, f32::max)
            };
            rankings.push(Ranked { query, confusion: best(false) - best(true), labels: ranked });
            observer.event(&Event::Embedding { what: "pairs", done: done + 1, total: queries.len() });
        }
        Ok(of_rankings(&self.data, Split::Train, &Options { metrics, ..Options::default() }, rankings))
    }
}
