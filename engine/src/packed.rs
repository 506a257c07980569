//! Text is packed, never padded: all tokens of a batch one after another, and where each text starts.
//!
//! ```text
//! tokens  [T]      101 2023 102 | 101 4937 7719 102 | 101 102
//! starts  [B + 1]  0              3                    7        9
//! ```

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
    }
}
