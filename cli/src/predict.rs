//! `lode predict`: answers texts with labels. From stdin it is a service: a line in, a line out, for as long
//! as lines come.

use crate::context::Context;
use crate::early::{Done, Early};
use crate::observer::Terminal;
use crate::precision::{IndexPrecision, Precision};
use crate::quantity::span;
use crate::render::{note, rounded};
use crate::score::By;
use crate::vocabulary;
use data::{DataSet, Verify};
use engine::{Engine, Error, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;
use train::RunDir;
use train::predict::{How, Prediction, Predictor};

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
    /// The numbers that the encoder's linear layers multiply
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    precision: Precision,
    /// The numbers by which labels are searched
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    index_precision: IndexPrecision,
    /// What ranks the labels [default: fusion where there is a classifier, else text]
    #[arg(long, value_enum, value_name = "NAME")]
    score: Option<By>,
    /// Check every byte of the data set first
    #[arg(long)]
    verify: bool,
}

/// Predicts.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    if args.k == 0 {
        return Err(Error::input("--k must be at least 1").into());
    }
    // A missing file is told before a second is spent on the model.
    let input = input(args)?;
    let predictor = open(args, &context.engine(), context)?;
    let cold = context.started.elapsed().as_secs_f64();
    context.tell(&format!("cold start {}", span(cold)));
    let mut service = Service { predictor, k: args.k, context, seconds: vec![] };
    match input {
        Some(input) => service.lines(input, args.file.as_deref().unwrap_or(Path::new("-")))?,
        None => args.text.iter().try_for_each(|text| service.answer(text.as_bytes()))?,
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
        precision: args.precision.reduced(context, engine),
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
    k: usize,
    context: &'a Context,
    /// How long each answer took.
    seconds: Vec<f64>,
}

impl Service<'_> {
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
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) => {
                let why = format!("invalid UTF-8 at byte {}", e.valid_up_to() + 1);
                return self.complain(&String::from_utf8_lossy(line), &why);
            }
        };
        let found = match self.predictor.predict(&[text], self.k) {
            Ok(found) => found.into_iter().next().unwrap_or_default(),
            Err(e) => return self.complain(text, &e.to_string()),
        };
        let shown = if self.context.json { self.object(text, &found) } else { self.table(text, &found) };
        self.seconds.push(since.elapsed().as_secs_f64());
        self.context.print(&shown)
    }
    fn complain(&self, text: &str, why: &str) -> Done {
        match self.context.json {
            true => self.context.print_json(&json!({"text": text, "error": why})),
            false => {
                note(&format!("{} {why}: {text}", self.context.style.error("error:")));
                Ok(())
            }
        }
    }
    fn object(&self, text: &str, found: &[Prediction]) -> String {
        let labels = self.predictor.data().labels();
        let label = |p: &Prediction| {
            let l = p.label as usize;
            json!({"uid": labels.uid(l), "title": labels.title(l), "score": rounded(f64::from(p.score))})
        };
        json!({"text": text, "labels": found.iter().map(label).collect::<Vec<Value>>()}).to_string()
    }
    fn table(&self, text: &str, found: &[Prediction]) -> String {
        let labels = self.predictor.data().labels();
        let row = |p: &Prediction| {
            let (l, score) = (p.label as usize, p.score);
            let (title, uid) = (labels.title(l), labels.uid(l));
            let uid = if uid == title { String::new() } else { format!("  ({uid})") };
            format!("  {score:>7.4}  {title}{uid}\n")
        };
        format!("{text}\n{}", found.iter().map(row).collect::<String>())
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
