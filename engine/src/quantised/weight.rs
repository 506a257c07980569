//! Rounded matrices, and the walk over their product.
//!
//! ```text
//! words [N / 48, depth, 48]      word k of row n lies at [n / 48, k, n mod 48];  depth = ⌈K / 4⌉ or ⌈K / 2⌉
//! ```
//! W is laid out once, for a kernel that reads 48 rows side by side. x is not: its rows are rounded where they are and
//! read word by word. Rows are cut into blocks by their number alone, and no sum is cut.

use super::tile::{PANEL, ROWS, Tile};
use super::{Bf16, Dot, Int8, Precision, Support, WIDTH_MAX};
use crate::engine::Engine;
use crate::pool::Buf;
use crate::tensor::Tensor;
use std::array::from_fn;
use std::ops::Range;

/// Rows of x in one parallel task: as often is a panel of W used that came into the cache.
const BLOCK: usize = 64;

/// A matrix W `[rows, width]`, rounded and laid out for products with its transpose.
pub struct Weight {
    precision: Precision,
    support: Support,
    rows: usize,
    width: usize,
    words: Buf<u32>,
    /// Scale and shift of each row; of the rows that fill up the last panel too.
    scales: Vec<f32>,
    shifts: Vec<f32>,
}

/// Rows x `[rows, K]`, rounded to be multiplied with a [`Weight`] of the same precision and width.
pub struct Rounded {
    words: Buf<u32>,
    /// Offset and step of each row.
    rows: Vec<[f32; 2]>,
}

impl Rounded {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}

impl Weight {
    /// Rounds `values`, `[rows, width]`.
    ///
    /// # Panics
    /// If the width is 0, does not divide the number of values, or is beyond [`WIDTH_MAX`].
    #[track_caller]
    pub fn new(engine: &Engine, precision: Precision, values: &[f32], width: usize) -> Weight {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "{} values in rows of {width}",
            values.len()
        );
        assert!(width <= WIDTH_MAX, "a sum of {width} products can overflow: {WIDTH_MAX} at most");
        let rows = values.len() / width;
        let (padded, depth) = (rows.next_multiple_of(PANEL), width.div_ceil(precision.lanes()));
        let mut words = engine.zeros::<u32>(padded * depth);
        let mut factors = vec![[0.0f32; 2]; padded];
        engine.chunks2((&mut words, PANEL * depth), (&mut factors, PANEL), |i, panel, factors| {
            let (panel, _) = panel.as_chunks_mut::<PANEL>();
            let mut row = vec![0u32; depth];
            for (j, w) in values.chunks(width).skip(i * PANEL).take(PANEL).enumerate() {
                factors[j] = match precision {
                    Precision::Int8 => Int8::weight(w, &mut row),
                    Precision::Bf16 => Bf16::weight(w, &mut row),
                };
                panel.iter_mut().zip(&row).for_each(|(to, &word)| to[j] = word);
            }
        });
        let (scales, shifts) = factors.into_iter().map(|[scale, shift]| (scale, shift)).unzip();
        Weight { precision, support: engine.support(), rows, width, words, scales, shifts }
    }
    /// To what it is rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }
    /// Outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Inputs of a product.
    pub fn width(&self) -> usize {
        self.width
    }
    /// The number of panels, of [`PANEL`] rows each; the last may have fewer.
    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }
    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.words) + size_of_val(&*self.scales) + size_of_val(&*self.shifts)
    }
    /// The rounded values, `[rows, width]`.
    pub fn values(&self) -> Vec<f32> {
        (0..self.rows).flat_map(|n| self.row(n)).collect()
    }
    /// The rounded values of row `n`.
    pub fn row(&self, n: usize) -> Vec<f32> {
        let one = |k: usize| match self.precision {
            Precision::Int8 => self.scales[n] * f32::from(self.word(n, k / 4).to_le_bytes()[k % 4] as i8),
            Precision::Bf16 => f32::from_bits(self.word(n, k / 2) >> (16 * (k % 2)) << 16),
        };
        (0..self.width).map(one).collect()
    }
    fn depth(&self) -> usize {
        self.width.div_ceil(self.precision.lanes())
    }
    fn word(&self, row: usize, k: usize) -> u32 {
        self.words[(row / PANEL * self.depth() + k) * PANEL + row % PANEL]
    }
    /// Rounds the rows of `x`.
    ///
    /// # Panics
    /// If they have another width.
    #[track_caller]
    pub fn round(&self, engine: &Engine, x: &[f32]) -> Rounded {
        assert!(x.len().is_multiple_of(self.width), "{} numbers for rows of {}", x.len(), self.width);
        let (width, depth, precision) = (self.width, self.depth(), self.precision);
        let mut words = engine.buffer::<u32>(x.len() / width * depth);
        let mut rows = vec![[0.0; 2]; x.len() / width];
        engine.chunks2(
            (&mut words, BLOCK * depth),
            (&mut rows, BLOCK),
            #[inline(always)]
            |i, words, rows| {
                let x = x[i * BLOCK * width..].chunks_exact(width);
                for ((x, words), row) in x.zip(words.chunks_mut(depth)).zip(rows) {
                    *row = match precision {
                        Precision::Int8 => Int8::round(x, words),
                        Precision::Bf16 => Bf16::round(x, words),
                    };
                }
            },
        );
        Rounded { words, rows }
    }
    /// Calls `f(m, n, values)` with y_mn and up to 47 that follow it in row m, for rows of x and panels of W.
    #[inline(always)]
    pub fn each(
        &self,
        x: &Rounded,
        rows: Range<usize>,
        panels: Range<usize>,
        f: impl FnMut(usize, usize, &[f32]),
    ) {
        match self.precision {
            Precision::Int8 => self.walk::<Int8>(x, rows, panels, f),
            Precision::Bf16 => self.walk::<Bf16>(x, rows, panels, f),
        }
    }
    #[inline(always)]
    fn walk<D: Dot>(
        &self,
        x: &Rounded,
        rows: Range<usize>,
        panels: Range<usize>,
        mut f: impl FnMut(usize, usize, &[f32]),
    ) {
        let depth = self.depth();
        let supported = self.support.has(self.precision);
        let mut sums: Tile<D::Sum> = [[D::Sum::default(); PANEL]; ROWS];
        for p in panels {
            let (panel, _) = self.words[p * depth * PANEL..(p + 1) * depth * PANEL].as_chunks::<PANEL>();
            let first = p * PANEL;
            let n = PANEL.min(self.rows - first);
            let (scales, shifts) = (&self.scales[first..first + PANEL], &self.shifts[first..first + PANEL]);
            for top in rows.clone().step_by(ROWS) {
                // A tile that reaches over the end does the last row again.
                let row = |i: usize| (top + i).min(rows.end - 1);
                D::tile(
                    supported,
                    from_fn(|i| &x.words[row(i) * depth..(row(i) + 1) * depth]),
                    panel,
                    &mut sums,
                );
                for (m, sums) in (top..rows.end).zip(&sums) {
                    // A loop and not `from_fn`, which would be compiled for itself and in narrow vectors.
                    let mut values = [0.0; PANEL];
                    for (((value, &sum), &scale), &shift) in
                        values.iter_mut().zip(sums).zip(scales).zip(shifts)
                    {
                        *value = D::value(sum, x.rows[m], scale, shift);
                    }
                    f(m, first, &values[..n]);
                }
            }
        }
    }
    /// y_mn alone: the same bits as of the walk.
    pub fn product(&self, x: &Rounded, m: usize, n: usize) -> f32 {
        match self.precision {
            Precision::Int8 => self.one::<Int8>(x, m, n),
            Precision::Bf16 => self.one::<Bf16>(x, m, n),
        }
    }
    fn one<D: Dot>(&self, x: &Rounded, m: usize, n: usize) -> f32 {
        let words = x.words[m * self.depth()..].iter().take(self.depth()).enumerate();
        let sum = words.fold(D::Sum::default(), |sum, (k, &a)| D::dot(sum, a, self.word(n, k)));
        D::value(sum, x.rows[m], self.scales[n], self.shifts[n])
    }
}

impl std::fmt::Debug for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Weight({} [{}, {}])", self.precision.name(), self.rows, self.width)
    }
}

/// x Wᵀ + b: x `[.., width]`, b `[rows]` → `[.., rows]`.
///
/// # Panics
/// If shapes do not fit or x and b are not f32.
#[track_caller]
pub fn linear(engine: &Engine, x: &Tensor, w: &Weight, b: Option<&Tensor>) -> Tensor {
    let (rows, out) = (x.shape().rows(), w.rows);
    assert_eq!(x.shape().last(), w.width, "linear: x {:?} times {w:?}", x.shape());
    let bias = b.map(Tensor::data::<f32>);
    assert!(bias.is_none_or(|b| b.len() == out), "linear: a bias of another length than {out}");
    engine.work(2 * (rows * out * w.width) as u64, 0);
    let rounded = w.round(engine, x.data());
    let mut y = engine.buffer::<f32>(rows * out);
    engine.chunks(
        &mut y,
        BLOCK * out,
        #[inline(always)]
        |i, y| {
            let top = i * BLOCK;
            let end = top + y.len() / out;
            w.each(
                &rounded,
                top..end,
                0..w.panels(),
                #[inline(always)]
                |m, n, values| {
                    let y = &mut y[(m - top) * out + n..][..values.len()];
                    match bias {
                        Some(b) => y.iter_mut().zip(values).zip(&b[n..]).for_each(|((y, v), b)| *y = v + b),
                        None => y.copy_from_slice(values),
                    }
                },
            );
        },
    );
    Tensor::from_buf(x.shape().with_last(out), y)
}
