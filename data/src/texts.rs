//! A table of texts in a data set: tokens, titles, ids.

use crate::layout::{is_narrow, section};
use crate::set::{check_rising, check_starts};
use crate::spooled::range;
use engine::container::{Container, View};
use engine::{Error, Packed, Result};
use std::borrow::Cow;
use std::path::Path;

#[derive(Debug)]
enum TokenView {
    Narrow(View<u16>),
    Wide(View<u32>),
}

/// The sections of one table.
#[derive(Debug)]
pub(crate) struct TextsFile {
    tokens: TokenView,
    starts: View<u64>,
    titles: View<u8>,
    title_starts: View<u64>,
    /// Both empty where no text has a content.
    contents: View<u8>,
    content_starts: View<u64>,
    uids: View<u8>,
    uid_starts: View<u64>,
}

impl TextsFile {
    pub(crate) fn open(file: &Container, table: &str, rows: usize, vocabulary: usize) -> Result<TextsFile> {
        let tokens = section(table, "tokens");
        let tokens = match is_narrow(vocabulary) {
            true => TokenView::Narrow(file.view(&tokens)?),
            false => TokenView::Wide(file.view(&tokens)?),
        };
        let view = |field: &str| file.view::<u64>(&section(table, field));
        let text = |field: &str| file.view::<u8>(&section(table, field));
        let (starts, title_starts, uid_starts) =
            (view("starts")?, view("title_starts")?, view("uid_starts")?);
        let (titles, uids) = (text("titles")?, text("uids")?);
        let (contents, content_starts) = match file.has(&section(table, "contents")) {
            true => (text("contents")?, view("content_starts")?),
            false => (View::default(), View::default()),
        };
        let count = match &tokens {
            TokenView::Narrow(ids) => ids.len(),
            TokenView::Wide(ids) => ids.len(),
        };
        let check = |field: &str, starts: &[u64], end| {
            check_starts(file.path(), &section(table, field), starts, rows, end)
        };
        check("starts", &starts, count)?;
        check("title_starts", &title_starts, titles.len())?;
        check("uid_starts", &uid_starts, uids.len())?;
        if !content_starts.is_empty() {
            check("content_starts", &content_starts, contents.len())?;
        }
        Ok(TextsFile { tokens, starts, titles, title_starts, contents, content_starts, uids, uid_starts })
    }

    /// Starts rise, texts are UTF-8, tokens are in the vocabulary.
    pub(crate) fn check(&self, path: &Path, table: &str, vocabulary: usize) -> Result<()> {
        check_rising(path, &section(table, "starts"), &self.starts)?;
        let known = match &self.tokens {
            TokenView::Narrow(ids) => ids.iter().all(|&id| usize::from(id) < vocabulary),
            TokenView::Wide(ids) => ids.iter().all(|&id| (id as usize) < vocabulary),
        };
        if !known {
            return Err(Error::damaged(path, &section(table, "tokens"), "a token is not in the vocabulary"));
        }
        for (field, bytes, starts) in [
            ("title", &self.titles, &self.title_starts),
            ("content", &self.contents, &self.content_starts),
            ("uid", &self.uids, &self.uid_starts),
        ] {
            check_rising(path, &section(table, &format!("{field}_starts")), starts)?;
            let text = |i| std::str::from_utf8(&bytes[range(starts, i)]).is_ok();
            if !(0..starts.len().saturating_sub(1)).all(text) {
                return Err(Error::damaged(
                    path,
                    &section(table, &format!("{field}s")),
                    "a text is not UTF-8",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn texts(&self) -> Texts<'_> {
        let tokens = match &self.tokens {
            TokenView::Narrow(ids) => Ids::Narrow(ids),
            TokenView::Wide(ids) => Ids::Wide(ids),
        };
        Texts {
            tokens,
            starts: &self.starts,
            titles: &self.titles,
            title_starts: &self.title_starts,
            contents: &self.contents,
            content_starts: &self.content_starts,
            uids: &self.uids,
            uid_starts: &self.uid_starts,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Ids<'a> {
    Narrow(&'a [u16]),
    Wide(&'a [u32]),
}

/// The texts of a table, in place. Copying it copies a few slices.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    tokens: Ids<'a>,
    starts: &'a [u64],
    titles: &'a [u8],
    title_starts: &'a [u64],
    contents: &'a [u8],
    content_starts: &'a [u64],
    uids: &'a [u8],
    uid_starts: &'a [u64],
}

impl<'a> Texts<'a> {
    /// The number of texts.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }
    /// True when there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The number of tokens of all texts.
    pub fn tokens_total(&self) -> u64 {
        self.starts[self.len()]
    }
    /// The number of tokens of text `i`, special tokens included.
    pub fn token_count(&self, i: usize) -> usize {
        (self.starts[i + 1] - self.starts[i]) as usize
    }
    /// The token ids of text `i`.
    ///
    /// # Panics
    /// When there is no text `i`; so do the other accessors.
    pub fn tokens(&self, i: usize) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let range = range(self.starts, i);
        let (narrow, wide): (&[u16], &[u32]) = match self.tokens {
            Ids::Narrow(ids) => (&ids[range], &[]),
            Ids::Wide(ids) => (&[], &ids[range]),
        };
        TokenIds { narrow: narrow.iter(), wide: wide.iter() }
    }
    /// Appends text `i` to `packed`.
    pub fn push_to(&self, i: usize, packed: &mut Packed) {
        match self.tokens {
            Ids::Narrow(ids) => packed.push(ids[range(self.starts, i)].iter().map(|&id| u32::from(id))),
            Ids::Wide(ids) => packed.push(ids[range(self.starts, i)].iter().copied()),
        }
    }
    /// The title of text `i`.
    pub fn title(&self, i: usize) -> &'a str {
        text(self.titles, self.title_starts, i)
    }
    /// What follows the title of text `i`; empty where nothing does.
    pub fn content(&self, i: usize) -> &'a str {
        if self.content_starts.is_empty() { "" } else { text(self.contents, self.content_starts, i) }
    }
    /// What was tokenized as text `i`: title, then content.
    pub fn text(&self, i: usize) -> Cow<'a, str> {
        joined(self.title(i), self.content(i))
    }
    /// The id that the source gave to text `i`.
    pub fn uid(&self, i: usize) -> &'a str {
        text(self.uids, self.uid_starts, i)
    }
}

/// One of the two is empty.
struct TokenIds<'a> {
    narrow: std::slice::Iter<'a, u16>,
    wide: std::slice::Iter<'a, u32>,
}

impl Iterator for TokenIds<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        self.narrow.next().map(|&id| u32::from(id)).or_else(|| self.wide.next().copied())
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.narrow.len() + self.wide.len();
        (n, Some(n))
    }
}

impl ExactSizeIterator for TokenIds<'_> {}

/// A text from its two parts.
pub(crate) fn joined<'a>(title: &'a str, content: &'a str) -> Cow<'a, str> {
    match content {
        "" => Cow::Borrowed(title),
        content => Cow::Owned(format!("{title} {content}")),
    }
}

fn text<'a>(bytes: &'a [u8], starts: &[u64], i: usize) -> &'a str {
    // What is not UTF-8 was damaged after it was written; a full check would have said so.
    std::str::from_utf8(&bytes[range(starts, i)]).unwrap_or("\u{fffd}")
}
