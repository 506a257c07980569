//! The merges: the most frequent pair again and again, with counts kept up to date instead of counted anew.
//!
//! ```text
//! count(a, b) = Σ_words count(word) · #{i : word[i] = a, word[i+1] = b}
//! ```
//! A queue holds a bid (count, pair) for each pair. A bid may be out of date: counts fall when a neighbour is
//! merged away. So the highest bid is checked against the count; if it was too high it returns with the true
//! count. Counts rise only for pairs that a merge has just made, and these place a new bid at once.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;

type Pair = (u32, u32);

/// A pair and how often it was seen when it was queued. Greater is merged earlier.
#[derive(PartialEq, Eq)]
struct Bid {
    count: u64,
    left: Rc<str>,
    right: Rc<str>,
    pair: Pair,
}

impl Ord for Bid {
    fn cmp(&self, other: &Bid) -> Ordering {
        let by_bytes = || (&*other.left, &*other.right).cmp(&(&*self.left, &*self.right));
        self.count.cmp(&other.count).then_with(by_bytes)
    }
}

impl PartialOrd for Bid {
    fn partial_cmp(&self, other: &Bid) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Word {
    pieces: Vec<u32>,
    count: u64,
}

struct Pairs {
    count: u64,
    /// The words that have, or had, the pair; some stand here twice.
    words: Vec<u32>,
}

/// All words as pieces, all pairs with their counts.
struct State {
    pieces: Vec<Rc<str>>,
    ids: HashMap<Rc<str>, u32>,
    words: Vec<Word>,
    pairs: HashMap<Pair, Pairs>,
    queue: BinaryHeap<Bid>,
    min_count: u64,
}

/// Appends merged pieces to `pieces` until it has `size`, or no pair occurs `min_count` times.
///
/// `pieces` must spell every word: each first character as itself, each later one with `##`.
pub(super) fn extend(pieces: &mut Vec<String>, words: &[(String, u64)], size: usize, min_count: u64) {
    let mut state = State::new(pieces, words, min_count.max(1));
    while state.pieces.len() < size
        && let Some(pair) = state.pop()
    {
        state.merge(pair);
    }
    let found = state.pieces.len();
    pieces.extend(state.pieces[pieces.len()..found].iter().map(|p| p.to_string()));
}

impl State {
    fn new(pieces: &[String], words: &[(String, u64)], min_count: u64) -> State {
        let pieces: Vec<Rc<str>> = pieces.iter().map(|p| Rc::from(p.as_str())).collect();
        let ids: HashMap<Rc<str>, u32> = pieces.iter().cloned().zip(0..).collect();
        let spell = |word: &str| {
            let name = |(i, c): (usize, char)| if i == 0 { c.to_string() } else { format!("##{c}") };
            word.chars().enumerate().map(|character| ids[name(character).as_str()]).collect()
        };
        let words: Vec<Word> =
            words.iter().map(|(word, count)| Word { pieces: spell(word), count: *count }).collect();
        let (pairs, queue) = (HashMap::new(), BinaryHeap::new());
        let mut state = State { pieces, ids, words, pairs, queue, min_count };
        let mut changes = Vec::new();
        for (index, word) in state.words.iter().enumerate() {
            changes.extend(word.pieces.windows(2).map(|p| ((p[0], p[1]), index as u32, word.count as i64)));
        }
        state.apply(changes);
        state
    }

    /// The pair with the most occurrences now; ties go to the smaller bytes.
    fn pop(&mut self) -> Option<Pair> {
        while let Some(mut bid) = self.queue.pop() {
            let now = self.pairs.get(&bid.pair).map_or(0, |p| p.count);
            if now == bid.count {
                return Some(bid.pair);
            }
            // A bid below the count is an old one: a newer, higher one stood before it in the queue.
            if now < bid.count && now >= self.min_count {
                bid.count = now;
                self.queue.push(bid);
            }
        }
        None
    }

    /// Replaces the pair by one piece in every word. The piece may exist already, made of other parts.
    fn merge(&mut self, pair: Pair) {
        let (left, right) = (&self.pieces[pair.0 as usize], &self.pieces[pair.1 as usize]);
        let text: Rc<str> = format!("{left}{}", &right[2..]).into();
        let next = self.pieces.len() as u32;
        let id = *self.ids.entry(Rc::clone(&text)).or_insert(next);
        if id == next {
            self.pieces.push(text);
        }
        let mut homes = self.pairs.remove(&pair).map_or_else(Vec::new, |p| p.words);
        homes.sort_unstable();
        homes.dedup();
        let mut changes = Vec::new();
        for home in homes {
            let word = &mut self.words[home as usize];
            let merged = replace(&word.pieces, pair, id);
            note_changes(&word.pieces, &merged, home, word.count as i64, &mut changes);
            word.pieces = merged;
        }
        changes.retain(|change| change.0 != pair);
        self.apply(changes);
    }

    /// Adds up the changes (pair, word, count) and queues the pairs that occur more often than before.
    fn apply(&mut self, mut changes: Vec<(Pair, u32, i64)>) {
        changes.sort_unstable();
        for group in changes.chunk_by(|a, b| a.0 == b.0) {
            let pair = group[0].0;
            let sum: i64 = group.iter().map(|change| change.2).sum();
            let entry = self.pairs.entry(pair).or_insert(Pairs { count: 0, words: Vec::new() });
            entry.words.extend(group.iter().filter(|change| change.2 > 0).map(|change| change.1));
            entry.count =
                entry.count.checked_add_signed(sum).expect("a pair is never lost more often than seen");
            if sum > 0 && entry.count >= self.min_count {
                let [left, right] = [pair.0, pair.1].map(|id| Rc::clone(&self.pieces[id as usize]));
                self.queue.push(Bid { count: entry.count, left, right, pair });
            }
        }
    }
}

/// `pieces` with each occurrence of `pair`, from the left, replaced by `id`.
fn replace(pieces: &[u32], pair: Pair, id: u32) -> Vec<u32> {
    let mut merged = Vec::with_capacity(pieces.len());
    let mut i = 0;
    while i < pieces.len() {
        let found = i + 1 < pieces.len() && (pieces[i], pieces[i + 1]) == pair;
        merged.push(if found { id } else { pieces[i] });
        i += if found { 2 } else { 1 };
    }
    merged
}

/// Which pairs a word lost and won, by comparing only what lies between its unchanged ends.
fn note_changes(old: &[u32], new: &[u32], home: u32, count: i64, changes: &mut Vec<(Pair, u32, i64)>) {
    let same = |(a, b): &(&u32, &u32)| a == b;
    let head = old.iter().zip(new).take_while(same).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
    let start = head.saturating_sub(1);
    for (pieces, sign) in [(old, -1), (new, 1)] {
        let end = (pieces.len() - tail + 1).min(pieces.len());
        changes.extend(pieces[start..end].windows(2).map(|p| ((p[0], p[1]), home, sign * count)));
    }
}
