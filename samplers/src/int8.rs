//! Exact search among rows of bytes: for each query the k items with the largest rounded inner product.
//!
//! ```text
//! score_qi = s_q t_i Σ_k u_qk v_ik + o_q t_i Σ_k v_ik        (engine::quantised; about q·x_i)
//! ```
//! The items take a quarter of the memory of f32, and a product a quarter of the time where the processor multiplies
//! bytes. The largest of d numbers of a unit vector is some √(2 ln d / d), a step 1/127 of it, and both factors are
//! off by 1/√12 of a step: a score by √(ln d / 3d) / 127, which is 0.0006 for d = 384. Items that are nearer than this
//! change places. Where that matters, ask for more than k and put them in order again by f32 ([`rescored`]); it is not
//! done unasked, for it wants the f32 rows at hand, whose memory was to be saved.
//!
//! Queries and items are cut into blocks by size. A task offers its scores to a list for each query as they leave the
//! registers; the lists of a query's tasks together hold its k best.

use engine::{Engine, Precision, Weight};

use crate::matrix::dot;
use crate::ranking::{best, keep_largest, unpack_best};
use crate::search::{Hits, Limits, NO_HIT};
use crate::{Csr, Matrix};

/// Queries of a task.
const QUERIES: usize = 64;
/// Panels of items of a task: 8160 items, a few MB of bytes.
const PANELS: usize = 170;
/// Queries whose lists are held at once: the lists of all tasks are k numbers for each query and each 8160 items.
const HELD: usize = 512;

/// Items, rounded to bytes with a scale for each row.
#[derive(Debug)]
pub struct Int8Rows(Weight);

impl Int8Rows {
    /// Rounds rows.
    pub fn new(engine: &Engine, rows: Matrix<'_>) -> Int8Rows {
        Int8Rows(Weight::new(engine, Precision::Int8, rows.data, rows.width))
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.0.rows()
    }
    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.0.width()
    }
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
    /// The scores of some rows for one query, as [`search_int8`] finds them.
    pub fn scores(&self, engine: &Engine, query: &[f32], ids: &[u32]) -> Vec<f32> {
        let query = self.0.round(engine, query);
        ids.iter().map(|&id| self.0.product(&query, 0, id as usize)).collect()
    }
    /// Row `i`, as its bytes have it.
    pub fn row(&self, i: usize) -> Vec<f32> {
        self.0.row(i)
    }
}

/// The `k` items with the largest rounded inner product for each query, within `limits`. An item whose score is NaN or
/// −∞ is no hit.
///
/// # Panics
/// If the widths differ.
#[track_caller]
pub fn search_int8(
    engine: &Engine,
    queries: Matrix<'_>,
    items: &Int8Rows,
    k: usize,
    limits: Limits<'_>,
) -> Hits {
    assert_eq!(queries.width, items.width(), "search: queries and items differ in width");
    let n = queries.rows();
    let mut hits = Hits { ids: vec![NO_HIT; n * k], scores: vec![f32::NEG_INFINITY; n * k], k };
    let panels = items.0.panels();
    let tasks = panels.div_ceil(PANELS);
    if k == 0 || tasks == 0 {
        return hits;
    }
    for first in (0..n).step_by(HELD) {
        let held = HELD.min(n - first);
        let rounded = items.0.round(engine, &queries.data[first * queries.width..][..held * queries.width]);
        let lists = engine.map(held.div_ceil(QUERIES) * tasks, |task| {
            let (block, part) = (task / tasks * QUERIES, task % tasks * PANELS);
            let rows = block..(block + QUERIES).min(held);
            let mut lists: Vec<List<'_>> = rows.clone().map(|q| List::new(first + q, k, limits)).collect();
            engine.vectorised(
                #[inline(always)]
                || {
                    items.0.each(
                        &rounded,
                        rows,
                        part..(part + PANELS).min(panels),
                        #[inline(always)]
                        |q, item, scores| lists[q - block].offer(item as u32, scores),
                    );
                },
            );
            lists.into_iter().map(List::finish).collect::<Vec<Vec<u64>>>()
        });
        for q in 0..held {
            let of_query = lists[q / QUERIES * tasks..][..tasks].iter().flat_map(|lists| &lists[q % QUERIES]);
            let mut words: Vec<u64> = of_query.copied().collect();
            keep_largest(&mut words, k);
            for (i, word) in ((first + q) * k..).zip(words) {
                (hits.ids[i], hits.scores[i]) = unpack_best(word);
            }
        }
    }
    hits
}

/// The `k` best of each row of `hits` by the inner product of f32 rows.
///
/// # Panics
/// If the widths differ, or an id has no row.
#[track_caller]
pub fn rescored(engine: &Engine, queries: Matrix<'_>, items: Matrix<'_>, hits: &Hits, k: usize) -> Hits {
    assert_eq!(queries.width, items.width, "rescored: queries and items differ in width");
    let rows = engine.map(queries.rows(), |q| {
        let score = |&id: &u32| best(dot(queries.row(q), items.row(id as usize)), id);
        let mut words: Vec<u64> = hits.row(q).0.iter().map(score).collect();
        keep_largest(&mut words, k);
        let mut row: Vec<(u32, f32)> = words.into_iter().map(unpack_best).collect();
        row.resize(k, (NO_HIT, f32::NEG_INFINITY));
        row
    });
    let (ids, scores) = rows.into_iter().flatten().unzip();
    Hits { ids, scores, k }
}

/// The best items of one query in one task.
struct List<'a> {
    words: Vec<u64>,
    k: usize,
    /// Nothing enters that is not above.
    floor: f32,
    excluded: &'a [u32],
    only: Option<&'a [u32]>,
}

impl<'a> List<'a> {
    fn new(query: usize, k: usize, limits: Limits<'a>) -> List<'a> {
        let excluded = limits.exclude.map_or(&[][..], |exclude: Csr<'a>| exclude.row(query));
        List { words: vec![], k, floor: f32::NEG_INFINITY, excluded, only: limits.only }
    }
    /// Takes the scores of consecutive items.
    #[inline(always)]
    fn offer(&mut self, first: u32, scores: &[f32]) {
        // Most panels hold nothing above the floor: one comparison for each, without a branch.
        if scores.iter().fold(false, |any, &score| any | (score > self.floor)) {
            self.take(first, scores);
        }
    }
    fn take(&mut self, first: u32, scores: &[f32]) {
        for (id, &score) in (first..).zip(scores) {
            if score > self.floor && self.allows(id) {
                self.words.push(best(score, id));
                // Twice k, so that a selection serves k offers. Ids rise: a later equal loses its tie.
                if self.words.len() >= 2 * self.k.max(16) {
                    keep_largest(&mut self.words, self.k);
                    self.floor = unpack_best(self.words[self.k - 1]).1;
                }
            }
        }
    }
    fn allows(&self, id: u32) -> bool {
        self.excluded.binary_search(&id).is_err()
            && self.only.is_none_or(|only| only.binary_search(&id).is_ok())
    }
    fn finish(mut self) -> Vec<u64> {
        keep_largest(&mut self.words, self.k);
        self.words
    }
}

#[cfg(test)]
mod tests {
    use engine::Stream;

    use super::*;
    use crate::search;

    /// Unit vectors in a few crowded directions, as embeddings are.
    fn units(rows: usize, width: usize, tag: u64) -> Vec<f32> {
        let (of_row, of_topic) = (Stream::new(7, tag), Stream::new(7, 0));
        let mut all = vec![];
        for r in 0..rows as u64 {
            let topic = of_row.below(r, 9);
            let number = |i: u64| {
                let common = of_topic.uniform(topic * 4096 + i) - 0.5;
                (common + 0.7 * (of_row.uniform((r + 1) * 4096 + i) - 0.5)) as f32
            };
            let row: Vec<f32> = (0..width as u64).map(number).collect();
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            all.extend(row.iter().map(|x| x / length));
        }
        all
    }

    /// All scores by [`Int8Rows::scores`], sorted.
    fn naive(q: Matrix<'_>, rows: &Int8Rows, k: usize, allowed: impl Fn(usize, u32) -> bool) -> Hits {
        let engine = Engine::unsupported(1);
        let (mut ids, mut scores) = (vec![], vec![]);
        for i in 0..q.rows() {
            let here: Vec<u32> = (0..rows.rows() as u32).filter(|&id| allowed(i, id)).collect();
            let of_query = rows.scores(&engine, q.row(i), &here);
            let mut all: Vec<(u32, f32)> = here.into_iter().zip(of_query).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.resize(k.max(all.len()), (NO_HIT, f32::NEG_INFINITY));
            ids.extend(all[..k].iter().map(|hit| hit.0));
            scores.extend(all[..k].iter().map(|hit| hit.1));
        }
        Hits { ids, scores, k }
    }

    #[test]
    fn search_of_bytes_equals_sorting_all_scores_whatever_the_tasks_and_threads() {
        for (n, m, k) in [(1, 1, 1), (3, 10, 4), (5, 3, 7), (70, 130, 9), (2, 8200, 33), (0, 4, 2), (4, 0, 2)]
        {
            let (q, x) = (units(n, 12, 1), units(m, 12, 2));
            let (q, x) = (Matrix::new(&q, 12), Matrix::new(&x, 12));
            for threads in [1, 3] {
                let engine = Engine::new(threads);
                let rows = Int8Rows::new(&engine, x);
                let got = search_int8(&engine, q, &rows, k, Limits::default());
                assert_eq!(
                    got,
                    naive(q, &rows, k, |_, _| true),
                    "{n} queries, {m} items, k {k}, {threads} threads"
                );
            }
        }
    }

    #[test]
    fn excluded_items_and_items_outside_the_subset_are_no_hits() {
        let (q, x) = (units(4, 8, 3), units(500, 8, 4));
        let (q, x) = (Matrix::new(&q, 8), Matrix::new(&x, 8));
        let engine = Engine::new(2);
        let rows = Int8Rows::new(&engine, x);
        let best = search_int8(&engine, q, &rows, 3, Limits::default());
        let mut items = [best.row(0).0, best.row(2).0].concat();
        items[..3].sort_unstable();
        items[3..].sort_unstable();
        let exclude = Csr { starts: &[0, 3, 3, 6, 6], items: &items };
        let only: Vec<u32> = (0..500).filter(|i| i % 7 != 2).collect();
        let got = search_int8(&engine, q, &rows, 20, Limits { exclude: Some(exclude), only: Some(&only) });
        assert_eq!(got, naive(q, &rows, 20, |q, i| !exclude.row(q).contains(&i) && i % 7 != 2));
    }

    #[test]
    fn rescored_candidates_are_the_ten_best_of_f32() {
        let (q, x) = (units(60, 64, 5), units(4000, 64, 6));
        let (q, x) = (Matrix::new(&q, 64), Matrix::new(&x, 64));
        let engine = Engine::new(2);
        let rows = Int8Rows::new(&engine, x);
        assert!(
            rows.bytes() < 4000 * (64 + 8) * 11 / 10,
            "a byte a number, two factors a row: {}",
            rows.bytes()
        );
        let want = search(&engine, q, x, 10, Limits::default());
        let plain = search_int8(&engine, q, &rows, 10, Limits::default());
        let wide = search_int8(&engine, q, &rows, 40, Limits::default());
        let got = rescored(&engine, q, x, &wide, 10);
        assert_eq!(got.ids, want.ids);
        assert!(got.scores.iter().zip(&want.scores).all(|(a, b)| (a - b).abs() < 1e-6));
        let same = plain.ids.iter().zip(&want.ids).filter(|(a, b)| a == b).count();
        assert!(same < plain.ids.len(), "bytes alone change no place here: this tests nothing");
    }
}
