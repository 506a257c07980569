//! The bias by distance of MPNet (Song et al. 2020), after T5 (Raffel et al. 2020, section 2.1).
//!
//! ```text
//! b[i − j] = E_relative[bucket(i − j)]        one number for each head
//! ```
//! Distances of less than 8 have a bucket each; eight more on each side cover up to 128 in steps that grow like a
//! logarithm; what is further away shares the last.

use std::sync::Arc;

/// Rows of the table: half of them for keys that come later.
pub(crate) const BUCKETS: usize = 32;
/// Distances with a bucket of their own.
const EXACT: usize = BUCKETS / 4;

/// The bucket of query i and key j, for i − j = `distance`. With 8 buckets from 8 to 128, a factor of 2⁴, two steps
/// double the distance: step k begins where distance² = 64·2ᵏ.
fn bucket(distance: isize) -> u32 {
    let (side, far) = (if distance < 0 { BUCKETS / 2 } else { 0 }, distance.unsigned_abs());
    let step = || (far * far / (EXACT * EXACT)).ilog2() as usize;
    let at = if far < EXACT { far } else { (EXACT + step()).min(BUCKETS / 2 - 1) };
    (side + at) as u32
}

/// The buckets of all distances in texts of up to `longest` tokens: number `longest − 1 + i − j`.
pub(crate) fn buckets(longest: usize) -> Arc<[u32]> {
    let most = longest.max(1) as isize - 1;
    (-most..=most).map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `MPNetEncoder.relative_position_bucket` of transformers 5.24 at −(i − j).
    #[test]
    fn buckets_equal_those_of_transformers() {
        let near: Vec<u32> = (-9..=9).map(bucket).collect();
        assert_eq!(near, [24, 24, 23, 22, 21, 20, 19, 18, 17, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8]);
        let far = [11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 127, 128, 5000];
        assert_eq!(far.map(bucket), [8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 15, 15]);
        assert_eq!(far.map(|d| bucket(-d)), far.map(|d| 16 + bucket(d)));
        assert_eq!(*buckets(3), [18, 17, 0, 1, 2]);
    }
}
