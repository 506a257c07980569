//! `lode mine`: hard negatives for every query of a data set, as JSON lines for this program and for others.

mod format;

use crate::context::Context;
use crate::early::{Done, Early};
use crate::evaluate::Part;
use crate::observer::Terminal;
use crate::precision::Encoding;
use crate::quantity::{Bytes, count};
use crate::render::{note, percent, rounded, table};
use crate::whole::Whole;
use clap::ValueEnum;
use data::{DataSet, Verify};
use engine::Kind;
use format::{Format, Lines};
use samplers::mining::{Rules, Sampling};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use train::judge::Judge;
use train::mining::{Mining, Models, Options, Statistics};
use train::{Event, Observer, load, vocabulary};

const EXAMPLES: &str = "\
Examples:
  lode mine run data.lode --out hard.jsonl --relative-margin 0.05 --num-negatives 5
  lode mine MiniLM beir.lode --split test --out triplets.jsonl --format triplets
An interrupted mining goes on where it was when the same command is given again.";

/// Flags of `mine`. The rules and their defaults are those of `mine_hard_negatives` in sentence-transformers.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A model directory or a run
    model: PathBuf,
    /// The data set; its labels are what is searched
    data: PathBuf,
    /// The file to write, JSON lines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What a line is
    #[arg(long, value_enum, default_value = "lode", value_name = "NAME")]
    format: Format,
    /// Also write scores, in formats that have a place for them (`lode` always does)
    #[arg(long)]
    scores: bool,
    /// Whose queries
    #[arg(long, value_enum, default_value = "train")]
    split: Part,
    /// A cross-encoder's directory, or a run that trained one: it reads each query with each of its candidates and
    /// positives, and its scores are those that the rules ask
    #[arg(long, value_name = "DIR|RUN")]
    rescore: Option<PathBuf>,
    #[command(flatten)]
    encoding: Encoding,
    #[command(flatten)]
    rules: RuleArgs,
    /// Put this before each query, instead of the prompt that the data set was prepared with
    #[arg(long, value_name = "TEXT", default_value = "")]
    query_prompt: String,
    /// The same before each label
    #[arg(long, value_name = "TEXT", default_value = "")]
    corpus_prompt: String,
    /// Stay below: 512M, 2G. The corpus lies on the disk, in FILE.mining until all is done, or in --cache
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    max_memory: Bytes,
    /// Keep the embeddings of the corpus in this folder: whoever mines the same data set by the same model and
    /// --corpus-prompt again, by other rules or for its other split, finds them there
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// The rules, as they are typed.
#[derive(clap::Args)]
#[command(next_help_heading = "Rules, in the order in which they are asked")]
struct RuleArgs {
    /// Leave out a label that scores more than the lowest positive less this
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    margin: Option<f32>,
    /// Leave out a label that scores more than the lowest positive less this part of it; 0.05 is a good one
    #[arg(long, value_name = "PART", value_parser = finite)]
    relative_margin: Option<f32>,
    /// Leave out a label that scores more
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    max_score: Option<f32>,
    /// Leave out a label that scores less
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    min_score: Option<f32>,
    /// Consider so many of the best that are left [default: what is wanted and the most positives of a query; with a
    /// margin or --max-score ten times what is wanted]
    #[arg(long, value_name = "N")]
    range_max: Option<usize>,
    /// Of these pass over so many of the best
    #[arg(long, value_name = "N", default_value_t = 0)]
    range_min: usize,
    /// Negatives of a query
    #[arg(long, value_name = "N", default_value_t = 3)]
    num_negatives: usize,
    /// Which of those that are left
    #[arg(long, value_enum, default_value = "top")]
    sampling: Which,
    /// What `--sampling random` draws by
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Leave positives in the ranking, which no rule takes out: to measure rerankers, not to train
    #[arg(long)]
    include_positives: bool,
}

/// Which negatives, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The best
    Top,
    /// Any
    Random,
}

fn finite(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|x: &f32| x.is_finite());
    number.ok_or_else(|| "a number, for example 0.05".to_owned())
}

impl RuleArgs {
    fn rules(&self) -> Rules {
        Rules {
            range_min: self.range_min,
            range_max: self.range_max,
            max_score: self.max_score,
            min_score: self.min_score,
            absolute_margin: self.margin,
            relative_margin: self.relative_margin,
            num_negatives: self.num_negatives,
            sampling: if self.sampling == Which::Top { Sampling::Top } else { Sampling::Random },
            include_positives: self.include_positives,
        }
    }
}

/// Mines.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    args.format.check(args.rules.include_positives)?;
    let data = DataSet::open(&args.data, Verify::Full)?;
    let engine = context.engine()?;
    let inference = args.encoding.open(context, &engine)?;
    let (engine, network) = (inference.engine(&engine), load::network_at(&args.model, &engine, &inference)?);
    vocabulary::demand_same(&network, &args.model, &data)?;
    let split = args.split.split();
    let mut lines = Lines::of(&data, split, args.format, args.scores, &args.rules.rules())?;
    let mut out = Whole::create(&args.out)?;
    let options = Options {
        split,
        rules: args.rules.rules(),
        seed: args.rules.seed,
        query_prompt: args.query_prompt.clone(),
        corpus_prompt: args.corpus_prompt.clone(),
        memory: args.max_memory.0,
        cache: args.cache.clone(),
    };
    if load::labels_rest(&args.model)? {
        let what = "the encoder of this run learned queries alone, and labels are embedded by it here: the run itself \
                    ranks by label vectors that rest";
        Terminal::new(context).event(&Event::Warning(what));
    }
    let judge = args.rescore.as_deref().map(Judge::read).transpose()?;
    let models = Models { network: &network, judge: judge.as_ref() };
    let mining = Mining::new(&engine, models, &data, options, &folder(&args.out))?;
    let mut observer = Terminal::new(context);
    context.stop.is_heard();
    let ended = mining.run(&mut observer);
    observer.finish();
    if let Err(error) = ended {
        return Err(interrupted(error, context));
    }
    let statistics = mining.rows(&mut |mined| lines.put(mined, &mut out))?;
    out.commit()?;
    mining.finish()?;
    if context.json {
        return context.print_json(&object(&statistics, &args.out, lines.written()));
    }
    context.print(&told(&statistics))?;
    context.say(&format!("{}: {} lines", args.out.display(), count(lines.written())));
    Ok(())
}

/// Where what is done so far lies.
fn folder(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".mining");
    out.with_file_name(name)
}

fn interrupted(error: engine::Error, context: &Context) -> Early {
    match (error.kind(), context.stop.requested()) {
        (Kind::Interrupted, Some(signal)) => {
            note("interrupted: the same command goes on from here");
            Early::Interrupted(signal)
        }
        _ => Early::Failed(error),
    }
}

/// The statistics as a table.
fn told(s: &Statistics) -> String {
    let row = |name: &str, n: u64, more: String| vec![name.to_owned(), count(n), more];
    let share = |n: u64, of: u64| percent(n as f64 / of.max(1) as f64);
    let queries = s.queries as u64;
    let mean = |n: u64| format!("{:.1} a query", n as f64 / s.queries as f64);
    let repeated =
        format!("{} with an earlier one's text, {} without a label", s.queries_repeated, s.queries_without);
    let mut rows = vec![row("queries", queries, repeated)];
    rows.push(row("corpus", s.corpus as u64, format!("range-max {}", s.range_max)));
    rows.extend(s.skipped.iter().map(|&(reason, n)| row(&format!("out by {}", reason.name()), n, mean(n))));
    rows.push(row("to choose from", s.survivors, mean(s.survivors)));
    rows.push(row("negatives", s.negatives, mean(s.negatives)));
    rows.push(row(
        "fewer than wanted",
        s.fewer as u64,
        format!("{} of the queries", share(s.fewer as u64, queries)),
    ));
    rows.push(row("none", s.none as u64, format!("{} of the queries", share(s.none as u64, queries))));
    let suspects = format!("{} of the negatives, above the lowest positive", share(s.suspects, s.negatives));
    rows.push(row("suspects", s.suspects, suspects));
    let [positive, negative] = [s.positive_mean(), s.negative_mean()];
    table(&rows) + &format!("mean score: positives {positive:.4}, negatives {negative:.4}\n")
}

/// The statistics as an object.
fn object(s: &Statistics, out: &Path, lines: u64) -> Value {
    let skipped: Map<String, Value> =
        s.skipped.iter().map(|&(r, n)| (r.name().to_owned(), n.into())).collect();
    json!({
        "out": out.display().to_string(),
        "lines": lines,
        "queries": s.queries,
        "queries_repeated": s.queries_repeated,
        "queries_without_labels": s.queries_without,
        "corpus": s.corpus,
        "range_max": s.range_max,
        "skipped": skipped,
        "survivors": s.survivors,
        "positives": s.positives,
        "negatives": s.negatives,
        "queries_with_fewer": s.fewer,
        "queries_with_none": s.none,
        "suspects": s.suspects,
        "queries_with_suspects": s.suspected,
        "positive_mean": rounded(s.positive_mean()),
        "negative_mean": rounded(s.negative_mean()),
    })
}
