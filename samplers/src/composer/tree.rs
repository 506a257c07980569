//! Balanced clusters: a complete binary tree of [balanced splits](mod@super::split).
//!
//! ```text
//! level 0    all N rows
//! level 1    ⌈N/2⌉            ⌊N/2⌋
//!   …
//! level D    2^D leaves, the clusters, each of ⌊N/2^D⌋ or ⌈N/2^D⌉ rows
//! ```
//! Cost: D levels × some five passes × 2·N·d flops. The random start of a split is keyed by (seed, epoch,
//! level, cluster), so no split waits for another: large ones are done one by one by all threads together,
//! small ones side by side. The rows of a small one are copied to one place, where all its descendants find
//! them in cache.

use engine::{Engine, Stream};

use super::split::{Sphere, Team, scales, split, sum};
use crate::matrix::Matrix;
use crate::tags;

/// A node with more rows than this is split by all threads together.
const LARGE: usize = 2048;

/// A partition of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// Row ids, cluster after cluster, rising within a cluster.
    pub order: Vec<u32>,
    /// Where each cluster ends in `order`.
    pub ends: Vec<u32>,
}

/// Bytes of the copies of rows that [`clusters`] makes at once.
pub fn copied_bytes(engine: &Engine, rows: usize, width: usize) -> usize {
    engine.threads() * rows.min(LARGE) * width * size_of::<f32>()
}

/// One node of the tree: `index` counts the nodes of its level from the left.
struct Node {
    ids: Vec<u32>,
    /// Sum of its unit rows.
    sum: Vec<f64>,
    level: u32,
    index: u64,
}

struct Tree<'a> {
    sphere: Sphere<'a>,
    depth: u32,
    stream: Stream,
}

/// Cuts the rows `ids` of a matrix into 2^`depth` clusters of equal size (± 1) whose rows point the same way.
/// `stream` gives seed and step (the epoch).
///
/// # Panics
/// If there are fewer ids than clusters.
pub fn clusters(engine: &Engine, rows: Matrix<'_>, ids: &[u32], depth: u32, stream: Stream) -> Clusters {
    assert!(ids.len() >> depth > 0, "clusters: {} rows for 2^{depth} clusters", ids.len());
    let (team, scale) = (Team::Together(engine), scales(engine, rows));
    let tree = Tree { sphere: Sphere { rows, scale: &scale }, depth, stream };
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let sum = sum(team, tree.sphere, &ids);
    let mut nodes = vec![Node { ids, sum, level: 0, index: 0 }];
    // All nodes of a level have the same size but for one row, so the level decides.
    while nodes[0].level < depth && nodes[0].ids.len() > LARGE {
        nodes = nodes.into_iter().flat_map(|node| tree.children(team, node)).collect();
    }
    let leaves = engine.map(nodes.len(), |i| tree.subtree(engine, &nodes[i]));
    let mut clusters = Clusters { order: Vec::with_capacity(nodes.len()), ends: Vec::new() };
    for leaf in leaves.into_iter().flatten() {
        clusters.order.extend(leaf);
        clusters.ends.push(clusters.order.len() as u32);
    }
    clusters
}

impl Tree<'_> {
    /// The leaves below a node, left to right: those of a tree over a copy of its rows, in which row i is its i-th.
    fn subtree(&self, engine: &Engine, node: &Node) -> Vec<Vec<u32>> {
        if node.level == self.depth {
            return vec![node.ids.clone()];
        }
        let Sphere { rows, scale } = self.sphere;
        let mut copy = Vec::with_capacity(node.ids.len() * rows.width);
        node.ids.iter().for_each(|&id| copy.extend_from_slice(rows.row(id as usize)));
        let scale: Vec<f32> = node.ids.iter().map(|&id| scale[id as usize]).collect();
        let sphere = Sphere { rows: Matrix::new(&copy, rows.width), scale: &scale };
        let tree = Tree { sphere, depth: self.depth, stream: self.stream };
        let all = Node { ids: (0..node.ids.len() as u32).collect(), sum: node.sum.clone(), ..*node };
        let mut leaves = tree.leaves(engine, all);
        leaves.iter_mut().flatten().for_each(|id| *id = node.ids[*id as usize]);
        leaves
    }
    /// The leaves below a node, left to right.
    fn leaves(&self, engine: &Engine, node: Node) -> Vec<Vec<u32>> {
        if node.level == self.depth {
            return vec![node.ids];
        }
        let children = self.children(Team::Alone(engine), node);
        children.into_iter().flat_map(|child| self.leaves(engine, child)).collect()
    }
    fn children(&self, team: Team<'_>, node: Node) -> [Node; 2] {
        let start = self.start(&node);
        let Node { ids, sum, level, index } = node;
        let split = split(team, self.sphere, &ids, sum, start);
        let mut sums = split.sums.into_iter();
        [false, true].map(|side| Node {
            ids: ids.iter().zip(&split.second).filter(|(_, s)| **s == side).map(|(&id, _)| id).collect(),
            sum: sums.next().expect("a split has two sides"),
            level: level + 1,
            index: 2 * index + u64::from(side),
        })
    }
    /// Two distinct rows of the node, at random.
    fn start(&self, node: &Node) -> [u32; 2] {
        let stream = self.stream.with_tag(tags::START + u64::from(node.level));
        let n = node.ids.len() as u64;
        let first = stream.below(2 * node.index, n);
        let other = stream.below(2 * node.index + 1, n - 1);
        let second = if other < first { other } else { other + 1 };
        [node.ids[first as usize], node.ids[second as usize]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random rows around `topics` random directions; row i belongs to topic i mod `topics`.
    fn planted(rows: usize, width: usize, topics: usize, noise: f64) -> Vec<f32> {
        let stream = Stream::new(5, 5);
        let centre = |t: usize, j: usize| stream.uniform((t * width + j) as u64) - 0.5;
        let at = |i: usize, j: usize| {
            centre(i % topics, j) + noise * (stream.at_step(1).uniform((i * width + j) as u64) - 0.5)
        };
        (0..rows * width).map(|k| at(k / width, k % width) as f32).collect()
    }

    fn sizes(clusters: &Clusters) -> Vec<u32> {
        let starts = std::iter::once(0).chain(clusters.ends.iter().copied());
        starts.zip(&clusters.ends).map(|(start, end)| end - start).collect()
    }

    #[test]
    fn leaves_partition_the_rows_and_differ_by_at_most_one() {
        let engine = Engine::new(2);
        let data = planted(1000, 8, 10, 1.0);
        for (n, depth) in [(1, 0), (2, 0), (2, 1), (3, 1), (7, 2), (64, 6), (777, 5), (1000, 9)] {
            let ids: Vec<u32> = (0..n).rev().collect();
            let got = clusters(&engine, Matrix::new(&data, 8), &ids, depth, Stream::new(1, 0));
            let sizes = sizes(&got);
            assert_eq!(sizes.len(), 1 << depth);
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            let mut sorted = got.order;
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn equal_rows_give_balanced_leaves() {
        let engine = Engine::new(1);
        let ids: Vec<u32> = (0..50).collect();
        let got = clusters(&engine, Matrix::new(&[1.0; 200], 4), &ids, 3, Stream::new(1, 0));
        assert_eq!(sizes(&got), [7, 6, 6, 6, 7, 6, 6, 6]);
    }

    #[test]
    fn clusters_are_the_same_with_any_number_of_threads() {
        // More than LARGE rows, so that both ways of working take part.
        let data = planted(5000, 16, 50, 1.0);
        let ids: Vec<u32> = (0..5000).collect();
        let made = |threads| {
            clusters(&Engine::new(threads), Matrix::new(&data, 16), &ids, 8, Stream::new(1, 0).at_step(4))
        };
        let alone = made(1);
        for threads in [2, 3, 7] {
            assert_eq!(made(threads), alone, "{threads} threads");
        }
    }

    #[test]
    fn the_start_depends_on_seed_and_epoch() {
        let engine = Engine::new(1);
        let data = planted(500, 8, 500, 0.0);
        let ids: Vec<u32> = (0..500).collect();
        let made = |seed, epoch| {
            clusters(&engine, Matrix::new(&data, 8), &ids, 6, Stream::new(seed, 0).at_step(epoch))
        };
        assert_eq!(made(1, 2), made(1, 2));
        assert_ne!(made(1, 2), made(1, 3));
        assert_ne!(made(1, 2), made(2, 2));
    }

    #[test]
    fn a_split_starts_from_two_distinct_rows_of_its_node() {
        let (rows, scale) = (Matrix::new(&[1.0; 5], 1), [1.0; 5]);
        let tree = Tree { sphere: Sphere { rows, scale: &scale }, depth: 1, stream: Stream::new(1, 0) };
        let mut pairs = std::collections::BTreeSet::new();
        for index in 0..500 {
            let [a, b] = tree.start(&Node { ids: vec![0, 2, 4], sum: vec![], level: 0, index });
            assert!(a != b && a % 2 == 0 && b % 2 == 0);
            pairs.insert((a, b));
        }
        assert_eq!(pairs.len(), 6, "every ordered pair turns up");
    }

    #[test]
    fn clusters_find_planted_topics() {
        let engine = Engine::new(2);
        let (topics, rows) = (64, 2048);
        let data = planted(rows, 32, topics, 0.6);
        let ids: Vec<u32> = (0..rows as u32).collect();
        let got = clusters(&engine, Matrix::new(&data, 32), &ids, 6, Stream::new(1, 0));
        let mut same = 0;
        for cluster in got.order.chunks(rows / topics) {
            let mut count = vec![0; topics];
            cluster.iter().for_each(|&id| count[id as usize % topics] += 1);
            same += count.iter().max().unwrap();
        }
        // A random cluster of 32 rows has about 3 of its commonest topic: chance is 0.09.
        let purity = f64::from(same) / rows as f64;
        assert!(purity > 0.6, "purity {purity}");
    }
}
