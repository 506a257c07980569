//! Text to token ids and back: any `tokenizer.json`, or a BERT `vocab.txt`, with our own length and no
//! padding.
//!
//! ```text
//! "Naïve cats"  →  normalise   "naive cats"
//!               →  split       naive | cats
//!               →  pieces      naive | cat ##s
//!               →  cut         to max_len − (special tokens)
//!               →  frame       [CLS] naive cat ##s [SEP]
//! ```
//! What the file says about truncation and padding is removed: text is packed here, never padded, and the
//! length is the data set's. The library works on one text at a time and starts no threads; many texts are cut
//! into blocks for those of an engine. ASCII in BERT's manner takes a shorter way (`ascii.rs`), and the frame,
//! which is the same for every text, is put around it here.

mod ascii;
mod file;
mod guard;
mod vocabulary;

use ascii::Ascii;
use engine::{Engine, Error, Packed, Result};
use guard::guarded;
use std::fmt;
use std::path::Path;
use tokenizers::{Encoding, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

pub use vocabulary::BertText;
pub(crate) use vocabulary::SPECIAL;

/// The largest `tokenizer.json` or `vocab.txt` that is read, in bytes.
pub const BYTES_MAX: u64 = 64 << 20;

/// Bytes of text looked at first per token asked for, where a prefix decides (see [`Tokenizer::encode`]).
const BYTES_PER_TOKEN: usize = 24;

/// Some of everything that a text may hold.
const PROBE: &str = "Naïve cats, 1 日 \u{e9}-\n";

/// Texts that one thread takes at a time.
const BLOCK: usize = 128;

/// The ids of the tokens with a meaning of their own, where the vocabulary has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialIds {
    /// Opens a text: `[CLS]` or `<s>`.
    pub cls: Option<u32>,
    /// Closes a text: `[SEP]` or `</s>`.
    pub sep: Option<u32>,
    /// Padding, never produced here: `[PAD]` or `<pad>`.
    pub pad: Option<u32>,
    /// Stands for what the vocabulary cannot spell: `[UNK]` or `<unk>`.
    pub unk: Option<u32>,
}

/// A tokenizer with a dense vocabulary `0..vocab_size()`. Shared freely between threads.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The token of each id, `[vocab_size]`.
    tokens: Vec<String>,
    special: SpecialIds,
    /// The special tokens before a text and after it.
    frame: [Vec<u32>; 2],
    /// The shorter way, if the tokenizer has one.
    ascii: Option<Ascii>,
    /// True when the tokens of `a + " " + b` are those of `a` followed by those of `b`.
    local: bool,
}

impl Tokenizer {
    /// Reads the tokenizer of a model directory: `tokenizer.json`, or else `vocab.txt`, for which
    /// `tokenizer_config.json` may say `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.
    ///
    /// # Errors
    /// `Input` when neither file exists, when one is larger than [`BYTES_MAX`], malformed, or has ids that
    /// are not exactly `0..n`.
    pub fn from_dir(dir: &Path) -> Result<Tokenizer> {
        file::read_dir(dir)
    }

    /// Reads the contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// `Input`, as for [`Tokenizer::from_dir`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Tokenizer> {
        file::parse(bytes, Path::new("tokenizer.json"))
    }

    /// Makes the WordPiece tokenizer whose vocabulary is `pieces` in the order of their ids, as BERT's:
    /// special tokens `[PAD] [UNK] [CLS] [SEP] [MASK]` where present, texts framed as `[CLS] … [SEP]`.
    ///
    /// # Errors
    /// `Input` when a piece is empty or stands twice, or when `[UNK]`, `[CLS]` or `[SEP]` is missing.
    pub fn from_pieces(pieces: &[String], text: BertText) -> Result<Tokenizer> {
        vocabulary::build(pieces, text, None)
    }

    /// Wraps a checked tokenizer of the library.
    fn assemble(mut inner: tokenizers::Tokenizer, tokens: Vec<String>) -> Result<Tokenizer> {
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::input("truncation").caused_by(e))?;
        let frame = frame(&inner)?;
        // With a damaged file the library may panic at a text and at nothing before: better now than after hours.
        guarded(|| inner.encode_fast(PROBE, false))?;
        if let Some(id) = frame.iter().flatten().find(|&&id| id as usize >= tokens.len()) {
            let why =
                format!("the frame of a text uses token {id}, but the vocabulary ends at {}", tokens.len());
            return Err(Error::input(why));
        }
        let (special, ascii, local) =
            (special_ids(&inner), Ascii::of(&inner, &tokens), is_local(&inner, &tokens));
        Ok(Tokenizer { inner, tokens, special, frame, ascii, local })
    }

    /// The contents of a `tokenizer.json` that says the same: the same bytes for the same tokenizer.
    ///
    /// # Errors
    /// `Other` when the library cannot write one of its parts.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let written = guarded(|| self.inner.to_string(false));
        written
            .map(String::into_bytes)
            .map_err(|e| Error::new(engine::Kind::Other, "tokenizer.json").caused_by(e))
    }

    /// The token ids of `text` with its special tokens, at most `max_len` of them. A long text loses its end,
    /// never its closing token.
    ///
    /// A text much longer than `max_len` needs is read only as far as needed, where that cannot change the
    /// result: for BERT's normaliser and splitter, which cut at every space whatever stands around it, the
    /// tokens of a prefix that ends before a space are a prefix of the tokens.
    ///
    /// # Errors
    /// `Input` when `max_len` has no room for the special tokens, or the model cannot spell the text.
    pub fn encode(&self, text: &str, max_len: usize) -> Result<Vec<u32>> {
        Ok(self.encode_cut(text, max_len)?.0)
    }

    /// The ids with which every text behind this prompt begins, special tokens included. What is white at the end of a
    /// prompt belongs to the text for some tokenizers and has no token for others.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn beginning(&self, prompt: &str) -> Result<Vec<u32>> {
        Ok([&*self.frame[0], &self.pieces(prompt.trim_end())?].concat())
    }

    /// As [`Tokenizer::encode`], and whether the text lost its end.
    fn encode_cut(&self, text: &str, max_len: usize) -> Result<(Vec<u32>, bool)> {
        let [before, after] = &self.frame;
        let room = max_len.checked_sub(self.frame_len()).filter(|_| max_len > 0).ok_or_else(|| {
            let needs = self.frame_len().max(1);
            Error::input(format!("a maximum length of {max_len} tokens is too short"))
                .help(format!("give at least {needs}: so many special tokens frame a text"))
        })?;
        let ids = self.content(text, room + 1)?;
        let kept = &ids[..ids.len().min(room)];
        Ok(([before, kept, after].concat(), kept.len() < ids.len()))
    }

    /// The ids of several texts in their order, each as [`Tokenizer::encode`] gives it, and how many of them
    /// lost their end.
    ///
    /// # Errors
    /// The first error of [`Tokenizer::encode`].
    pub fn encode_batch<T: AsRef<str> + Sync>(
        &self,
        engine: &Engine,
        texts: &[T],
        max_len: usize,
    ) -> Result<(Packed, u64)> {
        let blocks = engine.map(texts.len().div_ceil(BLOCK), |i| {
            let block = &texts[i * BLOCK..texts.len().min((i + 1) * BLOCK)];
            block.iter().map(|text| self.encode_cut(text.as_ref(), max_len)).collect::<Result<Vec<_>>>()
        });
        let (mut packed, mut cut) = (Packed::default(), 0);
        for block in blocks {
            for (ids, lost) in block? {
                packed.push(ids);
                cut += u64::from(lost);
            }
        }
        Ok((packed, cut))
    }

    /// The ids of `text` without special tokens, at least the first `room` of them.
    fn content(&self, text: &str, room: usize) -> Result<Vec<u32>> {
        let mut bytes = BYTES_PER_TOKEN * (room + 4);
        while self.local && bytes < text.len() {
            let Some(end) = text.as_bytes()[..bytes].iter().rposition(|&b| b == b' ') else { break };
            let ids = self.pieces(&text[..end])?;
            if ids.len() >= room {
                return Ok(ids);
            }
            bytes *= 4;
        }
        self.pieces(text)
    }

    fn pieces(&self, text: &str) -> Result<Vec<u32>> {
        if let Some(ids) = self.ascii.as_ref().and_then(|ascii| ascii.encode(text)) {
            return Ok(ids);
        }
        let encoding = guarded(|| self.inner.encode_fast(text, false)).map_err(|e| unspeakable(text, e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The number of tokens V; ids are `0..V`.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The token with this id.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The id of this token, as it stands in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokens of `ids`, for showing a row as the trainer sees it. An id outside the vocabulary shows as
    /// `<id?>`.
    pub fn decode_tokens(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.token(id).map_or_else(|| format!("<{id}?>"), str::to_owned)).collect()
    }

    /// The special tokens' ids.
    pub fn special(&self) -> SpecialIds {
        self.special
    }

    /// How many special tokens frame a text: an empty text has this length.
    pub fn frame_len(&self) -> usize {
        self.frame.iter().map(Vec::len).sum()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.special)
            .finish()
    }
}

fn special_ids(inner: &tokenizers::Tokenizer) -> SpecialIds {
    let first = |names: &[&str]| names.iter().find_map(|name| inner.token_to_id(name));
    let named_unk = match inner.get_model() {
        ModelWrapper::WordPiece(model) => inner.token_to_id(&model.unk_token),
        _ => None,
    };
    SpecialIds {
        cls: first(&["[CLS]", "<s>"]),
        sep: first(&["[SEP]", "</s>"]),
        pad: first(&["[PAD]", "<pad>"]),
        unk: named_unk.or_else(|| first(&["[UNK]", "<unk>"])),
    }
}

/// BERT's normaliser maps a space to a space and no other character across it (composition and accents stop
/// there), its splitter removes every space, and WordPiece sees one word at a time. Only an added token that
/// itself holds white space could straddle a cut.
fn is_local(inner: &tokenizers::Tokenizer, tokens: &[String]) -> bool {
    let bert = matches!(inner.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)));
    let split = matches!(inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
    let pieces = matches!(inner.get_model(), ModelWrapper::WordPiece(_));
    let spaced = |id: &u32| tokens[*id as usize].contains(char::is_whitespace);
    bert && split && pieces && !inner.get_added_tokens_decoder().keys().any(spaced)
}

/// The special tokens before a text and after it. No post-processor of the library looks at the ids of a text,
/// so one that no vocabulary has shows where it goes.
fn frame(inner: &tokenizers::Tokenizer) -> Result<[Vec<u32>; 2]> {
    const TEXT: u32 = u32::MAX;
    let text: Encoding = std::iter::once((TEXT, String::new(), (0, 0), None, 0)).collect();
    let framed = guarded(|| inner.post_process(text, None, true))?;
    let parts: Vec<&[u32]> = framed.get_ids().split(|&id| id == TEXT).collect();
    match parts[..] {
        [before, after] => Ok([before.to_vec(), after.to_vec()]),
        _ => Err(Error::input(format!("its frame holds the text {} times, not once", parts.len() - 1))),
    }
}

fn unspeakable(text: &str, source: Error) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::input(format!("the tokenizer cannot encode `{shown}`")).caused_by(source)
}

#[cfg(test)]
mod tests;
