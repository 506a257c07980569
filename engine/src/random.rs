//! Counter-based random numbers: Philox 4×32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011).
//!
//! ```text
//! one round:  (x0,x1,x2,x3) → (hi(M1·x2)⊕x1⊕k0, lo(M1·x2), hi(M0·x0)⊕x3⊕k1, lo(M0·x0)),  k += (W0,W1)
//! key(Stream) = first two words of philox(key = seed, counter = (step, tag))
//! word i      = philox(key(Stream), counter = i / 4)[i mod 4]
//! ```
//! A number is a function of (seed, step, tag, index) and of nothing else: there is no generator state to save,
//! to replay or to race for, and a dropout mask is drawn again in backward instead of being stored.

use rand_core::{Infallible, TryRng};

pub(crate) const M0: u32 = 0xD251_1F53;
pub(crate) const M1: u32 = 0xCD9E_8D57;
pub(crate) const W0: u32 = 0x9E37_79B9;
pub(crate) const W1: u32 = 0xBB67_AE85;

/// Philox 4×32 with ten rounds: four random words from a 128-bit counter and a 64-bit key.
#[inline(always)]
pub fn philox(mut x: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(M0) * u64::from(x[0]);
        let b = u64::from(M1) * u64::from(x[2]);
        x = [(b >> 32) as u32 ^ x[1] ^ key[0], b as u32, (a >> 32) as u32 ^ x[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
    }
    x
}

/// A place in the space of random numbers: which run, which step, what for.
///
/// Two streams that differ in any field are independent. `tag` names the purpose; each crate keeps its tags in one
/// place, so that adding a use shifts no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step, the epoch, or whatever counts the uses of this tag.
    pub step: u64,
    /// What the numbers are for.
    pub tag: u64,
}

impl Stream {
    /// The stream of `seed` at step 0 for purpose `tag`.
    pub fn new(seed: u64, tag: u64) -> Stream {
        Stream { seed, step: 0, tag }
    }
    /// The same purpose at another step.
    #[must_use]
    pub fn at_step(self, step: u64) -> Stream {
        Stream { step, ..self }
    }
    /// The same step for another purpose.
    #[must_use]
    pub fn with_tag(self, tag: u64) -> Stream {
        Stream { tag, ..self }
    }
    /// The Philox key of this stream. Hoist it out of loops, then call [`philox`] with own counters.
    pub fn key(self) -> [u32; 2] {
        let seed = [self.seed as u32, (self.seed >> 32) as u32];
        let counter = [self.step as u32, (self.step >> 32) as u32, self.tag as u32, (self.tag >> 32) as u32];
        let x = philox(counter, seed);
        [x[0], x[1]]
    }
    /// The `index`-th word.
    pub fn word(self, index: u64) -> u32 {
        let block = index / 4;
        philox([block as u32, (block >> 32) as u32, 0, 0], self.key())[(index % 4) as usize]
    }
    /// The `index`-th uniform number in [0, 1), with 53 random bits. Uses words `2·index` and `2·index + 1`.
    pub fn uniform(self, index: u64) -> f64 {
        let wide = u64::from(self.word(2 * index)) << 32 | u64::from(self.word(2 * index + 1));
        (wide >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
    /// The `index`-th integer in `0..n`. Bias below n/2⁶⁴ (Lemire's multiply-shift without rejection).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(self, index: u64, n: u64) -> u64 {
        assert!(n > 0, "Stream::below: the range is empty");
        let wide = u64::from(self.word(2 * index)) << 32 | u64::from(self.word(2 * index + 1));
        ((u128::from(wide) * u128::from(n)) >> 64) as u64
    }
    /// Shuffles `items` (Fisher–Yates; the i-th swap uses index i).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64, i as u64 + 1) as usize);
        }
    }
    /// A reader that starts at word 0, for `rand_distr` and whatever else wants a generator. It lives only as long
    /// as the drawing does.
    pub fn reader(self) -> Reader {
        Reader { key: self.key(), next: 0, block: [0; 4] }
    }
}

/// Reads the words of a [`Stream`] in order; implements the generator trait of `rand_core`.
#[derive(Clone, Debug)]
pub struct Reader {
    key: [u32; 2],
    next: u64,
    block: [u32; 4],
}

impl TryRng for Reader {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let (block, lane) = (self.next / 4, (self.next % 4) as usize);
        if lane == 0 {
            self.block = philox([block as u32, (block >> 32) as u32, 0, 0], self.key);
        }
        self.next += 1;
        Ok(self.block[lane])
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(self.try_next_u32()?))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.try_next_u32()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    /// Known answers published with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_gives_the_published_vectors() {
        let pi = ([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]);
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(philox(pi.0, pi.1), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
    }

    #[test]
    fn reader_reads_the_words_of_its_stream() {
        let s = Stream { seed: 7, step: 3, tag: 9 };
        let mut r = s.reader();
        for i in 0..9 {
            assert_eq!(r.next_u32(), s.word(i));
        }
    }

    #[test]
    fn streams_differ_in_every_field() {
        let s = Stream { seed: 1, step: 2, tag: 3 };
        for other in [Stream { seed: 2, ..s }, Stream { step: 3, ..s }, Stream { tag: 4, ..s }] {
            assert_ne!(s.word(0), other.word(0));
        }
    }

    #[test]
    fn uniform_numbers_have_the_moments_of_a_uniform() {
        let s = Stream::new(1, 1);
        let n = 100_000;
        let mean = (0..n).map(|i| s.uniform(i)).sum::<f64>() / n as f64;
        let square = (0..n).map(|i| s.uniform(i).powi(2)).sum::<f64>() / n as f64;
        // Standard errors: 0.0009 and 0.0009; five of them.
        assert!((mean - 0.5).abs() < 0.005 && (square - 1.0 / 3.0).abs() < 0.005, "{mean} {square}");
    }

    #[test]
    fn shuffle_is_a_permutation_and_depends_on_the_step() {
        let order = |step| {
            let mut v: Vec<u32> = (0..50).collect();
            Stream { seed: 1, step, tag: 0 }.shuffle(&mut v);
            v
        };
        let mut sorted = order(0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(order(0), order(1));
    }
}
