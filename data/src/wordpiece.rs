//! A vocabulary of word pieces learnt from text, the same one whatever the order of the texts and in every
//! process.
//!
//! ```text
//! words    normalise, split at space and punctuation, count      newest ×6  widest ×3  low ×5  lower ×2
//! start    each word is its characters, all but the first with ##    n ##e ##w ##e ##s ##t
//! repeat   (a, b) = the pair of neighbours that occurs most often;   (##e, ##s) ×9, ties: bytes of a, b
//!          its occurrences become one piece, which joins the list    n ##e ##w ##es ##t
//! ```
//! Word pieces are due to Schuster and Nakajima ("Japanese and Korean voice search", ICASSP 2012), who choose
//! the merge that most raises the likelihood of a language model of the pieces. Here the merge is the most
//! **frequent** pair, as in byte-pair encoding (Sennrich, Haddow, Birch, "Neural machine translation of rare
//! words with subword units", ACL 2016), with `##` before continuing pieces: the form in which present tools
//! train BERT vocabularies.
//!
//! Every count is an integer and every tie is decided, so nothing depends on the order of texts, of threads
//! or of a hash map. Only distinct words and their counts are held, never the texts.

mod merge;

use crate::tokenizer::{BertText, SPECIAL, Tokenizer};
use engine::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

/// Words of more characters are `[UNK]` to the tokenizer, so nothing is learnt from them.
const WORD_CHARS_MAX: usize = 100;

/// What vocabulary to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The number of pieces wanted, special tokens and single characters included. Fewer come back where the
    /// texts offer no more pairs.
    pub vocab_size: usize,
    /// The most characters the vocabulary spells with; the rarest beyond (ties: the higher code point) are
    /// left out, and words that contain them are `[UNK]`. They are left out of the counts too.
    pub alphabet: usize,
    /// A pair that occurs less often is not merged.
    pub min_count: u64,
    /// How text is normalised, in training as later.
    pub text: BertText,
}

impl Options {
    /// `vocab_size` pieces from at most 1000 characters, lower-cased, merging what occurs at least twice.
    pub fn new(vocab_size: usize) -> Options {
        Options { vocab_size, alphabet: 1000, min_count: 2, text: BertText::default() }
    }
}

/// Learns the vocabulary of `texts`.
///
/// # Errors
/// As [`Trainer::add`] and [`Trainer::finish`].
pub fn train<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, options: Options) -> Result<Tokenizer> {
    let mut trainer = Trainer::new(options);
    for text in texts {
        trainer.add(text.as_ref())?;
    }
    trainer.finish()
}

/// Counts words as texts stream by, then learns the vocabulary.
#[derive(Clone, Debug)]
pub struct Trainer {
    options: Options,
    normalizer: BertNormalizer,
    counts: HashMap<String, u64>,
}

impl Trainer {
    /// A trainer that has seen no text.
    pub fn new(options: Options) -> Trainer {
        let text = options.text;
        let normalizer = BertNormalizer::new(true, text.split_chinese, text.strip_accents, text.lowercase);
        Trainer { options, normalizer, counts: HashMap::new() }
    }

    /// Counts the words of one text.
    ///
    /// # Errors
    /// `Input` when the library cannot normalise the text.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let unreadable =
            |e: tokenizers::Error| Error::input("a text cannot be split into words").caused_by(e);
        let mut normal = NormalizedString::from(text);
        self.normalizer.normalize(&mut normal).map_err(unreadable)?;
        let mut words = PreTokenizedString::from(normal);
        BertPreTokenizer.pre_tokenize(&mut words).map_err(unreadable)?;
        for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            if let Some(count) = self.counts.get_mut(word) {
                *count += 1;
            } else if word.chars().count() <= WORD_CHARS_MAX {
                self.counts.insert(word.to_owned(), 1);
            }
        }
        Ok(())
    }

    /// Adds the counts of a trainer that saw other texts, so that several threads can count.
    pub fn absorb(&mut self, other: Trainer) {
        for (word, count) in other.counts {
            *self.counts.entry(word).or_insert(0) += count;
        }
    }

    /// The number of distinct words counted so far.
    pub fn words(&self) -> usize {
        self.counts.len()
    }

    /// Learns the vocabulary: `[PAD] [UNK] [CLS] [SEP] [MASK]`, the characters by code point, those that were
    /// seen inside words once more with `##`, then the merged pieces in the order in which they were found.
    ///
    /// # Errors
    /// `Input` when there was no word, or when `vocab_size` has no room for the characters.
    pub fn finish(self) -> Result<Tokenizer> {
        let options = self.options;
        let mut words: Vec<(String, u64)> = self.counts.into_iter().collect();
        words.sort_unstable();
        if words.is_empty() {
            return Err(Error::input("no words to learn a vocabulary from").help("are the texts empty?"));
        }
        let alphabet = alphabet(&words, options.alphabet);
        words.retain(|(word, _)| word.chars().all(|c| alphabet.binary_search(&c).is_ok()));
        let mut pieces: Vec<String> = SPECIAL.iter().map(|&s| s.to_owned()).collect();
        pieces.extend(alphabet.iter().map(char::to_string));
        pieces.extend(inner_characters(&words).iter().map(|c| format!("##{c}")));
        if pieces.len() > options.vocab_size {
            let why = format!("a vocabulary of {} cannot spell these texts", options.vocab_size);
            let help =
                format!("ask for more than {}: so many are special tokens and characters", pieces.len());
            return Err(Error::input(why).help(help));
        }
        merge::extend(&mut pieces, &words, options.vocab_size, options.min_count);
        Tokenizer::from_pieces(&pieces, options.text)
    }
}

/// The `most` most frequent characters, in the order of their code points.
fn alphabet(words: &[(String, u64)], most: usize) -> Vec<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_insert(0) += count;
        }
    }
    let mut ranked: Vec<(char, u64)> = counts.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.truncate(most);
    let mut alphabet: Vec<char> = ranked.into_iter().map(|(c, _)| c).collect();
    alphabet.sort_unstable();
    alphabet
}

/// The characters that stand somewhere behind the first of a word, in the order of their code points.
fn inner_characters(words: &[(String, u64)]) -> Vec<char> {
    let mut inner: Vec<char> = words.iter().flat_map(|(word, _)| word.chars().skip(1)).collect();
    inner.sort_unstable();
    inner.dedup();
    inner
}

#[cfg(test)]
mod tests;
