//! A tile of sums: eight rows of x times a panel of 48 rows of W, all of K.
//!
//! ```text
//! tile_ij = Σ_k a_i[k] · panel[k][j]        a word times a word: Dot::dot
//! ```
//! 8 × 48 sums of 32 bits fill 24 registers of AVX-512; three hold the panel's words and one the word of a row, so that
//! each step of k loads 11 times for 24 multiplications. A panel of 384 bytes of depth is 18 KiB and stays in the first
//! cache while all rows of a block pass.

use std::array::from_fn;

/// Rows of x in a tile.
pub(super) const ROWS: usize = 8;
/// Rows of W in a panel: the columns of a tile.
pub const PANEL: usize = 48;

/// The sums of a tile.
pub(super) type Tile<S> = [[S; PANEL]; ROWS];

/// A kind of word: how a row becomes words, how they are multiplied, and what a sum of them is worth.
pub(super) trait Dot {
    /// 32 bits.
    type Sum: Copy + Default;
    /// Rounds a row of x; the words behind its end are zero. Returns offset and step.
    fn round(x: &[f32], words: &mut [u32]) -> [f32; 2];
    /// Rounds a row of W likewise. Returns its scale, and its shift: what the offset of x is multiplied by.
    fn weight(w: &[f32], words: &mut [u32]) -> [f32; 2];
    /// sum + a · b.
    fn dot(sum: Self::Sum, a: u32, b: u32) -> Self::Sum;
    /// The product that a sum stands for, from offset and step of the row of x, and scale and shift of the row of W.
    fn value(sum: Self::Sum, row: [f32; 2], scale: f32, shift: f32) -> f32;
    /// The sums of a tile, by the instructions of the processor where it has them.
    ///
    /// # Panics
    /// If a row has not as many words as the panel.
    fn tile(supported: bool, a: [&[u32]; ROWS], panel: &[[u32; PANEL]], tile: &mut Tile<Self::Sum>);
}

/// The sums of a tile: the specification, and the code for processors without instructions of their own.
#[inline(always)]
pub(super) fn reference<D: Dot>(a: [&[u32]; ROWS], panel: &[[u32; PANEL]], tile: &mut Tile<D::Sum>) {
    for (a, sums) in a.iter().zip(tile) {
        assert_eq!(a.len(), panel.len(), "a row and a panel differ in depth");
        *sums = [D::Sum::default(); PANEL];
        for (&a, b) in a.iter().zip(panel) {
            // Made anew in each step, so that they live in registers.
            *sums = from_fn(|j| D::dot(sums[j], a, b[j]));
        }
    }
}
