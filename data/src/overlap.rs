//! How much of each evaluated text stands in training texts: four scores of contamination by n-grams of words (Singh et
//! al., "Evaluation data contamination in LLMs: how do we measure it and (when) does it matter?", 2024, "ConTAM").
//!
//! ```text
//! words w₁ … w_m of an evaluated text; an n-gram matches that stands in any training text at least once
//! token_match     share of the words inside a matched n-gram                              (of their union)
//! ngram_match     share of the n-grams that match
//! token_extend    as token_match, where gaps of at most `skip` words between two matches count as well
//! longest_match   length of the longest run of words whose n-grams all match / m
//! ```
//! A text shorter than n words is one n-gram of its own length. The paper advises longest_match with n = 8 and one
//! occurrence: larger n, or leaving rare matches out, overlooks contamination. Its tokens are those of a language
//! model; words are taken here, so that the answer depends on no vocabulary and on no maximum length.
//!
//! What is kept in memory are the n-grams of the evaluated texts, not those of training: training texts stream past.

use crate::Texts;
use crate::title::words;
use engine::container::{checksum, checksum_of};
use std::collections::HashMap;

/// How contaminated a text is: shares from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contamination {
    /// Words inside a matched n-gram.
    pub token_match: f64,
    /// n-grams that match.
    pub ngram_match: f64,
    /// Words inside matched n-grams and in short gaps between them.
    pub token_extend: f64,
    /// The longest run.
    pub longest_match: f64,
}

impl Contamination {
    /// Names of the scores, in the order of [`Contamination::scores`].
    pub const NAMES: [&str; 4] = ["token-match", "ngram-match", "token-extend", "longest-match"];

    /// The four scores.
    pub fn scores(&self) -> [f64; 4] {
        [self.token_match, self.ngram_match, self.token_extend, self.longest_match]
    }
}

/// What counts as a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grams {
    /// Words of an n-gram.
    pub n: usize,
    /// Words between two matches that token_extend passes over.
    pub skip: usize,
}

impl Default for Grams {
    fn default() -> Grams {
        Grams { n: 8, skip: 4 }
    }
}

/// The contamination of each of `evaluated` by `training`. A text without a word has none.
///
/// # Panics
/// If n is 0.
pub fn contamination(evaluated: Texts<'_>, training: Texts<'_>, grams: Grams) -> Vec<Contamination> {
    let evaluated = (0..evaluated.len()).map(|i| evaluated.text(i));
    of_texts(evaluated, (0..training.len()).map(|i| training.text(i)), grams)
}

/// [`contamination`] of texts wherever they are.
///
/// # Panics
/// If n is 0.
pub fn of_texts(
    evaluated: impl Iterator<Item = impl AsRef<str>>,
    training: impl Iterator<Item = impl AsRef<str>>,
    grams: Grams,
) -> Vec<Contamination> {
    assert!(grams.n > 0, "an n-gram has words");
    let hashed: Vec<Vec<u64>> = evaluated.map(|text| hashes(text.as_ref())).collect();
    // Short texts have n-grams of their own length: training is looked through once for each length there is.
    let mut found: HashMap<u64, bool> = HashMap::new();
    let mut lengths: Vec<usize> = vec![];
    for text in hashed.iter().filter(|text| !text.is_empty()) {
        let n = grams.n.min(text.len());
        lengths.push(n);
        found.extend(text.windows(n).map(|gram| (checksum_of(gram), false)));
    }
    lengths.sort_unstable();
    lengths.dedup();
    for text in training {
        let text = hashes(text.as_ref());
        for &n in lengths.iter().filter(|&&n| n <= text.len()) {
            for gram in text.windows(n) {
                if let Some(seen) = found.get_mut(&checksum_of(gram)) {
                    *seen = true;
                }
            }
        }
    }
    hashed.iter().map(|text| score(text, grams, |gram| found[&checksum_of(gram)])).collect()
}

/// A number for each word of a text. Numbers of 64 bits stand for words and n-grams: of ten million, two meet by chance
/// once in a hundred thousand data sets.
fn hashes(text: &str) -> Vec<u64> {
    words(&text.to_lowercase()).map(|word| checksum(word.as_bytes())).collect()
}

fn score(text: &[u64], grams: Grams, matches: impl Fn(&[u64]) -> bool) -> Contamination {
    if text.is_empty() {
        return Contamination::default();
    }
    let n = grams.n.min(text.len());
    let matched: Vec<bool> = text.windows(n).map(matches).collect();
    let mut inside = vec![false; text.len()];
    let (mut longest, mut run) = (0, 0);
    for (at, &hit) in matched.iter().enumerate() {
        run = if hit { run + 1 } else { 0 };
        if hit {
            inside[at..at + n].fill(true);
            longest = longest.max(run + n - 1);
        }
    }
    let mut extended = inside.clone();
    let mut last = None;
    for (at, _) in inside.iter().enumerate().filter(|(_, is_in)| **is_in) {
        if let Some(before) = last
            && at - before - 1 <= grams.skip
        {
            extended[before..at].fill(true);
        }
        last = Some(at);
    }
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    let count = |all: &[bool]| all.iter().filter(|&&one| one).count();
    Contamination {
        token_match: share(count(&inside), text.len()),
        ngram_match: share(count(&matched), matched.len()),
        token_extend: share(count(&extended), text.len()),
        longest_match: share(longest, text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Stream;

    fn of(evaluated: &str, training: &[&str], n: usize, skip: usize) -> [f64; 4] {
        of_texts([evaluated].iter(), training.iter(), Grams { n, skip })[0].scores()
    }

    #[test]
    fn scores_of_hand_made_texts() {
        let train = ["a b c d x", "E f, G!"];
        // n-grams of two: ab bc cd de ef fg; all match but de.
        assert_eq!(of("a b c d e f g", &train, 2, 0), [1.0, 5.0 / 6.0, 1.0, 4.0 / 7.0]);
        // Of three: abc bcd cde def efg; e f g stands there as well, so no word is outside.
        assert_eq!(of("a b c d e f g", &train, 3, 0), [1.0, 3.0 / 5.0, 1.0, 4.0 / 7.0]);
        // One word that nobody wrote between two matches.
        assert_eq!(of("a b c q e f g", &train, 3, 0), [6.0 / 7.0, 2.0 / 5.0, 6.0 / 7.0, 3.0 / 7.0]);
        assert_eq!(of("a b c q e f g", &train, 3, 1), [6.0 / 7.0, 2.0 / 5.0, 1.0, 3.0 / 7.0]);
        // A text shorter than n is one n-gram: whole, or not at all.
        assert_eq!(of("F g", &train, 8, 0), [1.0; 4]);
        assert_eq!(of("g f", &train, 8, 0), [0.0; 4]);
        assert_eq!(of(" … ", &train, 8, 0), [0.0; 4]);
    }

    /// The share of pairs, one of each side, in which the first has the larger score: ties count a half.
    fn auc(one: &[f64], other: &[f64]) -> f64 {
        let win = |a: &f64, b: &f64| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let pairs = (one.len() * other.len()) as f64;
        one.iter().flat_map(|a| other.iter().map(move |b| win(a, b))).sum::<f64>() / pairs
    }

    /// Of 2,000 texts of forty words 15 % stand in training verbatim, 15 % with one span of eight to twelve words, and
    /// 10 % share a phrase of ten words that many training texts have.
    #[test]
    fn what_was_copied_is_told_from_what_shares_a_phrase() {
        let stream = Stream::new(5, 0);
        let mut drawn = 0;
        let mut draw = |n: u64| {
            drawn += 1;
            stream.below(drawn, n)
        };
        let mut text =
            |words: u64| -> Vec<String> { (0..words).map(|_| format!("w{}", draw(3000))).collect() };
        let phrase = text(10);
        let mut evaluated: Vec<Vec<String>> = (0..2000).map(|_| text(40)).collect();
        evaluated[600..800].iter_mut().for_each(|e| e[5..15].clone_from_slice(&phrase));
        let mut training: Vec<Vec<String>> = (0..3000).map(|_| text(40)).collect();
        for i in 0..300 {
            training[i] = evaluated[i].clone();
            let length = 8 + i % 5;
            training[300 + i][20..20 + length].clone_from_slice(&evaluated[300 + i][7..7 + length]);
        }
        training[1000..1100].iter_mut().for_each(|t| t[0..10].clone_from_slice(&phrase));
        let join = |texts: &[Vec<String>]| texts.iter().map(|words| words.join(" ")).collect::<Vec<_>>();
        let (evaluated, training) = (join(&evaluated), join(&training));
        let scores = |n| of_texts(evaluated.iter(), training.iter(), Grams { n, skip: 4 });
        let of = |all: &[Contamination], range: std::ops::Range<usize>| -> Vec<f64> {
            all[range].iter().map(|c| c.longest_match).collect()
        };
        let eight = scores(8);
        let clean = of(&eight, 800..2000);
        assert!(clean.iter().all(|&score| score == 0.0));
        assert_eq!(auc(&of(&eight, 0..300), &of(&eight, 600..800)), 1.0, "verbatim against a shared phrase");
        assert_eq!(auc(&of(&eight, 300..600), &clean), 1.0, "a span of eight words is found");
        let thirteen = scores(13);
        assert!(auc(&of(&thirteen, 300..600), &clean) < 0.55, "thirteen words overlook it");
    }
}
