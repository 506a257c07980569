//! How hard titles and labels are: what can be said before a model is asked, and how a score is held against what a
//! model found (Hase et al. 2024, "The unreasonable effectiveness of easy training data for hard tasks").
//!
//! ```text
//! words          words of the text                                      (the paper's question length)
//! word_rarity    1/m Σᵢ bits(wᵢ)      words w₁ … w_m of the text, of those of training titles
//! label_rarity   bits(l)              of a title: of that label of its own which training knows best
//! bits(x) = −log₂ (n_x + 1)/(N + 1)   n_x of the N training titles have x
//! ```
//! By each score a third is easy, a third medium, a third hard; equal scores are not parted. The paper's measures by
//! people (grade, experts, steps of reasoning) are not to be had of titles; its measure by a model is in
//! `train/src/hardness.rs`.

use crate::build::Split;
use crate::set::DataSet;
use crate::title::words;
use std::collections::HashMap;

/// The scores of a text; larger is harder, if the score is worth anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hardness {
    /// How many words it has.
    pub words: f64,
    /// How rare they are, in bits; a text without a word is as rare as a word that nobody wrote.
    pub word_rarity: f64,
    /// How rare the label is, in bits; of a title, the least rare of its labels.
    pub label_rarity: f64,
}

impl Hardness {
    /// Names of the scores, in the order of [`Hardness::scores`].
    pub const NAMES: [&str; 3] = ["words", "word-rarity", "label-rarity"];

    /// The three scores.
    pub fn scores(&self) -> [f64; 3] {
        [self.words, self.word_rarity, self.label_rarity]
    }
}

/// In how many training titles each word stands.
struct Words {
    titles: usize,
    with: HashMap<String, u32>,
}

impl Words {
    fn count(titles: impl Iterator<Item = impl AsRef<str>>) -> Words {
        let mut counted = Words { titles: 0, with: HashMap::new() };
        for title in titles {
            counted.titles += 1;
            let lower = title.as_ref().to_lowercase();
            let mut own: Vec<&str> = words(&lower).collect();
            own.sort_unstable();
            own.dedup();
            for word in own {
                match counted.with.get_mut(word) {
                    Some(n) => *n += 1,
                    None => drop(counted.with.insert(word.to_owned(), 1)),
                }
            }
        }
        counted
    }
    /// −log₂ of the share of the titles that have something, one more on either side.
    fn bits(&self, with: u32) -> f64 {
        -((f64::from(with) + 1.0) / (self.titles as f64 + 1.0)).log2()
    }
    fn of(&self, text: &str, label: u32) -> Hardness {
        let lower = text.to_lowercase();
        let bits: Vec<f64> =
            words(&lower).map(|word| self.bits(self.with.get(word).copied().unwrap_or(0))).collect();
        let mean = bits.iter().sum::<f64>() / bits.len() as f64;
        Hardness {
            words: bits.len() as f64,
            word_rarity: if bits.is_empty() { self.bits(0) } else { mean },
            label_rarity: self.bits(label),
        }
    }
}

/// The scores of the queries of a split, and of all labels.
pub fn hardness(data: &DataSet, split: Split) -> (Vec<Hardness>, Vec<Hardness>) {
    let (train, titles, labels) = (data.queries(Split::Train), data.queries(split), data.labels());
    let (words, frequency) = (Words::count((0..train.len()).map(|i| train.text(i))), data.label_frequency());
    let known = |row: usize| data.positives(split, row).iter().map(|&l| frequency[l as usize]).max();
    let of_title = |row: usize| words.of(&titles.text(row), known(row).unwrap_or(0));
    let of_label = |l: usize| words.of(&labels.text(l), frequency[l]);
    ((0..titles.len()).map(of_title).collect(), (0..labels.len()).map(of_label).collect())
}

/// Where a score parts what is easy from what is medium, and that from what is hard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thirds {
    /// The largest score that is easy.
    pub easy: f64,
    /// The largest score that is not hard.
    pub medium: f64,
}

impl Thirds {
    /// Names, in the order of [`Thirds::of`].
    pub const NAMES: [&str; 3] = ["easy", "medium", "hard"];

    /// The thirds of these scores; NaN of none.
    pub fn new(scores: impl Iterator<Item = f64>) -> Thirds {
        let mut sorted: Vec<f64> = scores.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |third: usize| sorted.get((third * sorted.len()).div_ceil(3).saturating_sub(1));
        let [easy, medium] = [1, 2].map(|third| at(third).copied().unwrap_or(f64::NAN));
        Thirds { easy, medium }
    }
    /// 0 for an easy score, 1 for a medium one, 2 for a hard one.
    pub fn of(&self, score: f64) -> usize {
        usize::from(score > self.easy) + usize::from(score > self.medium)
    }
}

/// The chance that something missed has a larger score than something found; equal scores count a half. It is 0.5 for
/// a score that says nothing, and NaN where nothing was missed, or nothing found.
pub fn auc(scored: impl Iterator<Item = (f64, bool)>) -> f64 {
    let mut sorted: Vec<(f64, bool)> = scored.collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won) = (0.0, 0.0);
    for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
        let found = equal.iter().filter(|(_, found)| *found).count() as f64;
        let missed = equal.len() as f64 - found;
        won += missed * (below + found / 2.0);
        below += found;
    }
    won / (below * (sorted.len() as f64 - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: `red` stands in 3 of 7 titles, so in 4 of 8 with one more: 1 bit; `fox` in 1: 2 bits; nothing in 0: 3.
    #[test]
    fn scores_of_hand_made_texts() {
        let titles = ["red fox", "Red, red wine", "a RED door", "b", "c", "d", "e"];
        let words = Words::count(titles.iter());
        let scores = |text: &str, label| words.of(text, label).scores();
        assert_eq!(scores("Red fox!", 3), [2.0, 1.5, 1.0]);
        assert_eq!(scores("red red fox unicorn", 7), [4.0, 7.0 / 4.0, 0.0]);
        assert_eq!(scores(" … ", 0), [0.0, 3.0, 3.0]);
    }

    #[test]
    fn equal_scores_are_in_the_same_third() {
        let thirds = |scores: &[f64]| Thirds::new(scores.iter().copied());
        let nine = thirds(&[9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]);
        assert_eq!(nine, Thirds { easy: 3.0, medium: 6.0 });
        assert_eq!([3.0, 3.5, 6.0, 6.5].map(|score| nine.of(score)), [0, 1, 1, 2]);
        assert_eq!(thirds(&[1.0, 2.0, 3.0, 4.0]), Thirds { easy: 2.0, medium: 3.0 });
        let tied = thirds(&[1.0, 1.0, 1.0, 1.0, 2.0]);
        assert_eq!([1.0, 2.0].map(|score| tied.of(score)), [0, 2]);
        assert!(thirds(&[]).easy.is_nan());
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let of = |missed: &[f64], found: &[f64]| {
            auc(missed.iter().map(|&s| (s, false)).chain(found.iter().map(|&s| (s, true))))
        };
        // 3 is above both that were found, 2 above one and equal to the other, 0 above none.
        assert_eq!(of(&[3.0, 2.0, 0.0], &[1.0, 2.0]), 3.5 / 6.0);
        assert_eq!((of(&[2.0], &[1.0]), of(&[1.0], &[2.0])), (1.0, 0.0));
        assert!(of(&[], &[1.0]).is_nan());
    }
}
