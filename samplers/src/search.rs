//! Exact search: for each query the k items with the largest inner product.
//!
//! ```text
//! S = X·Qᵀ, a tile of ITEMS × QUERIES at a time      hits[i] = the k best of column i, score falling, then id
//! ```
//! A task is a block of queries and a span of items. Its tile of scores (768 KiB) stays in the second level of cache:
//! it is compared with the floors of its queries, 16 at a time, while it is hot, and the next one overwrites it. Items
//! are the left factor because the product reads that where it lies and packs the right one. Each query holds a pool
//! of at most 2k candidates and a floor below which nothing enters; a full pool is cut to its k best, which raises the
//! floor: O(1) a score. The product bounds the time (2·d flops a score). For few queries it is a product with vectors,
//! which reads every item once and is bound by that.
//!
//! Scores order by number and then by id, which is total: however the work is cut, the k best are the same.
//! An engine with a device searches there ([`crate::resident`]).

use engine::{Engine, Mat, gemm_alone, scratch_for};
use std::ops::Range;

use crate::matrix::dot;
use crate::ranking::{best, keep_largest, select_largest, unpack_best};
use crate::resident::{DEEPEST, Tiles, search_tiles};
use crate::{Csr, Matrix};

/// Queries of a task: four panels of the product.
const QUERIES: usize = 192;
/// Items of a tile.
const ITEMS: usize = 1024;
/// Up to so many queries, every item is multiplied with each by itself.
const FEW: usize = 4;
/// Tasks of a search that is large enough.
const TASKS: usize = 32;
/// Spans of items at most: each begins with empty pools, which costs some hundred candidates a query.
const SPANS: usize = 16;
/// Scores that are compared at once.
const LANES: usize = 16;
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
    /// No hit for so many queries.
    pub fn none(queries: usize, k: usize) -> Hits {
        Hits { ids: vec![NO_HIT; queries * k], scores: vec![f32::NEG_INFINITY; queries * k], k }
    }
    /// The best of these and of those that were found among other items.
    ///
    /// # Panics
    /// If they are not of the same queries and as many.
    #[track_caller]
    pub fn add(&mut self, engine: &Engine, more: &Hits) {
        let k = self.k;
        assert_eq!((k, self.ids.len()), (more.k, more.ids.len()), "Hits: of other queries");
        engine.chunks2((&mut self.ids, k), (&mut self.scores, k), |i, ids, scores| {
            let words = |(ids, scores): (&[u32], &[f32])| -> Vec<u64> {
                ids.iter().zip(scores).map(|(&id, &score)| best(score, id)).collect()
            };
            let here = ids.iter().position(|&id| id == NO_HIT).unwrap_or(k);
            let all = [words((&ids[..here], &scores[..here])), words(more.row(i))];
            put_best(all.concat(), k, ids, scores);
        });
    }
    /// Ids and scores of query `i`, without the fill.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let ids = &self.ids[i * self.k..(i + 1) * self.k];
        let n = ids.iter().position(|&id| id == NO_HIT).unwrap_or(self.k);
        (&ids[..n], &self.scores[i * self.k..i * self.k + n])
    }
    /// Gives the hits of query `i` the scores of another judge, in their order, which becomes theirs.
    ///
    /// # Panics
    /// If there is not one score for each hit.
    #[track_caller]
    pub fn rescore(&mut self, i: usize, scores: &[f32]) {
        let (from, n) = (i * self.k, self.row(i).0.len());
        assert_eq!(scores.len(), n, "Hits::rescore: a score for each of {n} hits");
        let mut all: Vec<(u32, f32)> =
            self.ids[from..from + n].iter().copied().zip(scores.iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (place, (id, score)) in (from..).zip(all) {
            (self.ids[place], self.scores[place]) = (id, score);
        }
    }
}

/// The `k` items with the largest inner product for each query, within `limits`. An item whose score is NaN
/// or −∞ is no hit.
///
/// # Panics
/// If the widths differ.
#[track_caller]
pub fn search(engine: &Engine, queries: Matrix<'_>, items: Matrix<'_>, k: usize, limits: Limits<'_>) -> Hits {
    search_part(engine, queries, (items, 0), k, limits)
}

/// [`search`] among some of all items, the first of which has the id `first`; `limits.only` names no others.
///
/// # Panics
/// If the widths differ.
#[track_caller]
pub fn search_part(
    engine: &Engine,
    queries: Matrix<'_>,
    (items, first): (Matrix<'_>, usize),
    k: usize,
    limits: Limits<'_>,
) -> Hits {
    assert_eq!(queries.width, items.width, "search: queries and items differ in width");
    let n = queries.rows();
    let mut hits = Hits::none(n, k);
    let searched = limits.only.map_or(items.rows(), <[u32]>::len);
    if n * k * searched == 0 {
        return hits;
    }
    if let Some(cuda) = engine.cuda().filter(|_| k <= DEEPEST) {
        return search_tiles(engine, queries, (cuda, Tiles::Sent(items, first)), k, limits);
    }
    let blocks = n.div_ceil(QUERIES);
    let span = searched.div_ceil((TASKS / blocks).clamp(1, SPANS)).next_multiple_of(ITEMS);
    let work = Work { engine, queries, items, first, k, limits, rows: QUERIES.min(n), few: n <= FEW };
    let spans = searched.div_ceil(span);
    let found = engine.map_with(blocks * spans, work.scratch(), |task, scratch| {
        let (block, first) = (task % blocks * QUERIES, task / blocks * span);
        let tiles = (first..searched.min(first + span)).step_by(ITEMS);
        work.run(block..n.min(block + QUERIES), tiles.map(|i| i..searched.min(i + ITEMS)), scratch)
    });
    engine.chunks2((&mut hits.ids, k), (&mut hits.scores, k), |i, ids, scores| {
        let of_span = |s: usize| &found[s * blocks + i / QUERIES][i % QUERIES];
        put_best((0..spans).flat_map(of_span).copied().collect(), k, ids, scores);
    });
    hits
}

/// Unpacks the `k` largest words.
fn put_best(mut words: Vec<u64>, k: usize, ids: &mut [u32], scores: &mut [f32]) {
    keep_largest(&mut words, k);
    for ((id, score), word) in ids.iter_mut().zip(scores).zip(words) {
        (*id, *score) = unpack_best(word);
    }
}

/// Those of some ascending ids that lie in a range.
pub(crate) fn among(ids: &[u32], range: Range<usize>) -> &[u32] {
    let place = |row: usize| ids.partition_point(|&id| (id as usize) < row);
    &ids[place(range.start)..place(range.end)]
}

/// A search as its tasks see it.
struct Work<'a> {
    engine: &'a Engine,
    queries: Matrix<'a>,
    items: Matrix<'a>,
    /// The id of the first item.
    first: usize,
    k: usize,
    limits: Limits<'a>,
    /// Queries of a task at most.
    rows: usize,
    few: bool,
}

impl Work<'_> {
    /// Numbers of scratch for one task: a tile of scores, and what the product wants.
    fn scratch(&self) -> usize {
        let product =
            if self.few { 0 } else { scratch_for(self.engine, [ITEMS, self.items.width, self.rows]) };
        ITEMS * self.rows + product
    }
    /// The best k words of each query of a block among the items of some tiles, unsorted.
    fn run(
        &self,
        block: Range<usize>,
        tiles: impl Iterator<Item = Range<usize>>,
        scratch: &mut [f32],
    ) -> Vec<Vec<u64>> {
        let (rows, width) = (block.len(), self.items.width);
        let queries = Matrix::new(&self.queries.data[block.start * width..block.end * width], width);
        let mut pools = Pools::new(rows, self.k);
        let (scores, scratch) = scratch.split_at_mut(ITEMS * self.rows);
        for tile in tiles {
            let tile = Tile::of((self.items, self.first), self.limits.only, tile);
            let scores = &mut scores[..tile.len * rows];
            self.score(&tile, queries, scores, scratch);
            for (row, query) in block.clone().enumerate() {
                let excluded = self.limits.exclude.iter().flat_map(|e| e.row(query));
                excluded
                    .filter_map(|&id| tile.column(id))
                    .for_each(|c| scores[c * rows + row] = f32::NEG_INFINITY);
            }
            self.engine.vectorised(
                #[inline(always)]
                || pools.offer(scores, &tile),
            );
        }
        pools.finish()
    }
    /// `scores[c · rows + r]` = item c of the tile · query r.
    fn score(&self, tile: &Tile<'_>, queries: Matrix<'_>, scores: &mut [f32], scratch: &mut [f32]) {
        let (rows, width) = (queries.rows(), queries.width);
        if self.few {
            self.engine.vectorised(
                #[inline(always)]
                || {
                    for (item, scores) in tile.rows.chunks_exact(width).zip(scores.chunks_exact_mut(rows)) {
                        for (r, score) in scores.iter_mut().enumerate() {
                            *score = dot(item, queries.row(r));
                        }
                    }
                },
            );
            return;
        }
        let (a, b) = (Mat::new(&tile.rows, tile.len, width), Mat::new(queries.data, rows, width).t());
        gemm_alone(self.engine, scratch, 1.0, a, b, 0.0, scores, |_, _, _| ());
    }
}

/// Some consecutive items, in place, or gathered when only a part of them is searched.
struct Tile<'a> {
    rows: std::borrow::Cow<'a, [f32]>,
    /// The id of the first item, where they are consecutive.
    start: usize,
    len: usize,
    ids: Option<&'a [u32]>,
}

impl<'a> Tile<'a> {
    fn of((items, first): (Matrix<'a>, usize), only: Option<&'a [u32]>, span: Range<usize>) -> Tile<'a> {
        let (start, len) = (first + span.start, span.len());
        let Some(only) = only else {
            let rows = items.data[span.start * items.width..span.end * items.width].into();
            return Tile { rows, start, len, ids: None };
        };
        let ids = &only[span];
        let mut rows = Vec::with_capacity(len * items.width);
        ids.iter().for_each(|&id| rows.extend_from_slice(items.row(id as usize - first)));
        Tile { rows: rows.into(), start, len, ids: Some(ids) }
    }
    fn id(&self, column: usize) -> u32 {
        self.ids.map_or((self.start + column) as u32, |ids| ids[column])
    }
    /// Where an item stands in this tile.
    fn column(&self, id: u32) -> Option<usize> {
        match self.ids {
            Some(ids) => ids.binary_search(&id).ok(),
            None => (id as usize).checked_sub(self.start).filter(|&column| column < self.len),
        }
    }
}

/// The best candidates of each query of a task so far.
struct Pools {
    words: Vec<Vec<u64>>,
    /// What a candidate must exceed, by query. Ids rise from item to item, so an equal score loses its tie.
    floors: Vec<f32>,
    k: usize,
}

impl Pools {
    fn new(rows: usize, k: usize) -> Pools {
        Pools { words: vec![vec![]; rows], floors: vec![f32::NEG_INFINITY; rows], k }
    }
    /// Takes a tile's scores, item by item.
    #[inline(always)]
    fn offer(&mut self, scores: &[f32], tile: &Tile<'_>) {
        let rows = self.floors.len();
        for (column, scores) in scores.chunks_exact(rows).enumerate() {
            let (whole, rest) = scores.as_chunks::<LANES>();
            for (g, scores) in whole.iter().enumerate() {
                let floors = self.floors[g * LANES..].first_chunk::<LANES>().expect("as many as scores");
                // No early end: so the comparisons are one instruction.
                let above =
                    scores.iter().zip(floors).fold(false, |any, (score, floor)| any | (score > floor));
                if above {
                    self.take(g * LANES, scores, tile.id(column));
                }
            }
            self.take(rows - rest.len(), rest, tile.id(column));
        }
    }
    /// Takes the scores of one item for the queries from `first` on.
    fn take(&mut self, first: usize, scores: &[f32], id: u32) {
        for (row, &score) in (first..).zip(scores) {
            if score > self.floors[row] {
                let words = &mut self.words[row];
                words.push(best(score, id));
                if words.len() >= 2 * self.k.max(LANES) {
                    self.floors[row] = unpack_best(select_largest(words, self.k)).1;
                }
            }
        }
    }
    fn finish(mut self) -> Vec<Vec<u64>> {
        for words in self.words.iter_mut().filter(|words| words.len() > self.k) {
            select_largest(words, self.k);
        }
        self.words
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
        for (n, m, k) in [
            (3, 10, 4),
            (1, 1, 1),
            (5, 3, 7),
            (520, 700, 9),
            (2, 9000, 33),
            (9, 40_000, 20),
            (0, 4, 2),
            (4, 0, 2),
        ] {
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

    #[test]
    fn another_judge_puts_hits_in_another_order() {
        let mut hits =
            Hits { ids: vec![4, 7, 9, NO_HIT], scores: vec![0.9, 0.8, 0.7, f32::NEG_INFINITY], k: 4 };
        hits.rescore(0, &[0.1, 0.6, 0.6]);
        assert_eq!(hits.row(0), (&[7, 9, 4][..], &[0.6, 0.6, 0.1][..]));
        assert_eq!(hits.ids[3], NO_HIT);
    }
}
