//! A classification tree: how likely a label is right where the members of a fusion speak like this (CART, Breiman et
//! al., 1984; NGAME fuses its two scores by one of depth 7).
//!
//! ```text
//! x ∈ R^4      what is known of a candidate                     n, p   the points of a node, the right ones among them
//! x_f ≤ t      goes left                                        share = p / n of the leaf where x ends
//! f, t         maximise p_l²/n_l + p_r²/n_r                     ⇔ minimise the Gini impurity of the halves, weighted
//! ```
//! Every feature is sorted once; a split divides all four orders stably, so a level costs O(points). Both halves keep
//! so many points that their shares mean something.

/// What is known of a candidate.
pub const FEATURES: usize = 4;

/// When a tree stops to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Splits between the root and a leaf, at most.
    pub depth: usize,
    /// Points in a leaf, at least.
    pub leaf: usize,
}

/// A tree, its nodes in preorder: the left child of a split follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Leaf { share: f32 },
    Split { feature: usize, threshold: f32, right: usize },
}

impl Tree {
    /// Fits a tree to points and whether each is right. Without points every share is 0.
    ///
    /// # Panics
    /// If there are not as many answers as points.
    #[track_caller]
    pub fn fit(points: &[[f32; FEATURES]], right: &[bool], growth: Growth) -> Tree {
        assert_eq!(points.len(), right.len(), "a point has one answer");
        let mut orders: [Vec<u32>; FEATURES] = std::array::from_fn(|feature| {
            let mut order: Vec<u32> = (0..points.len() as u32).collect();
            order.sort_by(|&a, &b| points[a as usize][feature].total_cmp(&points[b as usize][feature]));
            order
        });
        let leaf = growth.leaf.max(1);
        let mut grower = Grower { points, right, leaf, goes_left: vec![false; points.len()], nodes: vec![] };
        grower.grow(orders.each_mut().map(Vec::as_mut_slice), growth.depth);
        Tree { nodes: grower.nodes }
    }
    /// The share of right ones among the points that were like this one.
    pub fn share(&self, point: &[f32; FEATURES]) -> f32 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf { share } => return share,
                Node::Split { feature, threshold, .. } if point[feature] <= threshold => at += 1,
                Node::Split { right, .. } => at = right,
            }
        }
    }
}

struct Grower<'a> {
    points: &'a [[f32; FEATURES]],
    right: &'a [bool],
    leaf: usize,
    /// Of each point, when its node was split.
    goes_left: Vec<bool>,
    nodes: Vec<Node>,
}

impl Grower<'_> {
    /// Grows the node of these points, given in the order of each feature.
    fn grow(&mut self, orders: [&mut [u32]; FEATURES], depth: usize) {
        let total = orders[0].len();
        let hits = orders[0].iter().filter(|&&i| self.right[i as usize]).count();
        let split = if depth == 0 || hits == 0 || hits == total { None } else { self.best(&orders, hits) };
        let Some((feature, cut)) = split else {
            self.nodes.push(Node::Leaf { share: hits as f32 / total.max(1) as f32 });
            return;
        };
        let at = self.nodes.len();
        let value = |i: usize| self.points[orders[feature][i] as usize][feature];
        let threshold = between(value(cut - 1), value(cut));
        self.nodes.push(Node::Split { feature, threshold, right: 0 });
        for (rank, &i) in orders[feature].iter().enumerate() {
            self.goes_left[i as usize] = rank < cut;
        }
        let halves = orders.map(|order| {
            let (left, right): (Vec<u32>, Vec<u32>) =
                order.iter().partition(|&&i| self.goes_left[i as usize]);
            order[..cut].copy_from_slice(&left);
            order[cut..].copy_from_slice(&right);
            order.split_at_mut(cut)
        });
        let [mut lefts, mut rights] = [(); 2].map(|()| Vec::with_capacity(FEATURES));
        for (left, right) in halves {
            lefts.push(left);
            rights.push(right);
        }
        let half = |parts: Vec<_>| <[&mut [u32]; FEATURES]>::try_from(parts).expect("one for each feature");
        self.grow(half(lefts), depth - 1);
        let next = self.nodes.len();
        if let Node::Split { right, .. } = &mut self.nodes[at] {
            *right = next;
        }
        self.grow(half(rights), depth - 1);
    }
    /// The feature and the number of points on the left of the best split; the first of equals. None if none is better
    /// than not to split.
    fn best(&self, orders: &[&mut [u32]; FEATURES], hits: usize) -> Option<(usize, usize)> {
        let total = orders[0].len();
        let gain = |hits: usize, n: usize| (hits * hits) as f64 / n as f64;
        let mut best = (gain(hits, total), None);
        for (feature, order) in orders.iter().enumerate() {
            let mut on_left = 0;
            for (rank, pair) in order.windows(2).enumerate() {
                on_left += usize::from(self.right[pair[0] as usize]);
                let left = rank + 1;
                let [low, high] = [pair[0], pair[1]].map(|i| self.points[i as usize][feature]);
                if low == high || left < self.leaf || total - left < self.leaf {
                    continue;
                }
                let found = gain(on_left, left) + gain(hits - on_left, total - left);
                if found > best.0 {
                    best = (found, Some((feature, left)));
                }
            }
        }
        best.1
    }
}

/// The middle of two numbers, below the greater one.
fn between(low: f32, high: f32) -> f32 {
    let middle = low + (high - low) / 2.0;
    if middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points and answers that a script in another language makes alike, from integers.
    fn world() -> (Vec<[f32; FEATURES]>, Vec<bool>) {
        let number =
            |i: u64, f: u64| ((i * 7919 + 13) * (f * 2 + 3) * 104_729 % 1_000_003) as f32 / 1_000_003.0;
        let points: Vec<_> = (0..3000).map(|i| [0, 1, 2, 3].map(|f| number(i, f))).collect();
        let right =
            points.iter().enumerate().map(|(i, x)| (x[0] + x[1] * x[2] > 0.9) != (i % 11 == 0)).collect();
        (points, right)
    }

    /// `tests/golden/tree.py`: scikit-learn 1.9.1, `DecisionTreeClassifier(max_depth=7, min_samples_leaf=32)`.
    const POSITIVE: usize = 1085;
    const LEAVES: usize = 28;
    const SHARES: [f32; 31] = [
        0.0882883, 0.9146067, 0.06, 0.0882883, 0.0, 1.0, 0.1818182, 0.0952381, 0.0, 0.0882883, 0.0882883,
        0.0882883, 0.9146067, 0.9146067, 0.1029412, 0.0882883, 0.0882883, 0.220339, 0.0909091, 0.1029412,
        0.0882883, 0.0882883, 0.0793651, 1.0, 0.9146067, 0.9268293, 0.9016393, 0.0882883, 0.0882883,
        0.9146067, 0.8644068,
    ];

    #[test]
    fn shares_are_those_of_scikit_learn() {
        let (points, right) = world();
        assert_eq!(right.iter().filter(|r| **r).count(), POSITIVE);
        let tree = Tree::fit(&points, &right, Growth { depth: 7, leaf: 32 });
        assert_eq!(tree.nodes.iter().filter(|n| matches!(n, Node::Leaf { .. })).count(), LEAVES);
        for (i, want) in SHARES.into_iter().enumerate() {
            let got = tree.share(&points[i * 97]);
            assert!((got - want).abs() < 1e-6, "point {}: {got}, not {want}", i * 97);
        }
    }

    #[test]
    fn a_leaf_keeps_its_points_and_equal_values_are_not_divided() {
        let points: Vec<_> = [1.0, 1.0, 1.0, 2.0].map(|x| [x, 0.0, 0.0, 0.0]).into();
        let right = [false, true, false, true];
        let shares = |leaf| {
            let tree = Tree::fit(&points, &right, Growth { depth: 3, leaf });
            [0, 3].map(|i: usize| tree.share(&points[i]))
        };
        assert_eq!(shares(1), [1.0 / 3.0, 1.0]);
        assert_eq!(shares(2), [0.5, 0.5]);
        assert_eq!(Tree::fit(&[], &[], Growth { depth: 7, leaf: 1 }).share(&[0.0; 4]), 0.0);
    }
}
