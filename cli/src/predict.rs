//! `lode predict`: answers texts with labels. From stdin it is a service: a line in, a line out, for as long
//! as lines come. A matrix alone comes at the end, since its first line says how many rows it has.

use crate::context::Context;
use crate::early::{Done, Early};
use crate::observer::Terminal;
use crate::precision::{Encoding, IndexPrecision};
use crate::quantity::span;
use crate::rankings::{demand_word, spmat_header, spmat_row, trec_lines};
use crate::render::{note, rounded};
use crate::score::By;
use clap::ValueEnum;
use data::{DataSet, Verify};
use engine::{Engine, Error, Kind, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;
use train::predict::{How, Prediction, Predictor};
use train::{RunDir, vocabulary};

/// Flags of `predict`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run, or a model directory (then with --data)
    model: PathBuf,
    /// Texts, one a line; `-`, or nothing at all, for stdin
    #[arg(conflicts_with = "text")]
    file: Option<PathBuf>,
    /// A text; may be given several times
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// The data set whose labels are wanted [default: the one of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Labels for each text
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    k: usize,
    /// Let the N nearest training titles vote
    #[arg(long, value_name = "N", default_value_t = 0)]
    knn: usize,
    #[command(flatten)]
    encoding: Encoding,
    /// The numbers by which labels are searched
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    index_precision: IndexPrecision,
    /// What ranks the labels [default: fusion where there is a classifier, else text]
    #[arg(long, value_enum, value_name = "NAME")]
    score: Option<By>,
    /// How answers are written; --json writes an object a line
    #[arg(long, value_enum, default_value = "text", value_name = "NAME", conflicts_with = "json")]
    format: Format,
    /// Check every byte of the data set first
    #[arg(long)]
    verify: bool,
}

/// How answers are written, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: the text, and under it scores, labels and their ids
    Text,
    /// A TREC run: number of the line, Q0, label id, rank, score, lode
    Trec,
    /// A sparse matrix of scores: `rows columns`, then a line a text of `label:score`, labels numbered as in the data
    /// set and after them those that were added
    Spmat,
}

/// Predicts.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    if args.k == 0 {
        return Err(Error::input("--k must be at least 1").into());
    }
    // A missing file is told before a second is spent on the model.
    let input = input(args)?;
    let predictor = open(args, &context.engine()?, context)?;
    let cold = context.started.elapsed().as_secs_f64();
    context.tell(&format!("cold start {}", span(cold)));
    let mut service = Service { predictor, args, context, texts: 0, matrix: vec![], seconds: vec![] };
    service.check()?;
    match input {
        Some(input) => service.lines(input, args.file.as_deref().unwrap_or(Path::new("-")))?,
        None => args.text.iter().try_for_each(|text| service.answer(text.as_bytes()))?,
    }
    if args.format == Format::Spmat {
        context.print(&spmat_header(service.texts, service.predictor.labels()))?;
        service.matrix.iter().try_for_each(|row| context.print(&spmat_row(row)))?;
    }
    service.tell_latency();
    Ok(())
}

/// Where texts come from, unless they stand on the command line.
fn input(args: &Args) -> Result<Option<Box<dyn BufRead>>> {
    match args.file.as_deref() {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).map_err(|e| Error::io(path, e))?;
            if path.is_dir() {
                return Err(Error::input("is a directory, a file was expected").at(path));
            }
            Ok(Some(Box::new(BufReader::new(file))))
        }
        None if !args.text.is_empty() => Ok(None),
        _ => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                note("Type a text and press Enter; Ctrl-D ends.");
            }
            Ok(Some(Box::new(stdin.lock())))
        }
    }
}

fn open(args: &Args, engine: &Engine, context: &Context) -> Result<Predictor> {
    if let Some(data) = args.data.as_deref().filter(|_| args.verify) {
        DataSet::open(data, Verify::Full)?;
    }
    let mut observer = Terminal::new(context);
    let how = How {
        knn: args.knn,
        score: args.score.map(By::score),
        inference: args.encoding.open(context, engine)?,
        search: args.index_precision.search(),
    };
    let predictor = Predictor::open(engine, &args.model, args.data.as_deref(), how, &mut observer)?;
    if args.verify {
        DataSet::open(predictor.data().path(), Verify::Full)?;
    }
    // The tokenizer of a run is that of its data set; only another data set can be a wrong one.
    if args.data.is_some() || !RunDir::is_run(&args.model) {
        vocabulary::demand_same(predictor.network(), &args.model, predictor.data())?;
    }
    Ok(predictor)
}

/// A resident predictor.
struct Service<'a> {
    predictor: Predictor,
    args: &'a Args,
    context: &'a Context,
    /// Texts taken so far.
    texts: usize,
    /// The rows of a matrix.
    matrix: Vec<Vec<(u32, f32)>>,
    /// How long each answer took.
    seconds: Vec<f64>,
}

impl Service<'_> {
    /// Ids that have no place in the format are told before the first text.
    fn check(&self) -> Result<()> {
        let labels = 0..self.predictor.labels() as u32;
        match self.args.format {
            Format::Trec => {
                labels.into_iter().try_for_each(|l| demand_word("label", self.predictor.label(l).0))
            }
            _ => Ok(()),
        }
    }
    /// Answers each line as it comes.
    fn lines(&mut self, mut input: Box<dyn BufRead>, path: &Path) -> Done {
        let mut line = vec![];
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line).map_err(|e| Early::Failed(Error::io(path, e)))?;
            if read == 0 {
                return Ok(());
            }
            while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                line.pop();
            }
            self.answer(&line)?;
        }
    }
    /// Answers one text. A line that is no text is answered with what is wrong with it; the next line is
    /// answered too.
    fn answer(&mut self, line: &[u8]) -> Done {
        let since = Instant::now();
        self.texts += 1;
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) => {
                let why = format!("invalid UTF-8 at byte {}", e.valid_up_to() + 1);
                return self.complain(&String::from_utf8_lossy(line), &why);
            }
        };
        let found = match self.predictor.predict(&[text], self.args.k) {
            Ok(found) => found.into_iter().next().unwrap_or_default(),
            // What no later line could do better ends the service.
            Err(e) if e.kind() == Kind::Refused => return Err(e.into()),
            Err(e) => return self.complain(text, &e.to_string()),
        };
        self.seconds.push(since.elapsed().as_secs_f64());
        match self.args.format {
            Format::Text if self.context.json => self.context.print(&self.object(text, &found)),
            Format::Text => self.context.print(&self.table(text, &found)),
            Format::Trec => self.context.print_bytes(self.run_of(&found).as_bytes()),
            Format::Spmat => {
                self.matrix.push(found.iter().map(|p| (p.label, p.score)).collect());
                Ok(())
            }
        }
    }
    fn complain(&mut self, text: &str, why: &str) -> Done {
        // A text without an answer keeps its row.
        self.matrix.extend((self.args.format == Format::Spmat).then(Vec::new));
        match self.context.json {
            true => self.context.print_json(&json!({"text": text, "error": why})),
            false => {
                note(&format!("{} {why}: {text}", self.context.style.error("error:")));
                Ok(())
            }
        }
    }
    fn object(&self, text: &str, found: &[Prediction]) -> String {
        let label = |p: &Prediction| {
            let (uid, title) = self.predictor.label(p.label);
            json!({"uid": uid, "title": title, "score": rounded(f64::from(p.score))})
        };
        json!({"text": text, "labels": found.iter().map(label).collect::<Vec<Value>>()}).to_string()
    }
    fn table(&self, text: &str, found: &[Prediction]) -> String {
        let row = |p: &Prediction| {
            let (score, (uid, title)) = (p.score, self.predictor.label(p.label));
            let uid = if uid == title { String::new() } else { format!("  ({uid})") };
            format!("  {score:>7.4}  {title}{uid}\n")
        };
        format!("{text}\n{}", found.iter().map(row).collect::<String>())
    }
    fn run_of(&self, found: &[Prediction]) -> String {
        let named = found.iter().map(|p| (self.predictor.label(p.label).0, p.score));
        trec_lines(&self.texts.to_string(), named)
    }
    /// With `-v`: how long answers took.
    fn tell_latency(&mut self) {
        self.seconds.sort_by(f64::total_cmp);
        let Some(last) = self.seconds.len().checked_sub(1) else { return };
        let at = |share: f64| self.seconds[(last as f64 * share).round() as usize] * 1000.0;
        let (n, p50, p99) = (last + 1, at(0.5), at(0.99));
        self.context.tell(&format!("{n} texts, p50 {p50:.2} ms, p99 {p99:.2} ms"));
    }
}
