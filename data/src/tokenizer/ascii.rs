//! Plain English text, many times faster: what BERT's normaliser, splitter and WordPiece do to ASCII, in one walk.
//!
//! ```text
//! byte   control, but not \t \n \r → nothing       white space → ends the word       punctuation → a word of its own
//!        any other → lower case, if the tokenizer wants it, and joins the word
//! word   longest piece of the vocabulary that it begins with, then the longest ##piece …; none fits → [UNK]
//! ```
//! The library carries every character's place in the text through every stage, since it can tell where a token came
//! from; ids alone need none of that. For ASCII its other stages do nothing: there are no accents, ideographs or
//! composed forms. A text with any other byte, or with one that an added token begins with, is left to the library, and
//! so is every text if the tokenizer is not exactly of this kind.
//!
//! What bounds it is looking up pieces: one hash for a word that is a piece, one for each length tried where it is not.

use std::collections::HashMap;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{Model, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// What a byte is to the tokenizer.
#[derive(Clone, Copy)]
enum Byte {
    /// A part of a word, in the case that the vocabulary has.
    Letter(u8),
    /// Ends a word.
    Space,
    /// A word of its own.
    Mark,
    /// As if it were not there.
    Dropped,
    /// The text is for the library.
    Foreign,
}

/// The pieces of a BERT vocabulary, by their bytes.
#[derive(Clone)]
pub(super) struct Ascii {
    bytes: [Byte; 256],
    /// Pieces that begin a word, and pieces that go on with one (without their prefix).
    pieces: [HashMap<Box<[u8]>, u32>; 2],
    /// Bytes of the longest of each.
    longest: [usize; 2],
    unknown: u32,
    /// Longer words are unknown.
    word_max: usize,
}

impl Ascii {
    /// `None` when the tokenizer is not of this kind. `tokens` has the token of each id.
    pub(super) fn of(inner: &tokenizers::Tokenizer, tokens: &[String]) -> Option<Ascii> {
        let (
            Some(NormalizerWrapper::BertNormalizer(BertNormalizer { clean_text: true, lowercase, .. })),
            Some(PreTokenizerWrapper::BertPreTokenizer(_)),
            ModelWrapper::WordPiece(model),
        ) = (inner.get_normalizer(), inner.get_pre_tokenizer(), inner.get_model())
        else {
            return None;
        };
        let mut bytes = classes(*lowercase);
        for added in inner.get_added_tokens_decoder().values() {
            // It may be looked for before or after the normaliser, which can change how it begins in no way but case.
            let first = added.content.bytes().next().filter(u8::is_ascii_graphic)?;
            bytes[usize::from(first.to_ascii_lowercase())] = Byte::Foreign;
            bytes[usize::from(first.to_ascii_uppercase())] = Byte::Foreign;
        }
        let prefix = &*model.continuing_subword_prefix;
        let mut pieces: [HashMap<Box<[u8]>, u32>; 2] = Default::default();
        for token in tokens {
            // An added token need not be a piece.
            let Some(id) = model.token_to_id(token) else { continue };
            for (pieces, piece) in pieces.iter_mut().zip([Some(&**token), token.strip_prefix(prefix)]) {
                if let Some(piece) = piece.filter(|p| p.is_ascii()) {
                    pieces.insert(piece.as_bytes().into(), id);
                }
            }
        }
        Some(Ascii {
            bytes,
            longest: pieces.each_ref().map(|p| p.keys().map(|k| k.len()).max().unwrap_or(0)),
            pieces,
            unknown: model.token_to_id(&model.unk_token)?,
            word_max: model.max_input_chars_per_word,
        })
    }

    /// The ids of `text` without special tokens, unless it is for the library.
    pub(super) fn encode(&self, text: &str) -> Option<Vec<u32>> {
        let (mut ids, mut word) = (Vec::with_capacity(text.len() / 4), Vec::new());
        for byte in text.bytes() {
            match self.bytes[usize::from(byte)] {
                Byte::Letter(letter) => word.push(letter),
                Byte::Space => self.spell(&mut word, &mut ids),
                Byte::Mark => {
                    self.spell(&mut word, &mut ids);
                    word.push(byte);
                    self.spell(&mut word, &mut ids);
                }
                Byte::Dropped => {}
                Byte::Foreign => return None,
            }
        }
        self.spell(&mut word, &mut ids);
        Some(ids)
    }

    /// Appends the pieces of the word, which may be empty, and empties it.
    fn spell(&self, word: &mut Vec<u8>, ids: &mut Vec<u32>) {
        let (before, mut start) = (ids.len(), 0);
        while let Some((id, length)) = self.longest_piece(&word[start..], start > 0) {
            ids.push(id);
            start += length;
        }
        if start < word.len() || word.len() > self.word_max {
            ids.truncate(before);
            ids.push(self.unknown);
        }
        word.clear();
    }

    /// The longest piece that `rest` begins with, and its length.
    fn longest_piece(&self, rest: &[u8], inside_word: bool) -> Option<(u32, usize)> {
        let which = usize::from(inside_word);
        let mut lengths = (1..=rest.len().min(self.longest[which])).rev();
        lengths.find_map(|n| Some((*self.pieces[which].get(&rest[..n])?, n)))
    }
}

/// What each byte is, where nothing but the normaliser and the splitter has a say.
fn classes(lowercase: bool) -> [Byte; 256] {
    std::array::from_fn(|byte| match byte as u8 {
        b' ' | b'\t' | b'\n' | b'\r' => Byte::Space,
        byte if byte.is_ascii_control() => Byte::Dropped,
        byte if byte.is_ascii_punctuation() => Byte::Mark,
        byte if byte.is_ascii() => Byte::Letter(if lowercase { byte.to_ascii_lowercase() } else { byte }),
        _ => Byte::Foreign,
    })
}
