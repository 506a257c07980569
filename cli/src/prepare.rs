//! `lode prepare`: from the files of the field to one mapped data set.

use crate::context::Context;
use crate::early::{Done, Early};
use crate::quantity::count;
use crate::render::note;
use clap::ValueEnum;
use data::title::Ratio;
use data::{
    CsvSource, FastTextSource, OnBadLine, PrepareOptions, Progress, Prompts, Source, Stage, TokenizerChoice,
};
use engine::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use train::load;

/// Flags of `prepare`.
#[derive(clap::Args)]
#[group(id = "prepare")]
pub(crate) struct Args {
    /// A CSV or TSV file, or a folder with trn, tst, lbl (or corpus, queries, qrels)
    source: PathBuf,
    /// What the source is; guessed where this is left out
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The data set to write: one file
    #[arg(long, value_name = "DATA")]
    out: PathBuf,
    #[command(flatten)]
    tokenizer: TokenizerArgs,
    /// Tokens of a text at most, special tokens included
    #[arg(long, value_name = "N", default_value_t = 32)]
    max_len: usize,
    /// Put this before each query in its tokens [default: what the model of --tokenizer says]; '' for nothing
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,
    /// The same before each label
    #[arg(long, value_name = "TEXT")]
    label_prompt: Option<String>,
    /// What to do with a line that cannot be read
    #[arg(long, value_enum, default_value = "stop")]
    on_bad_line: BadLine,
    #[command(flatten)]
    table: TableArgs,
}

/// Where tokens come from: one of the two.
#[derive(clap::Args)]
#[group(id = "tokens", required = true, multiple = false)]
struct TokenizerArgs {
    /// A model directory, or a run, whose tokenizer is used
    #[arg(long, value_name = "DIR|RUN")]
    tokenizer: Option<PathBuf>,
    /// Learn a WordPiece vocabulary of N pieces from the training texts
    #[arg(long, value_name = "N")]
    train_vocab: Option<usize>,
}

/// What only tables have.
#[derive(clap::Args)]
#[group(id = "table")]
#[command(next_help_heading = "Tables (csv; the last two fasttext too)")]
struct TableArgs {
    /// The column with the text
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// The column with the labels
    #[arg(long, value_name = "COLUMN")]
    labels: Option<String>,
    /// What stands between two labels of a row, for example ';'
    #[arg(long, value_name = "TEXT")]
    label_sep: Option<String>,
    /// A column with longer text that follows the title
    #[arg(long, value_name = "COLUMN")]
    content: Option<String>,
    /// A column with unique ids
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// A file with the id and the text of each label, CSV or JSON lines
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,
    /// Shares of training and test [default: 90/10]; near-duplicate titles stay together
    #[arg(long, value_name = "TRAIN/TEST")]
    split: Option<String>,
}

/// Layouts of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table with a header, commas or tabs
    Csv,
    /// trn/tst/lbl .json.gz of the extreme classification repository; or raw texts beside trn_X_Y.txt (Renée) or
    /// Y.trn.npz (DEXML, PECOS)
    Xc,
    /// trn/tst/lbl .jsonl[.gz]
    Jsonl,
    /// corpus.jsonl, queries.jsonl, qrels/*.tsv
    Beir,
    /// collection.tsv, queries.{train,dev}.tsv, qrels.{train,dev}.tsv of MS MARCO
    Msmarco,
    /// Lines of fastText: words that begin with __label__ are the labels
    Fasttext,
}

/// What to do with a line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BadLine {
    /// Report it and write nothing
    Stop,
    /// Leave it out, count it, and write it to DATA.rejected.jsonl
    Skip,
}

/// Prepares, and prints the summary.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let source = source(args, context)?;
    let tokenizer = match (&args.tokenizer.tokenizer, args.tokenizer.train_vocab) {
        (Some(dir), _) => TokenizerChoice::Directory(load::tokenizer_folder(dir)),
        (None, size) => TokenizerChoice::Train(size.unwrap_or_default()),
    };
    let options = PrepareOptions {
        max_len: args.max_len,
        prompts: prompts(args, context)?,
        on_bad_line: if args.on_bad_line == BadLine::Skip { OnBadLine::Skip } else { OnBadLine::Stop },
        engine: context.engine()?,
        ..PrepareOptions::new(&args.out, tokenizer)
    };
    let summary = watched(context, |observer| data::prepare(&source, &options, observer))?;
    if context.json {
        context.print_json(&summary)?;
    } else {
        context.print(&summary.to_string())?;
    }
    let out = args.out.display();
    context.say(&format!("{out} is ready. Next:  lode train {out} --out RUN --model tiny"));
    Ok(())
}

/// The prompts that were given, or else those of the model whose tokenizer is used.
fn prompts(args: &Args, context: &Context) -> Result<Prompts> {
    let (query, label) = (args.query_prompt.clone(), args.label_prompt.clone());
    let Some(model) = &args.tokenizer.tokenizer else {
        return Ok(Prompts { query: query.unwrap_or_default(), label: label.unwrap_or_default() });
    };
    let own = load::prompts(model)?;
    let prompts = Prompts { query: query.unwrap_or(own.query), label: label.unwrap_or(own.label) };
    if !prompts.is_empty() && (args.query_prompt.is_none() || args.label_prompt.is_none()) {
        let Prompts { query, label } = &prompts;
        context.say(&format!(
            "before queries stands `{query}`, before labels `{label}`, as {} says",
            model.display()
        ));
    }
    Ok(prompts)
}

/// The signal for which preparing was given up.
struct GivenUp(i32);

/// Runs `work` with a progress bar, and gives it up at a signal.
///
/// An observer cannot ask for an end, so it unwinds: the destructors on the way remove what was half written.
fn watched<T>(context: &Context, work: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<T>) -> Done<T> {
    context.stop.is_heard();
    let mut meter = context.meter();
    let mut observer = |p: Progress| {
        if let Some(signal) = context.stop.requested() {
            resume_unwind(Box::new(GivenUp(signal)));
        }
        let (what, unit) = match p.stage {
            Stage::Read => ("read", "bytes"),
            Stage::Learn => ("learn", "texts"),
            Stage::Tokenize => ("tokenize", "texts"),
            _ => ("write", "parts"),
        };
        meter.show(what, p.done, p.of, || format!("{} of {} {unit}", count(p.done), count(p.of)));
    };
    let ended = catch_unwind(AssertUnwindSafe(|| work(&mut observer)));
    meter.clear();
    match ended {
        Ok(result) => Ok(result?),
        Err(panic) => match panic.downcast::<GivenUp>() {
            Ok(given_up) => {
                note("interrupted: nothing was written");
                Err(Early::Interrupted(given_up.0))
            }
            Err(panic) => resume_unwind(panic),
        },
    }
}

fn source(args: &Args, context: &Context) -> Result<Source> {
    let path = &args.source;
    let format = match args.format {
        Some(format) => format,
        None => {
            let guess = guess(path)?;
            let name = guess.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
            context.say(&format!("{} is read as --format {name}", path.display()));
            guess
        }
    };
    let path = path.clone();
    refuse_foreign(&args.table, format)?;
    Ok(match format {
        Format::Csv => Source::Csv(table(path, &args.table)?),
        Format::Xc => Source::Xc(path),
        Format::Jsonl => Source::Jsonl(path),
        Format::Beir => Source::Beir(path),
        Format::Msmarco => Source::MsMarco(path),
        Format::Fasttext => {
            let split = args.table.split.as_deref().unwrap_or("90/10").parse::<Ratio>()?;
            Source::FastText(FastTextSource { path, labels_file: args.table.labels_file.clone(), split })
        }
    })
}

/// What a layout does not read is refused: a flag without effect would be believed.
fn refuse_foreign(table: &TableArgs, format: Format) -> Result<()> {
    let of_tables = [
        ("--text", table.text.is_some()),
        ("--labels", table.labels.is_some()),
        ("--label-sep", table.label_sep.is_some()),
        ("--content", table.content.is_some()),
        ("--id", table.id.is_some()),
    ];
    let of_rows = [("--labels-file", table.labels_file.is_some()), ("--split", table.split.is_some())];
    let foreign: Vec<(&str, bool)> = match format {
        Format::Csv => vec![],
        Format::Fasttext => of_tables.to_vec(),
        _ => [&of_tables[..], &of_rows].concat(),
    };
    match foreign.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => {
            let name = format.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
            Err(Error::input(format!("{flag} says nothing to --format {name}")).help("leave it out"))
        }
    }
}

/// The layout of a source, by its name or by what a folder holds.
fn guess(path: &Path) -> Result<Format> {
    let found = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if found.is_dir() {
        let has = |names: &[&str]| names.iter().any(|n| path.join(n).is_file());
        if has(&["corpus.jsonl", "corpus.jsonl.gz"]) {
            return Ok(Format::Beir);
        }
        if has(&["collection.tsv", "collection.tsv.gz"]) {
            return Ok(Format::Msmarco);
        }
        if has(&["trn.jsonl", "trn.jsonl.gz", "train.jsonl", "train.jsonl.gz"]) {
            return Ok(Format::Jsonl);
        }
        if has(&["trn.json.gz", "trn.json", "train.json.gz", "train.json"])
            || has(&["trn_X_Y.txt", "trn_X_Y.txt.gz", "trn_X_Y.npz", "Y.trn.npz"])
            || has(&["train.txt", "train.txt.gz"])
        {
            return Ok(Format::Xc);
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if found.is_file() && [".ft", ".fasttext"].iter().any(|end| name.ends_with(end)) {
        return Ok(Format::Fasttext);
    }
    if found.is_file() && [".csv", ".tsv", ".tab"].iter().any(|end| name.ends_with(end)) {
        return Ok(Format::Csv);
    }
    Err(Error::input("what this is cannot be told from its name")
        .at(path)
        .help("say --format csv, xc, jsonl, beir, msmarco or fasttext"))
}

fn table(path: PathBuf, args: &TableArgs) -> Result<CsvSource> {
    let missing = |flag: &str, what: &str| -> Error {
        let columns = match data::columns(&path) {
            Ok(columns) => columns,
            Err(error) => return error,
        };
        let columns: Vec<String> = columns.iter().map(|c| format!("`{c}`")).collect();
        Error::input(format!("the column with the {what} must be named: {flag} COLUMN"))
            .at(&path)
            .note(format!("its columns are {}", columns.join(", ")))
            .help("for example: lode prepare products.csv --text title --labels category …")
    };
    let text = args.text.clone().ok_or_else(|| missing("--text", "text"))?;
    let labels = args.labels.clone().ok_or_else(|| missing("--labels", "labels"))?;
    let mut source = CsvSource::new(path, text, labels);
    source.content = args.content.clone();
    source.id = args.id.clone();
    source.label_separator = args.label_sep.clone();
    source.labels_file = args.labels_file.clone();
    if let Some(split) = &args.split {
        source.split = split.parse::<Ratio>()?;
    }
    Ok(source)
}
