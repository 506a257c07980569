//! From a source to a data set: read (checking everything), learn a vocabulary if asked, tokenize, write.
//!
//! ```text
//! files ──read──▶ spools on disk ──map──▶ titles ──tokenize──▶ container ──rename──▶ DATA
//! ```
//! Texts pass through once each way and are never held in memory. Until the rename at the end nothing has
//! the data set's name, and the spools have no name at all.

use crate::build::Build;
use crate::count::{self, Transposed};
use crate::layout::{self, FORMAT, KIND, Meta, section};
use crate::prompts::{Prompts, before};
use crate::read::{beir, csv, fasttext, msmarco, repository};
use crate::source::{PrepareOptions, Progress, Source, Stage, TokenizerChoice};
use crate::spooled::{Parts, QueryTable, TextTable};
use crate::summary::Summary;
use crate::tokenizer::Tokenizer;
use crate::wordpiece;
use engine::container::{Container, Plain, Scalar, Spool, Writer, checksum};
use engine::{Error, Result};

/// Texts that are tokenized together; progress is told after each lot.
const LOT: usize = 4096;

/// Makes the data set `options.out` from `source`.
///
/// # Errors
/// `Kind::Input` with file, line and what to do, for whatever is wrong with the source or the tokenizer;
/// `Kind::Io` when the disk is full. Either way nothing is left behind, and an older data set of that name
/// stays as it was.
pub fn prepare(
    source: &Source,
    options: &PrepareOptions,
    observer: &mut dyn FnMut(Progress),
) -> Result<Summary> {
    check_target(options)?;
    let given = match &options.tokenizer {
        TokenizerChoice::Directory(dir) => Some(Tokenizer::from_dir(dir)?),
        TokenizerChoice::Train(_) => None,
    };
    if let Some(tokenizer) = &given {
        // Says so now if the maximum length has no room for the special tokens.
        tokenizer.encode("", options.max_len)?;
    }
    let mut build = Build::new(options, observer)?;
    match source {
        Source::Csv(table) => csv::read(table, &mut build)?,
        Source::Xc(folder) | Source::Jsonl(folder) => repository::read(folder, &mut build)?,
        Source::Beir(folder) => beir::read(folder, &mut build)?,
        Source::MsMarco(folder) => msmarco::read(folder, &mut build)?,
        Source::FastText(lines) => fasttext::read(lines, &mut build)?,
    }
    let parts = Parts::new(build)?;
    if parts.labels.len() == 0 {
        return Err(
            Error::input("the source has no labels").help("rows without labels cannot be learnt from")
        );
    }
    let tokenizer = match (given, &options.tokenizer) {
        (Some(tokenizer), _) => tokenizer,
        (None, TokenizerChoice::Train(size)) => learn(&parts, *size, observer)?,
        (None, TokenizerChoice::Directory(_)) => unreachable!("a directory was read above"),
    };
    demand_room(&tokenizer, options)?;
    write(source, options, parts, &tokenizer, observer)
}

/// A prompt that is as long as a text may be leaves nothing of any text: all would be one.
fn demand_room(tokenizer: &Tokenizer, options: &PrepareOptions) -> Result<()> {
    let max_len = options.max_len;
    for prompt in options.prompts.both() {
        if !prompt.is_empty() && tokenizer.encode(prompt, max_len)?.len() >= max_len {
            let what = format!("the prompt `{prompt}` fills the {max_len} tokens that a text may have");
            return Err(Error::input(what).help("--max-len allows more; a shorter prompt leaves more"));
        }
    }
    Ok(())
}

/// The target must be new, empty, or a file of ours.
fn check_target(options: &PrepareOptions) -> Result<()> {
    let out = &options.out;
    match std::fs::metadata(out) {
        Ok(meta) if meta.is_dir() => Err(Error::input("is a folder; the data set will be one file").at(out)),
        Ok(meta) if meta.len() > 0 && !Container::is_container(out) => {
            let e = Error::input("exists and is no data set; it will not be written over").at(out);
            Err(e.help("name another file, or remove this one"))
        }
        _ => Ok(()),
    }
}

/// Learns a vocabulary from training queries and labels. Test queries are not looked at.
fn learn(parts: &Parts, size: usize, observer: &mut dyn FnMut(Progress)) -> Result<Tokenizer> {
    let mut trainer = wordpiece::Trainer::new(wordpiece::Options::new(size));
    let of = (parts.train.texts.len() + parts.labels.len()) as u64;
    let mut done = 0;
    for table in [&parts.train.texts, &parts.labels] {
        for i in 0..table.len() {
            trainer.add(&table.text(i))?;
            done += 1;
            if done % LOT as u64 == 0 {
                observer(Progress { stage: Stage::Learn, done, of });
            }
        }
    }
    trainer.finish()
}

fn write(
    source: &Source,
    options: &PrepareOptions,
    parts: Parts,
    tokenizer: &Tokenizer,
    observer: &mut dyn FnMut(Progress),
) -> Result<Summary> {
    let tables = [&parts.train.texts, &parts.test.texts, &parts.labels];
    let mut out = Writer::create(&options.out, KIND)?;
    let mut work =
        Tokenizing { tokenizer, options, observer, done: 0, of: tables.iter().map(|t| t.len() as u64).sum() };
    let mut cut = [0; 3];
    let mut tokens = 0;
    let Prompts { query, label } = &options.prompts;
    let prompted = tables.into_iter().zip([query, query, label]);
    for ((name, (table, prompt)), cut) in layout::TABLES.into_iter().zip(prompted).zip(&mut cut) {
        let (total, truncated) = work.table(&mut out, name, (table, prompt))?;
        (tokens, *cut) = (tokens + total, truncated);
        out.section(&section(name, "titles"), &table.titles.bytes)?;
        out.section(&section(name, "title_starts"), &table.titles.starts)?;
        if !table.contents.bytes.is_empty() {
            out.section(&section(name, "contents"), &table.contents.bytes)?;
            out.section(&section(name, "content_starts"), &table.contents.starts)?;
        }
        out.section(&section(name, "uids"), &table.uids.bytes)?;
        out.section(&section(name, "uid_starts"), &table.uids.starts)?;
    }
    observer(Progress { stage: Stage::Write, done: 0, of: 2 });
    for (name, queries) in layout::TABLES.into_iter().zip([&parts.train, &parts.test]) {
        write_relevance(&mut out, name, queries)?;
    }
    let by_label = Transposed::new(&parts.train, parts.labels.len());
    out.section(layout::LABEL_QUERIES, &by_label.queries)?;
    out.section(layout::LABEL_QUERY_STARTS, &by_label.starts)?;
    out.section(layout::TOKENIZER, &tokenizer.to_json()?)?;
    observer(Progress { stage: Stage::Write, done: 1, of: 2 });
    let mut summary = count::count(&parts, &by_label);
    summary.examples = count::examples(&parts, tokenizer, options)?;
    (summary.tokens, summary.truncated) = (tokens, cut.iter().sum());
    summary.vocabulary = tokenizer.vocab_size() as u64;
    let meta = meta(source, options, tokenizer, &out, &summary, &parts);
    out.section(layout::META, &serde_json::to_vec(&meta).expect("numbers and strings are always JSON"))?;
    out.commit()?;
    parts.rejected.commit()?;
    observer(Progress { stage: Stage::Write, done: 2, of: 2 });
    Ok(summary)
}

fn meta(
    source: &Source,
    options: &PrepareOptions,
    tokenizer: &Tokenizer,
    out: &Writer,
    summary: &Summary,
    parts: &Parts,
) -> Meta {
    let mut sums = vec![];
    for s in out.sections() {
        sums.extend(s.name.as_bytes());
        sums.extend(s.checksum.to_le_bytes());
    }
    Meta {
        format: FORMAT,
        source: source.name(),
        max_len: options.max_len,
        vocabulary: tokenizer.vocab_size(),
        train: parts.train.texts.len(),
        test: parts.test.texts.len(),
        labels: parts.labels.len(),
        whole_texts: true,
        prompts: options.prompts.clone(),
        fingerprint: format!("{:016x}", checksum(&sums)),
        summary: summary.clone(),
    }
}

fn write_relevance(out: &mut Writer, name: &str, queries: &QueryTable) -> Result<()> {
    out.section(&section(name, "positives"), &queries.labels)?;
    out.section(&section(name, "positive_starts"), &queries.starts)?;
    if let Some(values) = &queries.values {
        out.section(&section(name, "relevance"), values)?;
    }
    if queries.filtered.is_empty() {
        return Ok(());
    }
    let labels: Vec<u32> = queries.filtered.iter().map(|&(_, label)| label).collect();
    let rows = 0..=queries.texts.len();
    let starts: Vec<u64> =
        rows.map(|row| queries.filtered.partition_point(|&(r, _)| (r as usize) < row) as u64).collect();
    out.section(&section(name, "filtered"), &labels)?;
    out.section(&section(name, "filtered_starts"), &starts)
}

/// Turns tables of texts into sections of tokens.
struct Tokenizing<'a> {
    tokenizer: &'a Tokenizer,
    options: &'a PrepareOptions,
    observer: &'a mut dyn FnMut(Progress),
    done: u64,
    of: u64,
}

impl Tokenizing<'_> {
    /// Writes tokens and starts of a table behind a prompt. Gives how many tokens it has, and how many of its texts
    /// were cut.
    fn table(&mut self, out: &mut Writer, name: &str, table: (&TextTable, &str)) -> Result<(u64, u64)> {
        if layout::is_narrow(self.tokenizer.vocab_size()) {
            self.typed_table(out, name, table, |id| id as u16)
        } else {
            self.typed_table(out, name, table, |id| id)
        }
    }

    fn typed_table<T: Plain>(
        &mut self,
        out: &mut Writer,
        name: &str,
        (table, prompt): (&TextTable, &str),
        narrow: impl Fn(u32) -> T,
    ) -> Result<(u64, u64)> {
        let mut starts = Spool::<u64>::beside(&self.options.out)?;
        starts.append(&[0])?;
        let (mut total, mut truncated) = (0u64, 0);
        let scalar: Scalar = T::SCALAR;
        out.begin(&section(name, "tokens"), scalar)?;
        for from in (0..table.len()).step_by(LOT) {
            let texts = (from..table.len().min(from + LOT)).map(|i| before(prompt, table.text(i)));
            let texts: Vec<_> = texts.collect();
            let (packed, cut) =
                self.tokenizer.encode_batch(&self.options.engine, &texts, self.options.max_len)?;
            let narrowed: Vec<T> = packed.tokens.iter().map(|&id| narrow(id)).collect();
            out.append(&narrowed)?;
            let ends: Vec<u64> = packed.starts[1..].iter().map(|&s| total + u64::from(s)).collect();
            starts.append(&ends)?;
            (total, truncated) = (total + packed.tokens.len() as u64, truncated + cut);
            self.done += packed.len() as u64;
            (self.observer)(Progress { stage: Stage::Tokenize, done: self.done, of: self.of });
        }
        out.end()?;
        out.section(&section(name, "starts"), &starts.finish()?)?;
        Ok((total, truncated))
    }
}
