//! Votes of the nearest training titles, added to the scores of the labels. Needs no training.
//!
//! ```text
//! v_l = Σ_{t ∈ nearest(q)} max(q·t, 0)^power · 1[l ∈ Y_t]            f_l = q·z_l + weight · v_l
//! ```
//! An encoder that compares a title with label texts and the memory of what similar titles were given err in
//! different places. Defaults: the 20 nearest, power 4 for embeddings (2 for TF-IDF, whose cosines are
//! smaller).

use engine::Engine;

use crate::ranking::{best, keep_largest, unpack_best};
use crate::search::{Hits, Limits, NO_HIT};
use crate::{Csr, Items, Matrix};

/// How training titles vote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Voting {
    /// Titles that vote.
    pub nearest: usize,
    /// A title's vote is its cosine to this power.
    pub power: i32,
    /// Weight of the votes in the sum.
    pub weight: f32,
}

impl Default for Voting {
    fn default() -> Voting {
        Voting::EMBEDDINGS
    }
}

impl Voting {
    /// For embeddings: 20 titles, fourth power, plain sum.
    pub const EMBEDDINGS: Voting = Voting { nearest: 20, power: 4, weight: 1.0 };
    /// For TF-IDF vectors: 20 titles, squares, plain sum.
    pub const TFIDF: Voting = Voting { nearest: 20, power: 2, weight: 1.0 };
}

/// Training titles and their labels.
#[derive(Clone, Copy, Debug)]
pub struct Titles<'a> {
    /// Unit embeddings, `[N, d]`.
    pub embeddings: Items<'a>,
    /// Row `t`: the labels of title `t`.
    pub labels: Csr<'a>,
    /// Row `q`: titles that must not vote for query `q` of a search, itself among them when it is a training
    /// title.
    pub exclude: Option<Csr<'a>>,
    /// Ascending ids of the titles that may vote; `None` for all.
    pub only: Option<&'a [u32]>,
}

/// The votes of some titles with their cosines (nearest first): (label, v), by rising label, each label once.
pub fn votes(titles: &[u32], cosines: &[f32], labels: Csr<'_>, power: i32) -> Vec<(u32, f32)> {
    let mut ballots: Vec<(u32, f32)> = Vec::new();
    for (&title, cosine) in titles.iter().zip(cosines) {
        let vote = cosine.max(0.0).powi(power);
        ballots.extend(labels.row(title as usize).iter().map(|&label| (label, vote)));
    }
    // A stable sort: the votes for a label are added up nearest first.
    ballots.sort_by_key(|ballot| ballot.0);
    ballots.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        if same {
            sum.1 += next.1;
        }
        same
    });
    ballots
}

/// The `k` best (label, f) by falling f, ties by label. `hits` are the k labels with the best scores, `score`
/// gives the score of a label that was voted for and is not among them. A label outside both cannot be among
/// the k best.
pub fn fuse(
    hits: (&[u32], &[f32]),
    votes: &[(u32, f32)],
    weight: f32,
    score: impl Fn(u32) -> f32,
    k: usize,
) -> Vec<(u32, f32)> {
    let vote = |label: u32| votes.binary_search_by_key(&label, |vote| vote.0).map_or(0.0, |i| votes[i].1);
    let voted = votes.iter().filter(|(label, _)| !hits.0.contains(label));
    let mut words: Vec<u64> = voted.map(|&(label, v)| best(score(label) + weight * v, label)).collect();
    words.extend(hits.0.iter().zip(hits.1).map(|(&label, s)| best(s + weight * vote(label), label)));
    keep_largest(&mut words, k);
    words.into_iter().map(unpack_best).collect()
}

/// A search of the labels, with the votes of the nearest titles added. `limits` are about labels.
///
/// # Panics
/// If the widths differ.
#[track_caller]
pub fn search_with_votes(
    engine: &Engine,
    queries: Matrix<'_>,
    labels: Items<'_>,
    titles: Titles<'_>,
    voting: Voting,
    k: usize,
    limits: Limits<'_>,
) -> Hits {
    let hits = labels.search(engine, queries, k, limits);
    let own = Limits { exclude: titles.exclude, only: titles.only };
    let near = titles.embeddings.search(engine, queries, voting.nearest, own);
    let rows = engine.map(queries.rows(), |q| {
        let excluded = |label: u32| limits.exclude.is_some_and(|e| e.row(q).contains(&label));
        let searched = |label: u32| limits.only.is_none_or(|only| only.binary_search(&label).is_ok());
        let (ids, cosines) = near.row(q);
        let mut votes = votes(ids, cosines, titles.labels, voting.power);
        votes.retain(|&(label, _)| searched(label) && !excluded(label));
        let voted: Vec<u32> = votes.iter().map(|&(label, _)| label).collect();
        let scores = labels.scores(engine, queries.row(q), &voted);
        let score = |label: u32| voted.binary_search(&label).map_or(f32::NEG_INFINITY, |i| scores[i]);
        let mut row = fuse(hits.row(q), &votes, voting.weight, score, k);
        row.resize(k, (NO_HIT, f32::NEG_INFINITY));
        row
    });
    let (ids, scores) = rows.into_iter().flatten().unzip();
    Hits { ids, scores, k }
}

#[cfg(test)]
mod tests {
    use engine::Stream;

    use super::*;

    const LABELS: Csr<'static> = Csr { starts: &[0, 2, 3, 5], items: &[1, 4, 4, 0, 1] };

    #[test]
    fn votes_are_powers_of_cosines_added_by_label() {
        let got = votes(&[2, 0, 1], &[0.5, 0.25, -0.5], LABELS, 2);
        assert_eq!(got, [(0, 0.25), (1, 0.3125), (4, 0.0625)]);
    }

    #[test]
    fn a_voted_label_enters_with_its_own_score() {
        let hits = (&[7u32, 3][..], &[0.5f32, 0.25][..]);
        let got = fuse(hits, &[(1, 0.5), (3, 0.25)], 1.0, |label| if label == 1 { 0.125 } else { 9.0 }, 3);
        assert_eq!(got, [(1, 0.625), (3, 0.5), (7, 0.5)]);
        assert_eq!(fuse(hits, &[(1, 0.5)], 0.5, |_| 0.125, 1), [(7, 0.5)]);
    }

    #[test]
    fn an_excluded_title_does_not_vote() {
        let (unit, labels) = ([1.0f32, 0.0], [0.0f32, 1.0, 0.0, 1.0]);
        let csr = Csr { starts: &[0, 1], items: &[1] };
        let first = |exclude| {
            let titles =
                Titles { embeddings: Matrix::new(&unit, 2).into(), labels: csr, exclude, only: None };
            let (q, z) = (Matrix::new(&unit, 2), Matrix::new(&labels, 2));
            search_with_votes(&Engine::new(1), q, z.into(), titles, Voting::EMBEDDINGS, 1, Limits::default())
                .row(0)
                .0[0]
        };
        assert_eq!((first(None), first(Some(Csr { starts: &[0, 1], items: &[0] }))), (1, 0));
    }

    #[test]
    fn fused_search_equals_adding_all_votes_to_all_scores() {
        let stream = Stream::new(1, 1);
        let numbers = |n: usize, tag| {
            (0..n).map(|i| stream.with_tag(tag).uniform(i as u64) as f32 - 0.5).collect::<Vec<_>>()
        };
        let (q, z, t) = (numbers(6 * 4, 1), numbers(50 * 4, 2), numbers(80 * 4, 3));
        let (q, z, t) = (Matrix::new(&q, 4), Matrix::new(&z, 4), Matrix::new(&t, 4));
        let starts: Vec<u64> = (0..=80).map(|i| 2 * i).collect();
        let items: Vec<u32> = (0..80).flat_map(|i| [i % 20, 20 + i % 30]).collect();
        let csr = Csr { starts: &starts, items: &items };
        let only: Vec<u32> = (5..50).collect();
        let voting = Voting { nearest: 9, power: 4, weight: 2.0 };
        // Every vote added to every score, for query i.
        let fused = |i: usize| -> Vec<f32> {
            let product =
                |m: Matrix<'_>, j: usize| m.row(j).iter().zip(q.row(i)).map(|(a, b)| a * b).sum::<f32>();
            let mut near: Vec<usize> = (0..80).collect();
            near.sort_by(|&a, &b| product(t, b).total_cmp(&product(t, a)));
            let mut f: Vec<f32> = (0..50).map(|l| product(z, l)).collect();
            for &title in &near[..9] {
                let vote = 2.0 * product(t, title).max(0.0).powi(4);
                csr.row(title).iter().for_each(|&label| f[label as usize] += vote);
            }
            f
        };
        let ranked = |f: &[f32]| {
            let mut labels = only.clone();
            labels.sort_by(|&a, &b| f[b as usize].total_cmp(&f[a as usize]));
            labels
        };
        // Each query is forbidden its best label.
        let forbidden: Vec<u32> = (0..6).map(|i| ranked(&fused(i))[0]).collect();
        let exclude = Csr { starts: &[0, 1, 2, 3, 4, 5, 6], items: &forbidden };
        let limits = Limits { exclude: Some(exclude), only: Some(&only) };
        let titles = Titles { embeddings: t.into(), labels: csr, exclude: None, only: None };
        let got = search_with_votes(&Engine::new(2), q, z.into(), titles, voting, 8, limits);
        for i in 0..6 {
            let f = fused(i);
            let (labels, scores) = got.row(i);
            assert_eq!(labels, &ranked(&f)[1..9]);
            assert!(labels.iter().zip(scores).all(|(&l, s)| (f[l as usize] - s).abs() < 1e-5));
        }
    }
}
