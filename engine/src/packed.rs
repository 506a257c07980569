//! Text is packed, never padded: all tokens of a batch one after another, and where each text starts.
//!
//! ```text
//! tokens  [T]      101 2023 102 | 101 4937 7719 102 | 101 102
//! starts  [B + 1]  0              3                    7        9
//! ```

use crate::cuda::Cuda;
use crate::tensor::Tensor;
use std::sync::OnceLock;

/// The token ids of several texts, packed. `starts[i]..starts[i + 1]` are the tokens of text `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Token ids of all texts, `[T]`.
    pub tokens: Vec<u32>,
    /// Where each text starts, and the end: `[B + 1]`, first 0, last T, never falling.
    pub starts: Vec<u32>,
}

impl Default for Packed {
    fn default() -> Packed {
        Packed { tokens: Vec::new(), starts: vec![0] }
    }
}

impl Packed {
    /// Appends one text.
    pub fn push(&mut self, tokens: impl IntoIterator<Item = u32>) {
        self.tokens.extend(tokens);
        self.starts.push(self.tokens.len() as u32);
    }
    /// The number of texts B.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }
    /// True when it holds no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The tokens of text `i`.
    pub fn text(&self, i: usize) -> &[u32] {
        &self.tokens[self.starts[i] as usize..self.starts[i + 1] as usize]
    }
    /// A copy of texts `range`.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Packed {
        let first = self.starts[range.start];
        Packed {
            tokens: self.tokens[first as usize..self.starts[range.end] as usize].to_vec(),
            starts: self.starts[range.start..=range.end].iter().map(|s| s - first).collect(),
        }
    }
    /// The length of the longest text.
    pub fn longest(&self) -> usize {
        self.starts.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0)
    }
    /// Forgets the texts and keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.starts.truncate(1);
    }
}

/// For every packed token: which text of the batch it belongs to (its slot) and where it stands in that text. The
/// counter of a dropout mask is made of these, so that a text gets the same mask however the batch is cut.
#[derive(Clone, Debug, Default)]
pub struct Places {
    slots: Vec<u32>,
    positions: Vec<u32>,
    /// Both on a device: sent once, for all masks of a step.
    on_device: OnceLock<[Tensor; 2]>,
}

impl Places {
    /// The places of packed tokens whose first text has slot `first_slot`.
    pub fn new(starts: &[u32], first_slot: u32) -> Places {
        let mut places = Places::default();
        for (i, w) in starts.windows(2).enumerate() {
            places.slots.extend((w[0]..w[1]).map(|_| first_slot + i as u32));
            places.positions.extend(0..w[1] - w[0]);
        }
        places
    }
    /// The places of one row a text: pooled vectors.
    pub fn rows(count: usize, first_slot: u32) -> Places {
        let slots = (0..count as u32).map(|i| first_slot + i).collect();
        Places { slots, positions: vec![0; count], on_device: OnceLock::new() }
    }
    /// The slot of the text, `[T]`.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }
    /// The position inside the text, `[T]`.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }
    /// Slots and positions on the device.
    #[track_caller]
    pub(crate) fn on(&self, cuda: &Cuda) -> [Tensor; 2] {
        let send = || [&self.slots, &self.positions].map(|list| cuda.words_of(list));
        self.on_device.get_or_init(send).each_ref().map(|list| cuda.here(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_text_comes_back() {
        let mut p = Packed::default();
        p.push([1, 2, 3]);
        p.push([]);
        p.push([4]);
        assert_eq!((p.len(), p.text(0), p.text(1), p.text(2)), (3, &[1, 2, 3][..], &[][..], &[4][..]));
        assert_eq!((p.longest(), &p.starts[..]), (3, &[0, 3, 3, 4][..]));
        let tail = p.slice(1..3);
        assert_eq!((tail.len(), tail.text(0), tail.text(1)), (2, &[][..], &[4][..]));
    }

    #[test]
    fn places_continue_from_the_first_slot() {
        let p = Places::new(&[0, 2, 2, 3], 5);
        assert_eq!((p.slots(), p.positions()), (&[5, 5, 7][..], &[0, 1, 0][..]));
    }
}
