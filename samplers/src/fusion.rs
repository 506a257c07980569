//! Several ways to score a label, put together: learned label weights, the label's text, and the votes of near titles.
//!
//! ```text
//! C_q = the top labels of each member            f_l = a x·w_l + b cos(x, z_l) + c v_l + e p_l        for l in C_q
//! p_l = share of right labels among the candidates of held-out queries that looked like this one        ([`Tree`])
//! ```
//! The members err in different places: weights know what labels were given, texts know labels that were given rarely,
//! votes know what near titles were given. Every member scores every candidate, whoever found it; so one search serves
//! any weights, those of a single member among them.
//! A tree sees what a sum cannot: that a score is worth less for a rare label, or that one member is to be believed
//! only where another agrees. Its shares are equal over wide regions, so they are added to the members' scores, which
//! order what lies in a region (Dahiya et al., WSDM 2023, add all with weight 1).

mod tree;

pub use tree::{FEATURES, Growth, Tree};

use engine::Engine;

use crate::knn::{Titles, Voting, votes};
use crate::ranking::{best, keep_largest, unpack_best};
use crate::search::Limits;
use crate::{Items, Matrix};

/// Labels that a member puts forward, unless more are wanted in the end.
pub const FORWARD: usize = 100;

/// Who scores. All matrices have the width of the queries.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// Learned weights, `[L, d]`.
    pub classifier: Items<'a>,
    /// Embeddings of the labels' texts, `[L, d]`.
    pub text: Items<'a>,
    /// Training titles, where they vote, and how many.
    pub titles: Option<(Titles<'a>, usize)>,
}

/// A label that some member put forward, and what each of them says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The label.
    pub label: u32,
    /// x·w_l.
    pub classifier: f32,
    /// cos(x, z_l).
    pub text: f32,
    /// v_l, the votes; 0 without any.
    pub votes: f32,
    /// p_l, what a [`Tree`] makes of the others; 0 until one was asked.
    pub share: f32,
}

impl Candidate {
    /// What a tree looks at, where the label has this inverse propensity.
    pub fn point(&self, propensity: f32) -> [f32; FEATURES] {
        [self.classifier, self.text, self.votes, propensity]
    }
}

/// What the members weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// a.
    pub classifier: f32,
    /// b.
    pub text: f32,
    /// c.
    pub votes: f32,
    /// e.
    pub share: f32,
}

impl Weights {
    const NONE: Weights = Weights { classifier: 0.0, text: 0.0, votes: 0.0, share: 0.0 };
    /// The classifier alone.
    pub const CLASSIFIER: Weights = Weights { classifier: 1.0, ..Weights::NONE };
    /// The labels' texts alone.
    pub const TEXT: Weights = Weights { text: 1.0, ..Weights::NONE };
    /// The votes alone.
    pub const VOTES: Weights = Weights { votes: 1.0, ..Weights::NONE };
    /// The members as they are.
    pub const SUM: Weights = Weights { classifier: 1.0, text: 1.0, votes: 1.0, share: 0.0 };
    /// The `k` best candidates by the weighted sum, ties by label.
    pub fn rank(self, candidates: &[Candidate], k: usize) -> Vec<(u32, f32)> {
        let sum = |c: &Candidate| {
            let members = self.classifier * c.classifier + self.text * c.text + self.votes * c.votes;
            members + self.share * c.share
        };
        let mut words: Vec<u64> = candidates.iter().map(|c| best(sum(c), c.label)).collect();
        keep_largest(&mut words, k);
        words.into_iter().map(unpack_best).collect()
    }
}

/// The candidates of each query, by rising label; each member puts its best labels forward, `k` at least. `limits` are
/// about labels.
///
/// # Panics
/// If the widths differ.
#[track_caller]
pub fn candidates(
    engine: &Engine,
    queries: Matrix<'_>,
    panel: Panel<'_>,
    k: usize,
    limits: Limits<'_>,
) -> Vec<Vec<Candidate>> {
    let k = k.max(FORWARD);
    let by_weights = panel.classifier.search(engine, queries, k, limits);
    let by_text = panel.text.search(engine, queries, k, limits);
    let near = panel.titles.map(|(titles, nearest)| {
        let own = Limits { exclude: titles.exclude, only: titles.only };
        (titles.embeddings.search(engine, queries, nearest, own), titles.labels)
    });
    engine.map(queries.rows(), |q| {
        let allowed = |label: u32| {
            limits.only.is_none_or(|only| only.binary_search(&label).is_ok())
                && !limits.exclude.is_some_and(|e| e.row(q).contains(&label))
        };
        let voted = near.as_ref().map_or(vec![], |(near, labels)| {
            let (ids, cosines) = near.row(q);
            votes(ids, cosines, *labels, Voting::EMBEDDINGS.power)
        });
        let found = by_weights.row(q).0.iter().chain(by_text.row(q).0).copied();
        let voted_for = voted.iter().map(|&(label, _)| label).filter(|&label| allowed(label));
        let mut labels: Vec<u32> = found.chain(voted_for).collect();
        labels.sort_unstable();
        labels.dedup();
        let x = queries.row(q);
        let by_weights = panel.classifier.scores(engine, x, &labels);
        let by_text = panel.text.scores(engine, x, &labels);
        let scores = by_weights.into_iter().zip(by_text);
        let candidate = |(&label, (classifier, text)): (&u32, (f32, f32))| {
            let votes = voted.binary_search_by_key(&label, |v| v.0).map_or(0.0, |i| voted[i].1);
            Candidate { label, classifier, text, votes, share: 0.0 }
        };
        labels.iter().zip(scores).map(candidate).collect()
    })
}

#[cfg(test)]
mod tests {
    use engine::Stream;

    use super::*;
    use crate::Csr;

    fn numbers(n: usize, tag: u64) -> Vec<f32> {
        (0..n as u64).map(|i| Stream::new(2, tag).uniform(i) as f32 - 0.5).collect()
    }

    /// With few labels every one is a candidate, so the sum over all labels is the oracle.
    #[test]
    fn fusion_equals_adding_all_members_for_all_labels() {
        let (q, w, z, t) = (numbers(12, 1), numbers(160, 2), numbers(160, 3), numbers(200, 4));
        let m = |x| Matrix::new(x, 4);
        let starts: Vec<u64> = (0..=50).map(|i| 2 * i).collect();
        let items: Vec<u32> = (0..50).flat_map(|i| [i % 17, 17 + i % 23]).collect();
        let labels = Csr { starts: &starts, items: &items };
        let titles = Titles { embeddings: m(&t).into(), labels, exclude: None, only: None };
        let panel = Panel { classifier: m(&w).into(), text: m(&z).into(), titles: Some((titles, 7)) };
        let forbidden = [3u32, 5, 9];
        let limits = Limits { exclude: Some(Csr { starts: &[0, 1, 2, 3], items: &forbidden }), only: None };
        let found = candidates(&Engine::new(2), m(&q), panel, 6, limits);
        let weights = Weights { classifier: 1.0, text: 0.7, votes: 3.0, share: 0.0 };
        for (i, row) in found.iter().enumerate() {
            let product = |x: &[f32], j: usize| (0..4).map(|d| q[4 * i + d] * x[4 * j + d]).sum::<f32>();
            let mut near: Vec<usize> = (0..50).collect();
            near.sort_by(|&a, &b| product(&t, b).total_cmp(&product(&t, a)));
            let mut f: Vec<f32> = (0..40).map(|l| product(&w, l) + 0.7 * product(&z, l)).collect();
            for &title in &near[..7] {
                let vote = 3.0 * product(&t, title).max(0.0).powi(4);
                items[2 * title..2 * title + 2].iter().for_each(|&l| f[l as usize] += vote);
            }
            let mut want: Vec<u32> = (0..40).filter(|l| *l != forbidden[i]).collect();
            want.sort_by(|&a, &b| f[b as usize].total_cmp(&f[a as usize]));
            let got = weights.rank(row, 6);
            assert_eq!(got.iter().map(|g| g.0).collect::<Vec<_>>(), want[..6]);
            assert!(got.iter().all(|(l, s)| (s - f[*l as usize]).abs() < 1e-5));
        }
    }
}
