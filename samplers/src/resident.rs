//! Exact search on a device: what [`crate::search`] does on the CPU, with the same order and the same limits.
//!
//! ```text
//! for QUERIES x GROUP queries      for each ITEMS items      S = Q·Xᵀ, QUERIES rows at a time      Nearest::offer(S)
//! ```
//! Items are sent tile by tile, widened from a table, or lie on the device already ([`Resident`]). A block keeps at
//! most [`Nearest::DEPTH`] hits of a query; where more are asked for, all items are searched again for what is below
//! those, up to [`DEEPEST`], and beyond it on the CPU. What is taken of the device does not grow with the numbers of
//! queries and items: 64 MiB of scores, a tile (two where only some items are searched), the queries of a group with
//! their hits, and what they exclude.
//!
//! Equal scores fall by id, as on the CPU. Our own products give equal items equal scores wherever they lie; cuBLAS may
//! multiply a shorter last tile by another kernel, and add up in another order.

use engine::cuda::{Columns, Cuda, Nearest, within_memory};
use engine::kernels::matmul::{Factor, product};
use engine::kernels::rows::gathered;
use engine::{Engine, Tensor};
use std::ops::Range;

use crate::ranking::{keep_largest, unpack_best};
use crate::search::{Hits, Limits, among, search};
use crate::table_rows::TableRows;
use crate::{Lists, Matrix};

/// Queries of a product.
const QUERIES: usize = 1 << 10;
/// Blocks of queries whose hits lie on the device at once.
const GROUP: usize = 16;
/// Items of a tile.
const ITEMS: usize = 1 << 14;
/// The most hits of a query that a device looks for.
pub(crate) const DEEPEST: usize = 4 * Nearest::DEPTH;

/// Rows of f32 that lie on a device, to be searched many times.
#[derive(Debug)]
pub struct Resident {
    cuda: Cuda,
    tiles: Vec<Tensor>,
}

impl Resident {
    /// Sends rows to a device, and takes their bytes off the budget; none where they are beyond it, or the device has
    /// no room for them: a search then sends them tile by tile.
    pub fn within(budget: &mut usize, cuda: &Cuda, rows: Matrix<'_>) -> Option<Resident> {
        let left = budget.checked_sub(size_of_val(rows.data))?;
        let send =
            || rows.data.chunks(ITEMS * rows.width).map(|tile| cuda.rows_of(tile, rows.width)).collect();
        *budget = left;
        Some(Resident { cuda: cuda.clone(), tiles: within_memory(send)? })
    }
    /// The `k` rows with the largest inner product for each query, within `limits`; `rows` are the same on the CPU.
    pub(crate) fn search(
        &self,
        engine: &Engine,
        queries: Matrix<'_>,
        rows: Matrix<'_>,
        k: usize,
        limits: Limits<'_>,
    ) -> Hits {
        match k <= DEEPEST {
            true => {
                search_tiles(engine, queries, (&self.cuda, Tiles::Resident(rows, &self.tiles)), k, limits)
            }
            false => search(engine, queries, rows, k, limits),
        }
    }
}

/// Bytes of a device that a search of `queries` among `items` of `width` numbers takes at its peak, where nothing is
/// excluded: a group of queries with the best `k` of each, a tile of items, and the scores of a block.
pub fn search_bytes([queries, items, width]: [usize; 3], k: usize) -> usize {
    let (group, tile, depth) = (queries.min(QUERIES * GROUP), items.min(ITEMS), k.min(Nearest::DEPTH));
    let lists = 8 * group * Nearest::spans_of(group.min(QUERIES)) * depth;
    4 * (group * width + tile * width + group.min(QUERIES) * tile) + lists
}

/// Items tile by tile.
#[derive(Clone, Copy)]
pub(crate) enum Tiles<'a> {
    /// Rows that are sent, and the id of the first one.
    Sent(Matrix<'a>, usize),
    /// Rows that lie on the device, and the same on the CPU.
    Resident(Matrix<'a>, &'a [Tensor]),
    /// Rows of a table.
    Table(TableRows<'a>),
}

impl Tiles<'_> {
    fn rows(self) -> usize {
        match self {
            Tiles::Sent(rows, _) | Tiles::Resident(rows, _) => rows.rows(),
            Tiles::Table(of) => of.table.rows(),
        }
    }
    fn tile(self, (engine, cuda): (&Engine, &Cuda), range: Range<usize>) -> Tensor {
        match self {
            Tiles::Sent(Matrix { data, width }, _) => {
                cuda.rows_of(&data[range.start * width..range.end * width], width)
            }
            Tiles::Resident(_, tiles) => tiles[range.start / ITEMS].clone(),
            Tiles::Table(rows) => rows.part(engine, range).to_device(cuda),
        }
    }
    /// Calls `f` with the rows of each tile on the device, and their ids.
    fn each(
        self,
        (engine, cuda): (&Engine, &Cuda),
        only: Option<&[u32]>,
        mut f: impl FnMut(&Tensor, Columns<'_>),
    ) {
        let offset = if let Tiles::Sent(_, first) = self { first } else { 0 };
        for range in cut(0..self.rows(), ITEMS) {
            let first = offset + range.start;
            let wanted = only.map(|ids| among(ids, first..first + range.len()));
            if wanted.is_some_and(<[u32]>::is_empty) {
                continue;
            }
            let tile = self.tile((engine, cuda), range);
            match wanted {
                None => f(&tile, Columns::From(first)),
                Some(ids) => {
                    let places: Vec<u32> = ids.iter().map(|id| id - first as u32).collect();
                    f(&gathered(engine, &tile, &places), Columns::These(ids));
                }
            }
        }
    }
}

/// The `k` items with the largest inner product for each query, within `limits`.
pub(crate) fn search_tiles(
    engine: &Engine,
    queries: Matrix<'_>,
    (cuda, items): (&Cuda, Tiles<'_>),
    k: usize,
    limits: Limits<'_>,
) -> Hits {
    let k_most = k.min(limits.only.map_or(items.rows(), <[u32]>::len));
    let mut hits = Hits::none(queries.rows(), k);
    for group in cut(0..queries.rows(), QUERIES * GROUP) {
        // What was found so far, best first.
        let mut found: Vec<Vec<u64>> = vec![vec![]; group.len()];
        for already in (0..k_most).step_by(Nearest::DEPTH) {
            let last = |words: &Vec<u64>| words.last().copied().unwrap_or(0);
            let below: Option<Vec<u64>> = (already > 0).then(|| found.iter().map(last).collect());
            let depth = Nearest::DEPTH.min(k_most - already);
            let wanted = (depth, below.as_deref());
            let more = best_below((engine, cuda), (queries, group.clone()), items, wanted, limits);
            found.iter_mut().zip(more).for_each(|(found, more)| found.extend(more));
        }
        for (q, words) in group.zip(found) {
            for (at, word) in (q * k..).zip(words) {
                (hits.ids[at], hits.scores[at]) = unpack_best(word);
            }
        }
    }
    hits
}

/// The largest words of each query of a group, largest first: `depth` of them at most, and below this one where one is
/// given.
fn best_below(
    (engine, cuda): (&Engine, &Cuda),
    (queries, group): (Matrix<'_>, Range<usize>),
    items: Tiles<'_>,
    (depth, below): (usize, Option<&[u64]>),
    limits: Limits<'_>,
) -> Vec<Vec<u64>> {
    let width = queries.width;
    let block = |block: Range<usize>| {
        let rows = cuda.rows_of(&queries.data[block.start * width..block.end * width], width);
        let below = below.map(|all| &all[block.start - group.start..block.end - group.start]);
        let lists = limits.exclude.map(|all| block.clone().map(|q| all.row(q)).collect::<Lists>());
        let excluded = lists.as_ref().map(|lists| (lists.csr().starts, lists.items()));
        (rows, Nearest::new(cuda, [block.len(), depth], excluded, below))
    };
    let mut blocks: Vec<(Tensor, Nearest)> = cut(group.clone(), QUERIES).map(block).collect();
    items.each((engine, cuda), limits.only, |tile, columns| {
        for (rows, nearest) in &mut blocks {
            nearest.offer(&product(engine, Factor::new(rows), Factor::new(tile).t()), columns);
        }
    });
    let mut best = Vec::with_capacity(group.len());
    for (_, nearest) in blocks {
        let per = nearest.spans() * depth;
        for words in nearest.fetch().chunks(per) {
            let mut words: Vec<u64> = words.iter().copied().filter(|&word| word > 0).collect();
            keep_largest(&mut words, depth);
            best.push(words);
        }
    }
    best
}

/// A range in pieces of `size`, the last one shorter.
fn cut(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}
