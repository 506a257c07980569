//! A prepared data set, mapped: slices of a file, no copy, no parse.

use crate::build::Split;
use crate::layout::{self, FORMAT, KIND, META, Meta, TOKENIZER, section};
use crate::prompts::Prompts;
use crate::spooled::range;
use crate::summary::Summary;
use crate::texts::{Texts, TextsFile};
use crate::tokenizer::Tokenizer;
use engine::container::{Container, Verify, View};
use engine::{Error, Kind, Result};
use std::path::Path;

/// Lists of ids, one list a row.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    ids: View<u32>,
    starts: View<u64>,
}

impl Lists {
    fn open(file: &Container, ids: &str, starts: &str, rows: usize) -> Result<Lists> {
        let lists = Lists { ids: file.view(ids)?, starts: file.view(starts)? };
        check_starts(file.path(), starts, &lists.starts, rows, lists.ids.len())?;
        Ok(lists)
    }
    fn row(&self, i: usize) -> &[u32] {
        &self.ids[range(&self.starts, i)]
    }
    /// Every list ascending, every id below `limit`.
    fn check(&self, path: &Path, name: &str, limit: usize) -> Result<()> {
        check_rising(path, name, &self.starts)?;
        let good = |row: &[u32]| {
            row.windows(2).all(|w| w[0] < w[1]) && row.last().is_none_or(|&id| (id as usize) < limit)
        };
        match (1..self.starts.len()).all(|i| good(self.row(i - 1))) {
            true => Ok(()),
            false => Err(Error::damaged(path, name, "ids out of order or out of range")),
        }
    }
}

/// Starts have one entry more than rows, begin at 0 and end at the end.
pub(crate) fn check_starts(path: &Path, name: &str, starts: &[u64], rows: usize, end: usize) -> Result<()> {
    // `rows` is what the file says of itself; its number may be too large for one more.
    let fits = rows.checked_add(1) == Some(starts.len()) && starts[0] == 0 && starts[rows] == end as u64;
    if fits { Ok(()) } else { Err(Error::damaged(path, name, "does not fit the section that it cuts")) }
}

/// Starts never fall.
pub(crate) fn check_rising(path: &Path, name: &str, starts: &[u64]) -> Result<()> {
    match starts.windows(2).all(|w| w[0] <= w[1]) {
        true => Ok(()),
        false => Err(Error::damaged(path, name, "falls")),
    }
}

/// The labels of the queries of one split.
#[derive(Debug)]
struct Relevance {
    positives: Lists,
    values: Option<View<f32>>,
    filtered: Option<Lists>,
}

impl Relevance {
    fn open(file: &Container, name: &str, rows: usize) -> Result<Relevance> {
        let names = ["positives", "positive_starts", "relevance", "filtered", "filtered_starts"];
        let [ids, starts, values, filtered, filtered_starts] = names.map(|field| section(name, field));
        let positives = Lists::open(file, &ids, &starts, rows)?;
        let graded = if file.has(&values) { Some(file.view::<f32>(&values)?) } else { None };
        if graded.as_ref().is_some_and(|v| v.len() != positives.ids.len()) {
            return Err(Error::damaged(file.path(), &values, "is not as long as the positives"));
        }
        let filtered = match file.has(&filtered) {
            true => Some(Lists::open(file, &filtered, &filtered_starts, rows)?),
            false => None,
        };
        Ok(Relevance { positives, values: graded, filtered })
    }
}

/// A data set file, open for reading. Cheap to open; many may be open on the same file.
#[derive(Debug)]
pub struct DataSet {
    file: Container,
    meta: Meta,
    fingerprint: u64,
    texts: [TextsFile; 3],
    relevance: [Relevance; 2],
    by_label: Lists,
}

impl DataSet {
    /// Opens the data set at `path`. With [`Verify::Full`] every byte of it is checked.
    ///
    /// # Errors
    /// `Kind::Damaged` with the section, when the file is not what was written; `Kind::Input` when it is
    /// missing or of another kind or version.
    ///
    /// # Panics
    /// Not here; but a file whose damage only [`Verify::Full`] would have found can panic in the accessors.
    pub fn open(path: &Path, verify: Verify) -> Result<DataSet> {
        let file = Container::open(path, KIND, verify)?;
        let meta = read_meta(&file)?;
        let rows = [meta.train, meta.test, meta.labels];
        let open_texts = |t: usize| TextsFile::open(&file, layout::TABLES[t], rows[t], meta.vocabulary);
        let open_relevance = |t: usize| Relevance::open(&file, layout::TABLES[t], rows[t]);
        let fingerprint = u64::from_str_radix(&meta.fingerprint, 16)
            .map_err(|_| Error::damaged(path, META, "its fingerprint is no number"))?;
        let set = DataSet {
            texts: [open_texts(0)?, open_texts(1)?, open_texts(2)?],
            relevance: [open_relevance(0)?, open_relevance(1)?],
            by_label: Lists::open(&file, layout::LABEL_QUERIES, layout::LABEL_QUERY_STARTS, meta.labels)?,
            fingerprint,
            meta,
            file,
        };
        if verify == Verify::Full {
            set.check()?;
        }
        Ok(set)
    }

    /// What the checksums cannot say: that ids, tokens and texts make sense.
    fn check(&self) -> Result<()> {
        let path = self.file.path();
        for (texts, name) in self.texts.iter().zip(layout::TABLES) {
            texts.check(path, name, self.meta.vocabulary)?;
        }
        for (relevance, name) in self.relevance.iter().zip(layout::TABLES) {
            relevance.positives.check(path, &section(name, "positives"), self.meta.labels)?;
            if let Some(filtered) = &relevance.filtered {
                filtered.check(path, &section(name, "filtered"), self.meta.labels)?;
            }
        }
        self.by_label.check(path, layout::LABEL_QUERIES, self.meta.train)
    }

    fn of(&self, split: Split) -> &Relevance {
        &self.relevance[split as usize]
    }

    /// The queries of a split.
    pub fn queries(&self, split: Split) -> Texts<'_> {
        self.texts[split as usize].texts()
    }
    /// The labels.
    pub fn labels(&self) -> Texts<'_> {
        self.texts[2].texts()
    }
    /// The labels of query `query` of `split`, ascending.
    ///
    /// # Panics
    /// When there is no such query.
    pub fn positives(&self, split: Split, query: usize) -> &[u32] {
        self.of(split).positives.row(query)
    }
    /// All lists of [`DataSet::positives`] at once: where each starts `[queries + 1]`, and the label ids.
    pub fn positive_rows(&self, split: Split) -> (&[u64], &[u32]) {
        let lists = &self.of(split).positives;
        (&lists.starts, &lists.ids)
    }
    /// All lists of [`DataSet::filtered`] at once; `None` when nothing is filtered.
    pub fn filtered_rows(&self, split: Split) -> Option<(&[u64], &[u32])> {
        self.of(split).filtered.as_ref().map(|lists| (&*lists.starts, &*lists.ids))
    }
    /// How relevant each of [`DataSet::positives`] is; `None` when all of the split are 1.
    pub fn relevance(&self, split: Split, query: usize) -> Option<&[f32]> {
        let relevance = self.of(split);
        relevance.values.as_ref().map(|values| &values[range(&relevance.positives.starts, query)])
    }
    /// The training queries of a label, ascending.
    pub fn titles_of(&self, label: usize) -> &[u32] {
        self.by_label.row(label)
    }
    /// The labels that are left out of the ranking of a query, ascending.
    pub fn filtered(&self, split: Split, query: usize) -> &[u32] {
        self.of(split).filtered.as_ref().map_or(&[], |lists| lists.row(query))
    }
    /// How many training queries each label has, `[labels]`.
    pub fn label_frequency(&self) -> Vec<u32> {
        self.by_label.starts.windows(2).map(|w| (w[1] - w[0]) as u32).collect()
    }
    /// Whether [`Texts::text`] is all that was tokenized. Of a data set that was made before contents were kept, nobody
    /// knows.
    pub fn has_whole_texts(&self) -> bool {
        self.meta.whole_texts
    }
    /// What stands before each text in its tokens.
    pub fn prompts(&self) -> &Prompts {
        &self.meta.prompts
    }
    /// Tokens of a text at most.
    pub fn max_len(&self) -> usize {
        self.meta.max_len
    }
    /// Tokens of the vocabulary; every token id is below.
    pub fn vocab_size(&self) -> usize {
        self.meta.vocabulary
    }
    /// The tokenizer that made the tokens.
    ///
    /// # Errors
    /// `Kind::Damaged` when its section cannot be read.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let wrong = |e: Error| Error::damaged(self.file.path(), TOKENIZER, e);
        Tokenizer::from_bytes(self.tokenizer_json()?).map_err(wrong)
    }
    /// The `tokenizer.json` of [`DataSet::tokenizer`].
    ///
    /// # Errors
    /// `Kind::Damaged` when its section is missing.
    pub fn tokenizer_json(&self) -> Result<&[u8]> {
        self.file.bytes(TOKENIZER)
    }
    /// A hash of the contents: equal for two data sets with the same tokens, texts, ids and relevance.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
    /// What was found when it was made.
    pub fn summary(&self) -> &Summary {
        &self.meta.summary
    }
    /// The name of what it was made from.
    pub fn source(&self) -> &str {
        &self.meta.source
    }
    /// Where the file lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

fn read_meta(file: &Container) -> Result<Meta> {
    let damaged = |why: String| Error::damaged(file.path(), META, why);
    let value: serde_json::Value =
        serde_json::from_slice(file.bytes(META)?).map_err(|e| damaged(e.to_string()))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let found = format.map_or("no format number".to_owned(), |f| format!("format {f}"));
        let e = Error::new(Kind::Input, format!("{found}, this program reads {FORMAT}")).at(file.path());
        return Err(e.help("make the data set again with `lode prepare`"));
    }
    serde_json::from_value(value).map_err(|e| damaged(e.to_string()))
}
