//! Labels in the leaves of a tree, and the leaves that a query is matched to: matcher-aware negatives.
//!
//! ```text
//! leaves     the labels, cut into 2^D clusters of equal size (± 1) of one direction   (composer/tree)
//! centre     c_C = Σ_{l ∈ C} l / |…|
//! matched    the b leaves with the largest q · c_C, and those of the query's positives
//! list       the labels of these leaves that may be negatives, by q · l, the k best
//! ```
//! Where a tree of classifiers is learned level by level, negatives are the labels in leaves that the level above
//! predicts, since no others are met in prediction (matcher-aware, MAN), and in leaves of the positives, which a
//! matcher that makes no mistake would predict (teacher forcing, TFN): Yu, Zhong, Dhillon, "PECOS: Prediction for
//! enormous and correlated output spaces", JMLR 2022, section 3.2. Here there is one level, and the matcher is an
//! encoder. A query looks at 2^D centres and some leaves in the place of all labels; with all leaves matched it is the
//! exact search.

use crate::composer::schedule::depth;
use crate::composer::tree::clusters;
use crate::matrix::{Csr, Matrix, dot};
use crate::ranking::{best, keep_largest, unpack_best};
use crate::search::{Hits, Limits, NO_HIT, search};
use engine::{Engine, Stream};

/// Labels cut into leaves.
#[derive(Clone, Debug)]
pub struct LabelTree {
    /// Label ids, leaf after leaf.
    order: Vec<u32>,
    /// Where each leaf begins in `order`, and the end of the last.
    starts: Vec<u32>,
    /// The leaf of each label, `[L]`.
    leaf_of: Vec<u32>,
    /// The centres of the leaves, of length 1, `[leaves, d]`.
    centres: Vec<f32>,
}

impl LabelTree {
    /// A tree over embeddings of labels `[L, d]` with about so many labels in a leaf, no more. `stream` gives seed and
    /// step.
    ///
    /// # Panics
    /// If there is no label, or a leaf may hold none.
    pub fn new(engine: &Engine, labels: Matrix<'_>, leaf: usize, stream: Stream) -> LabelTree {
        assert!(labels.rows() > 0 && leaf > 0, "LabelTree: {} labels, {leaf} in a leaf", labels.rows());
        let ids: Vec<u32> = (0..labels.rows() as u32).collect();
        let made = clusters(engine, labels, &ids, depth(ids.len(), leaf), stream);
        let starts: Vec<u32> = std::iter::once(0).chain(made.ends).collect();
        let (mut leaf_of, mut centres) = (vec![0; ids.len()], vec![]);
        for (number, leaf) in starts.windows(2).enumerate() {
            let members = &made.order[leaf[0] as usize..leaf[1] as usize];
            members.iter().for_each(|&label| leaf_of[label as usize] = number as u32);
            centres.extend(centre(labels, members));
        }
        LabelTree { order: made.order, starts, leaf_of, centres }
    }
    /// How many leaves it has.
    pub fn leaves(&self) -> usize {
        self.starts.len() - 1
    }
    /// The labels of a leaf, rising.
    pub fn leaf(&self, leaf: usize) -> &[u32] {
        &self.order[self.starts[leaf] as usize..self.starts[leaf + 1] as usize]
    }
    /// For each query `[n, d]` the `k` best labels of its leaves: those of its positives, and `beam` that it is matched
    /// to; none that is barred for it (rising ids).
    ///
    /// # Panics
    /// If sizes differ from each other, or from those of the tree.
    pub fn search(
        &self,
        engine: &Engine,
        (queries, labels): (Matrix<'_>, Matrix<'_>),
        (positives, barred): (Csr<'_>, Csr<'_>),
        (beam, k): (usize, usize),
    ) -> Hits {
        let centres = Matrix::new(&self.centres, queries.width);
        let none = Limits { exclude: None, only: None };
        let matched = search(engine, queries, centres, beam.min(self.leaves()), none);
        let lists = engine.map(queries.rows(), |i| {
            let own = positives.row(i).iter().map(|&label| self.leaf_of[label as usize]);
            let matched = matched.row(i).0.iter().copied();
            let mut leaves: Vec<u32> = own.chain(matched).collect();
            leaves.sort_unstable();
            leaves.dedup();
            let (query, barred) = (queries.row(i), barred.row(i));
            let all = leaves.iter().flat_map(|&leaf| self.leaf(leaf as usize));
            let may = all.filter(|&label| barred.binary_search(label).is_err());
            let mut words: Vec<u64> =
                may.map(|&label| best(dot(query, labels.row(label as usize)), label)).collect();
            keep_largest(&mut words, k);
            words
        });
        let mut hits =
            Hits { ids: vec![NO_HIT; lists.len() * k], scores: vec![f32::NEG_INFINITY; lists.len() * k], k };
        for (i, words) in lists.into_iter().enumerate() {
            for (at, word) in (i * k..).zip(words) {
                (hits.ids[at], hits.scores[at]) = unpack_best(word);
            }
        }
        hits
    }
}

/// The sum of rows, scaled to length 1; zero where they cancel out.
fn centre(rows: Matrix<'_>, of: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0f64; rows.width];
    for &row in of {
        sum.iter_mut().zip(rows.row(row as usize)).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    sum.into_iter().map(|x| if norm > 0.0 { (x / norm) as f32 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lists;

    /// Forty labels on a circle, label l at l · 9°; queries where they are told to be.
    const LABELS: usize = 40;

    fn at(degrees: f64) -> [f32; 2] {
        [degrees.to_radians().cos() as f32, degrees.to_radians().sin() as f32]
    }

    fn labels() -> Vec<f32> {
        (0..LABELS).flat_map(|l| at(9.0 * l as f64)).collect()
    }

    fn found(
        queries: &[f64],
        positives: &[&[u32]],
        barred: &[&[u32]],
        beam: usize,
        k: usize,
    ) -> (LabelTree, Hits) {
        let engine = Engine::new(2);
        let (labels, queries): (Vec<f32>, Vec<f32>) =
            (labels(), queries.iter().flat_map(|&q| at(q)).collect());
        let (labels, queries) = (Matrix::new(&labels, 2), Matrix::new(&queries, 2));
        let tree = LabelTree::new(&engine, labels, 5, Stream::new(1, 0));
        let [positives, barred] = [positives, barred].map(|lists| lists.iter().copied().collect::<Lists>());
        let hits = tree.search(&engine, (queries, labels), (positives.csr(), barred.csr()), (beam, k));
        (tree, hits)
    }

    #[test]
    fn every_label_is_in_one_leaf_and_leaves_are_as_large_as_told() {
        let (tree, _) = found(&[], &[], &[], 1, 1);
        assert_eq!(tree.leaves(), 8);
        let mut all: Vec<u32> = (0..8).flat_map(|leaf| tree.leaf(leaf).to_vec()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..LABELS as u32).collect::<Vec<u32>>());
        for leaf in 0..8 {
            assert_eq!(tree.leaf(leaf).len(), 5);
            assert!(tree.leaf(leaf).iter().all(|&l| tree.leaf_of[l as usize] as usize == leaf));
        }
    }

    #[test]
    fn a_list_has_the_leaves_that_are_matched_and_those_of_the_positives() {
        // Label 10 lies at 90°, the positive of the first query, label 30, at 270°.
        let (tree, hits) = found(&[90.0, 90.0], &[&[30], &[]], &[&[10, 30], &[]], 1, 40);
        let leaf = |label: u32| tree.leaf(tree.leaf_of[label as usize] as usize).to_vec();
        let sorted = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        let mut both = [leaf(10), leaf(30)].concat();
        both.retain(|label| ![10, 30].contains(label));
        assert_eq!(sorted(hits.row(0).0), sorted(&both), "nothing that is barred");
        assert_eq!(sorted(hits.row(1).0), leaf(10), "without a positive the matched leaf alone");
        assert!(hits.row(0).1.windows(2).all(|two| two[0] >= two[1]), "best first");
    }

    #[test]
    fn with_all_leaves_it_is_the_exact_search() {
        let (_, hits) = found(&[13.0, 200.0], &[&[], &[4]], &[&[2], &[]], 8, 7);
        let (labels, queries) = (labels(), [at(13.0), at(200.0)].concat());
        let barred: Lists = [&[2][..], &[]].into_iter().collect();
        let limits = Limits { exclude: Some(barred.csr()), only: None };
        let (queries, labels) = (Matrix::new(&queries, 2), Matrix::new(&labels, 2));
        let exact = search(&Engine::new(1), queries, labels, 7, limits);
        assert_eq!(hits.ids, exact.ids);
        assert!(hits.scores.iter().zip(&exact.scores).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn one_label_is_a_leaf() {
        let tree = LabelTree::new(&Engine::new(1), Matrix::new(&[0.0, 0.0], 2), 8, Stream::new(0, 0));
        assert_eq!((tree.leaves(), tree.leaf(0)), (1, &[0][..]));
    }
}
