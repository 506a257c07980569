//! A number and an id in one word, so that comparing words compares numbers first and ids in ties.
//!
//! ```text
//! ordered(v)     = the bits of v, flipped if v < 0, else the sign flipped: u < v ⇔ ordered(u) < ordered(v)
//! rising(v, id)  = ordered(v) · 2³² + id      smaller word = smaller number, then smaller id
//! best(s, id)    = ordered(s) · 2³² + ¬id     larger word  = larger score,  then smaller id
//! ```
//! A total order: selection by these words has one answer, whoever computes it and in whatever order.

/// The bits of `v` as an integer in the order of the numbers. −0 equals 0; NaN lies outside the infinities.
#[inline(always)]
fn ordered(v: f32) -> u32 {
    let bits = (v + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The number whose [`ordered`] bits these are.
#[inline(always)]
fn number(ordered: u32) -> f32 {
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

/// The word that grows with `v`, then with `id`.
#[inline(always)]
pub(crate) fn rising(v: f32, id: u32) -> u64 {
    u64::from(ordered(v)) << 32 | u64::from(id)
}

/// The word that grows with `score`; among equals, the smaller id has the larger word.
#[inline(always)]
pub(crate) fn best(score: f32, id: u32) -> u64 {
    u64::from(ordered(score)) << 32 | u64::from(!id)
}

/// The id and the score of a word made by [`best`].
#[inline(always)]
pub(crate) fn unpack_best(word: u64) -> (u32, f32) {
    (!(word as u32), number((word >> 32) as u32))
}

/// Keeps the `k` largest words, 0 < k < their number, in no order, and gives the smallest of them.
pub(crate) fn select_largest(words: &mut Vec<u64>, k: usize) -> u64 {
    let (_, &mut least, _) = words.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
    words.truncate(k);
    least
}

/// Keeps the `k` largest words, largest first.
pub(crate) fn keep_largest(words: &mut Vec<u64>, k: usize) {
    if 0 < k && k < words.len() {
        select_largest(words, k);
    }
    words.truncate(k);
    words.sort_unstable_by(|a, b| b.cmp(a));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_compare_as_numbers_and_ties_by_id() {
        let rising_numbers = [f32::NEG_INFINITY, -2.5, -1e-30, 0.0, 1e-30, 0.5, 3.0, f32::INFINITY];
        for pair in rising_numbers.windows(2) {
            assert!(
                rising(pair[0], u32::MAX) < rising(pair[1], 0) && best(pair[0], 0) < best(pair[1], u32::MAX)
            );
        }
        assert!(rising(1.0, 3) < rising(1.0, 4) && best(1.0, 3) > best(1.0, 4));
        assert_eq!(rising(-0.0, 7), rising(0.0, 7));
    }

    #[test]
    fn a_word_gives_its_id_and_score_back() {
        for (score, id) in [(-2.5, 0), (0.0, 9), (1e-30, u32::MAX), (7.25, 123)] {
            assert_eq!(unpack_best(best(score, id)), (id, score));
        }
    }

    #[test]
    fn the_largest_words_are_kept_largest_first() {
        let kept = |k| {
            let mut words = vec![5, 9, 1, 7, 3];
            keep_largest(&mut words, k);
            words
        };
        assert_eq!((kept(0), kept(2), kept(9)), (vec![], vec![9, 7], vec![9, 7, 5, 3, 1]));
    }
}
