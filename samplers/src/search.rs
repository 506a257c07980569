//! Exact search: for each query the k items with the largest inner product.
//!
//! ```text
//! S = Q·Xᵀ, a tile of QUERIES × ITEMS at a time      hits[i] = the k best of row i, score falling, then id
//! ```
//! Each row holds a pool of at most 2k candidates and a floor below which nothing enters; a full pool is cut
//! to its k best, which raises the floor: O(1) a score. The product bounds the time (2·d flops a score);
//! memory is one tile of scores, 8 MiB, whatever the number of items.

use engine::{Engine, Mat, gemm};

use crate::ranking::{best, keep_largest, unpack_best};
use crate::{Csr, Matrix};

/// Queries and items of a tile.
const QUERIES: usize = 512;
const ITEMS: usize = 4096;
/// The id that fills up a row with fewer than k hits.
pub const NO_HIT: u32 = u32::MAX;

/// What a search leaves out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits<'a> {
    /// Row `i`: items that query `i` of this search must not get.
    pub exclude: Option<Csr<'a>>,
    /// Ascending ids of the items to search; `None` for all.
    pub only: Option<&'a [u32]>,
}

/// The best k items of every query.
#[derive(Clone, Debug, PartialEq)]
pub struct Hits {
    /// Item ids, `[queries, k]`, best first; [`NO_HIT`] after the last hit.
    pub ids: Vec<u32>,
    /// Inner products, `[queries, k]`; −∞ after the last hit.
    pub scores: Vec<f32>,
    /// Hits asked for.
    pub k: usize,
}

impl Hits {
    /// Ids and scores of query `i`, without the fill.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let ids = &self.ids[i * self.k..(i + 1) * self.k];
        let n = ids.iter().position(|&id| id == NO_HIT).unwrap_or(self.k);
        (&ids[..n], &self.scores[i * self.k..i * self.k + n])
    }
}

/// The `k` items with the largest inner product for each query, within `limits`. An item whose score is NaN
/// or −∞ is no hit.
///
/// # Panics
/// If the widths differ.
#[track_caller]
pub fn search(engine: &Engine, queries: Matrix<'_>, items: Matrix<'_>, k: usize, limits: Limits<'_>) -> Hits {
    assert_eq!(queries.width, items.width, "search: queries and items differ in width");
    let (n, width) = (queries.rows(), queries.width);
    let mut hits = Hits { ids: vec![NO_HIT; n * k], scores: vec![f32::NEG_INFINITY; n * k], k };
    if k == 0 {
        return hits;
    }
    let searched = limits.only.map_or(items.rows(), <[u32]>::len);
    let mut scores = engine.buffer::<f32>(QUERIES.min(n) * ITEMS.min(searched));
    for first in (0..n).step_by(QUERIES) {
        let block = &queries.data[first * width..(first + QUERIES).min(n) * width];
        let rows = block.len() / width;
        let mut pools: Vec<Pool> = (0..rows).map(|_| Pool::new(k)).collect();
        for start in (0..searched).step_by(ITEMS) {
            let tile = Tile::of(items, limits.only, start..(start + ITEMS).min(searched));
            let scores = &mut scores[..rows * tile.len];
            gemm(
                engine,
                1.0,
                Mat::new(block, rows, width),
                Mat::new(&tile.rows, tile.len, width).t(),
                0.0,
                scores,
            );
            engine.chunks2((&mut pools, 1), (scores, tile.len), |i, pool, scores| {
                limits.exclude.iter().flat_map(|e| e.row(first + i)).for_each(|&id| tile.strike(id, scores));
                pool[0].offer(scores, |j| tile.id(j));
            });
        }
        let span = first * k..(first + rows) * k;
        for (i, pool) in pools.into_iter().enumerate() {
            let at = span.start + i * k;
            pool.write(&mut hits.ids[at..at + k], &mut hits.scores[at..at + k]);
        }
    }
    hits
}

/// Some consecutive items, in place, or gathered when only a part of them is searched.
struct Tile<'a> {
    rows: std::borrow::Cow<'a, [f32]>,
    start: usize,
    len: usize,
    ids: Option<&'a [u32]>,
}

impl<'a> Tile<'a> {
    fn of(items: Matrix<'a>, only: Option<&'a [u32]>, span: std::ops::Range<usize>) -> Tile<'a> {
        let (start, len) = (span.start, span.len());
        let Some(only) = only else {
            let rows = items.data[start * items.width..span.end * items.width].into();
            return Tile { rows, start, len, ids: None };
        };
        let ids = &only[span];
        let rows: Vec<f32> = ids.iter().flat_map(|&id| items.row(id as usize)).copied().collect();
        Tile { rows: rows.into(), start, len, ids: Some(ids) }
    }
    fn id(&self, column: usize) -> u32 {
        self.ids.map_or((self.start + column) as u32, |ids| ids[column])
    }
    /// Takes an item out of a row of scores, if it is in this tile.
    fn strike(&self, id: u32, scores: &mut [f32]) {
        let column = match self.ids {
            Some(ids) => ids.binary_search(&id).ok(),
            None => (id as usize).checked_sub(self.start).filter(|&column| column < self.len),
        };
        if let Some(column) = column {
            scores[column] = f32::NEG_INFINITY;
        }
    }
}

/// The best candidates of one query so far.
struct Pool {
    words: Vec<u64>,
    k: usize,
    floor: f32,
}

impl Pool {
    fn new(k: usize) -> Pool {
        Pool { words: Vec::new(), k, floor: f32::NEG_INFINITY }
    }
    /// Takes a tile's scores. Ids rise from tile to tile, so a later score equal to the floor loses its tie.
    fn offer(&mut self, scores: &[f32], id: impl Fn(usize) -> u32) {
        for (column, &score) in scores.iter().enumerate() {
            if score > self.floor {
                self.words.push(best(score, id(column)));
                if self.words.len() >= 2 * self.k.max(16) {
                    self.cut();
                }
            }
        }
    }
    fn cut(&mut self) {
        keep_largest(&mut self.words, self.k);
        if self.words.len() == self.k {
            self.floor = unpack_best(self.words[self.k - 1]).1;
        }
    }
    fn write(mut self, ids: &mut [u32], scores: &mut [f32]) {
        self.cut();
        for ((id, score), word) in ids.iter_mut().zip(scores).zip(self.words) {
            (*id, *score) = unpack_best(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Stream;

    use super::*;

    /// Whole numbers: every product is exact, and many tie.
    fn whole(rows: usize, width: usize, tag: u64) -> Vec<f32> {
        let stream = Stream::new(3, tag);
        (0..rows * width).map(|i| stream.below(i as u64, 7) as f32 - 3.0).collect()
    }

    /// Score everything, sort everything.
    fn naive(queries: Matrix<'_>, items: Matrix<'_>, k: usize, allowed: impl Fn(usize, u32) -> bool) -> Hits {
        let (mut ids, mut scores) = (vec![], vec![]);
        for q in 0..queries.rows() {
            let dot = |i: u32| -> f32 {
                queries.row(q).iter().zip(items.row(i as usize)).map(|(a, b)| a * b).sum()
            };
            let mut all: Vec<(u32, f32)> =
                (0..items.rows() as u32).filter(|&i| allowed(q, i)).map(|i| (i, dot(i))).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.resize(k.max(all.len()), (NO_HIT, f32::NEG_INFINITY));
            ids.extend(all[..k].iter().map(|hit| hit.0));
            scores.extend(all[..k].iter().map(|hit| hit.1));
        }
        Hits { ids, scores, k }
    }

    #[test]
    fn search_equals_sorting_all_scores_whatever_the_tiles_and_threads() {
        let width = 5;
        for (n, m, k) in
            [(3, 10, 4), (1, 1, 1), (5, 3, 7), (520, 700, 9), (2, 9000, 33), (0, 4, 2), (4, 0, 2)]
        {
            let (q, x) = (whole(n, width, 1), whole(m, width, 2));
            let (q, x) = (Matrix::new(&q, width), Matrix::new(&x, width));
            let want = naive(q, x, k, |_, _| true);
            for threads in [1, 3] {
                let got = search(&Engine::new(threads), q, x, k, Limits::default());
                assert_eq!(got, want, "{n} queries, {m} items, k {k}, {threads} threads");
            }
        }
    }

    #[test]
    fn excluded_items_and_items_outside_the_subset_are_no_hits() {
        let (q, x) = (whole(4, 6, 3), whole(6000, 6, 4));
        let (q, x) = (Matrix::new(&q, 6), Matrix::new(&x, 6));
        let best = naive(q, x, 3, |_, _| true);
        let exclude = Csr { starts: &[0, 3, 3, 6, 6], items: &[best.row(0).0, best.row(2).0].concat() };
        let mut sorted = exclude.items.to_vec();
        sorted[..3].sort_unstable();
        sorted[3..].sort_unstable();
        let exclude = Csr { items: &sorted, ..exclude };
        let only: Vec<u32> = (0..6000).filter(|i| i % 7 != 2).collect();
        let free = |q: usize, i: u32| !exclude.row(q).contains(&i);
        let engine = Engine::new(2);
        let got = search(&engine, q, x, 20, Limits { exclude: Some(exclude), only: None });
        assert_eq!(got, naive(q, x, 20, free));
        let got = search(&engine, q, x, 20, Limits { exclude: Some(exclude), only: Some(&only) });
        assert_eq!(got, naive(q, x, 20, |q, i| free(q, i) && i % 7 != 2));
    }

    #[test]
    fn too_few_items_leave_a_fill() {
        let hits = search(
            &Engine::new(1),
            Matrix::new(&[1.0], 1),
            Matrix::new(&[2.0, f32::NAN, 5.0], 1),
            4,
            Limits::default(),
        );
        assert_eq!(hits.ids, [2, 0, NO_HIT, NO_HIT]);
        assert_eq!(hits.row(0), (&[2, 0][..], &[5.0, 2.0][..]));
    }
}
