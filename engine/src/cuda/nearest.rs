//! The best columns of rows of scores that come tile by tile (`kernels/nearest.cu`).

use super::{Block, Cuda, args};
use crate::tensor::Tensor;

/// Threads of a block.
const THREADS: u32 = 256;
/// Blocks that occupy a device: where there are fewer rows, each row is cut into spans.
const BLOCKS: usize = 512;
/// Spans of a row at most.
const SPANS: usize = 16;

/// The ids of the columns of a tile.
#[derive(Clone, Copy)]
pub enum Columns<'a> {
    /// One after another, from this one on.
    From(usize),
    /// These, ascending.
    These(&'a [u32]),
}

/// The best ids of each row so far, on a device, as words of which a larger one is a larger score, among equals a
/// smaller id: the upper half is the score's bits in the order of numbers, the lower one is ¬id.
pub struct Nearest {
    cuda: Cuda,
    /// `[rows, spans, k]`.
    words: Block,
    /// Where the ids begin that each row must not get, and these.
    excluded: Option<[Block; 2]>,
    /// A word for each row, which none of its own reaches.
    below: Option<Block>,
    rows: usize,
    spans: usize,
    k: usize,
}

impl Nearest {
    /// The largest `k`: what the shared memory of a block has room for.
    pub const DEPTH: usize = 1024;

    /// None yet, for so many rows. Row `i` must not get the ids `excluded.1[excluded.0[i]..excluded.0[i + 1]]`,
    /// which ascend, and only words below `below[i]`.
    ///
    /// # Panics
    /// If `k` is 0 or above [`Nearest::DEPTH`], or numbers for other rows are given.
    #[track_caller]
    pub fn new(
        cuda: &Cuda,
        [rows, k]: [usize; 2],
        excluded: Option<(&[u64], &[u32])>,
        below: Option<&[u64]>,
    ) -> Nearest {
        assert!(
            (1..=Nearest::DEPTH).contains(&k),
            "the best {k} of a row, 1 to {} can be kept",
            Nearest::DEPTH
        );
        assert!(below.is_none_or(|below| below.len() == rows), "a word for each row");
        let excluded = excluded.map(|(starts, ids)| {
            let last = starts.last().map_or(0, |&end| end as usize);
            assert!(
                starts.len() == rows + 1 && starts.is_sorted() && last <= ids.len(),
                "a list for each row"
            );
            [cuda.send(starts), cuda.send(ids)]
        });
        let spans = Nearest::spans_of(rows);
        let words = cuda.blank(8 * rows * spans * k);
        let below = below.map(|below| cuda.send(below));
        Nearest { cuda: cuda.clone(), words, excluded, below, rows, spans, k }
    }
    /// Takes the scores `[rows, m]` of `m` columns.
    ///
    /// # Panics
    /// If the scores are of other rows, or there is not an id for each column.
    #[track_caller]
    pub fn offer(&mut self, scores: &Tensor, columns: Columns<'_>) {
        let m = scores.shape().last();
        assert_eq!(scores.shape().rows(), self.rows, "scores of other rows");
        let (first, ids) = match columns {
            Columns::From(first) => (first, None),
            Columns::These(ids) => {
                assert_eq!(ids.len(), m, "an id for each column");
                (0, Some(self.cuda.send(ids)))
            }
        };
        let (scores, span) = (self.cuda.here(scores), m.div_ceil(self.spans));
        let [starts, excluded] = match &self.excluded {
            Some([starts, ids]) => [Some(starts), Some(ids)],
            None => [None, None],
        };
        self.cuda.launch(
            "nearest",
            [self.rows, self.spans, 1],
            THREADS,
            args![self.words, scores, ids, starts, excluded, self.below, first, m, span, self.k],
        );
    }
    /// The best words of each row: in each the `k` largest of every one of [`Nearest::spans`], largest first, 0 where
    /// there are fewer.
    pub fn fetch(self) -> Vec<u64> {
        self.cuda.fetch(self.words.at(), self.rows * self.spans * self.k)
    }
    /// Into how many spans each of so many rows is cut.
    pub fn spans_of(rows: usize) -> usize {
        (BLOCKS / rows.max(1)).clamp(1, SPANS)
    }
    /// Into how many spans a row is cut.
    pub fn spans(&self) -> usize {
        self.spans
    }
}
