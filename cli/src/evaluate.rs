//! `lode evaluate`: measures a model or a run on the queries of a data set.

use crate::context::Context;
use crate::early::Done;
use crate::misses;
use crate::observer::Terminal;
use crate::precision::{Encoding, IndexPrecision};
use crate::rankings::Files;
use crate::render::{metrics, percent, rounded, table};
use crate::score::By;
use clap::ValueEnum;
use data::metrics::{Interval, Metric, Ties, paired_bootstrap};
use data::{DataSet, Split, Verify};
use engine::{Engine, Error, Kind, Result, Stream};
use samplers::fusion::Weights;
use samplers::knn::Voting;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use train::evaluate::{Evaluation, LabelSet, OfBin, OfMember, Options, Queries, evaluate_with};
use train::index::Index;
use train::judge::Judge;
use train::scoring::{Members, Scoring};
use train::{Network, Overlay, RunDir, load, vocabulary};

/// What is measured where nothing is said.
const METRICS: &str = "P@1,P@3,P@5,nDCG@5,R@10,PSP@1,PSP@5";

/// Labels of a query that a cross-encoder reads.
const DEPTH: usize = 50;

/// Flags of `evaluate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model directory or a run
    model: PathBuf,
    /// The data set
    data: PathBuf,
    /// Whose queries
    #[arg(long, value_enum, default_value = "test")]
    split: Part,
    /// What to measure: P, nDCG, PSP, PSnDCG, R, MRR or C, each with its depth
    #[arg(long, value_name = "LIST", default_value = METRICS)]
    pub(crate) metrics: String,
    /// Let the N nearest training titles vote
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) knn: usize,
    /// What ranks the labels [default: fusion where there is a classifier, else text]
    #[arg(long, value_enum, value_name = "NAME")]
    score: Option<By>,
    /// Which labels are ranked and count: all, those seen in training, or those never seen
    #[arg(long, value_enum, default_value = "all")]
    labels: Labels,
    /// The constants of the propensity model
    #[arg(long, value_name = "A,B", default_value = "0.55,1.5", value_parser = pair)]
    propensity: (f64, f64),
    /// Show the N worst misses, and what was predicted
    #[arg(long, value_name = "N", default_value_t = 0)]
    errors: usize,
    /// Also by frequent, middling and rare labels
    #[arg(long)]
    by_frequency: bool,
    /// Also measure this model or run on the same queries, and say whether the difference is more than luck
    #[arg(long, value_name = "MODEL|RUN")]
    against: Option<PathBuf>,
    /// A cross-encoder's directory or run: it reads each query with the labels that rank highest, and orders them
    #[arg(long, value_name = "DIR|RUN")]
    rescore: Option<PathBuf>,
    /// Labels of each query that it reads
    #[arg(long, value_name = "N", default_value_t = DEPTH)]
    rescore_depth: usize,
    #[command(flatten)]
    encoding: Encoding,
    /// The numbers by which labels are searched
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    index_precision: IndexPrecision,
    /// Which of several labels with equal scores comes first; trec with --score text and without --knn
    #[arg(long, value_enum, default_value = "number", value_name = "RULE")]
    ties: Tie,
    /// Exit with 7 unless this is reached, for example P@1=0.60
    #[arg(long, value_name = "METRIC=VALUE", value_parser = threshold)]
    require: Vec<(String, f64)>,
    #[command(flatten)]
    files: Files,
}

impl Args {
    /// The flags as they are where none is typed.
    pub(crate) fn new(model: &Path, data: &Path) -> Args {
        Args {
            model: model.to_owned(),
            data: data.to_owned(),
            split: Part::Test,
            metrics: METRICS.to_owned(),
            knn: 0,
            score: None,
            labels: Labels::All,
            propensity: (0.55, 1.5),
            errors: 0,
            by_frequency: false,
            against: None,
            rescore: None,
            rescore_depth: DEPTH,
            encoding: Encoding::default(),
            index_precision: IndexPrecision::F32,
            ties: Tie::Number,
            require: vec![],
            files: Files::default(),
        }
    }
}

/// A split, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Queries kept apart
    Test,
    /// Queries trained on
    Train,
}

impl Part {
    pub(crate) fn split(self) -> Split {
        if self == Part::Test { Split::Test } else { Split::Train }
    }
}

/// Which labels, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Labels {
    /// All labels
    All,
    /// Labels with a training query
    Seen,
    /// Labels without one
    Unseen,
}

/// Who comes first of several with equal scores, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tie {
    /// The label with the smaller number
    Number,
    /// The label with the larger id, as trec_eval has it
    Trec,
}

fn pair(text: &str) -> Result<(f64, f64), String> {
    let both = text.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    both.ok_or_else(|| "two numbers, for example 0.55,1.5".to_owned())
}

fn threshold(text: &str) -> Result<(String, f64), String> {
    let both = text.split_once('=').and_then(|(m, v)| Some((m.trim().to_owned(), v.trim().parse().ok()?)));
    both.ok_or_else(|| "a metric and a fraction, for example P@1=0.60".to_owned())
}

/// Measures.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let mut wanted = Metric::list(&args.metrics)?;
    let demands = demands(args)?;
    if args.rescore_depth == 0 {
        return Err(Error::input("--rescore-depth must be at least 1").into());
    }
    for (metric, _) in &demands {
        if !wanted.contains(metric) {
            wanted.push(*metric);
        }
    }
    let data = DataSet::open(&args.data, Verify::Full)?;
    let split = args.split.split();
    let files = args.files.begin(&data, split)?;
    let labels = match args.labels {
        Labels::All => LabelSet::All,
        Labels::Seen => LabelSet::Seen,
        Labels::Unseen => LabelSet::Unseen,
    };
    let (knn, propensity, search) = (args.knn, args.propensity, args.index_precision.search());
    let depth = misses::SHOWN.max(args.files.depth());
    let ties = if args.ties == Tie::Trec { Ties::Trec } else { Ties::Number };
    let judge = args.rescore.as_deref().map(Judge::read).transpose()?;
    let rescore = judge.map(|judge| (Arc::new(judge), args.rescore_depth));
    let options = Options {
        metrics: wanted,
        knn,
        labels,
        propensity,
        depth,
        search,
        ties,
        rescore,
        ..Options::default()
    };
    let measure = |path: &Path| measure(path, args, &data, split, &options, context);
    let found = measure(&args.model)?;
    files.write(&found.rankings, &data, split)?;
    let other = match &args.against {
        Some(path) => Some(Against::new(path, &found, &measure(path)?)),
        None => None,
    };
    if context.json {
        let mut all = object(&found, &data, split, args);
        all.extend(other.map(|o| ("against".to_owned(), o.object())));
        context.print_json(&all)?;
    } else {
        context.print(&text(&found, &data, split, args))?;
        other.map_or(Ok(()), |o| context.print(&o.text()))?;
    }
    Ok(check(&found, &demands)?)
}

/// What is measured is what was trained on: labels that were added or removed since are told of.
fn say_overlay(run: &Path, data: &DataSet, context: &Context) {
    // One that cannot be read is a matter of `predict`.
    let Ok(overlay) = Overlay::open(&RunDir::at(run), data) else { return };
    if !overlay.is_empty() {
        let (added, removed, run) = (overlay.added().len(), overlay.removed().len(), run.display());
        context.say(&format!(
            "since training {added} were added to the labels of {run} and {removed} removed (`lode index {run}`): \
             measured are those of the data set"
        ));
    }
}

/// A model or run that is open to be measured, and how.
pub(crate) struct Subject {
    pub(crate) engine: Engine,
    pub(crate) network: Network,
    pub(crate) index: Index<'static>,
    pub(crate) options: Options,
}

impl Subject {
    /// Opens one and embeds the labels, and the training titles where they are wanted.
    pub(crate) fn open(
        path: &Path,
        (args, options): (&Args, &Options),
        data: &DataSet,
        with_titles: bool,
        (context, observer): (&Context, &mut Terminal),
    ) -> Result<Subject> {
        say_overlay(path, data, context);
        let engine = context.engine()?;
        let inference = args.encoding.open(context, &engine)?;
        let (engine, network) = (inference.engine(&engine), load::network_at(path, &engine, &inference)?);
        vocabulary::demand_same(&network, path, data)?;
        let classifier = load::classifier(path, data)?;
        let score = load::score(args.score.map(By::score), options.knn, classifier.is_some(), path)?;
        let held_out = load::held_out(path, data)?;
        let options = Options { held_out, score, ..options.clone() };
        let index = Index::build(&engine, &network, data, with_titles, observer)?;
        let index = index.with_classifier(classifier)?.ready(&engine, options.search);
        Ok(Subject { engine, network, index, options })
    }
}

/// Measures one model or run.
pub(crate) fn measure(
    path: &Path,
    args: &Args,
    data: &DataSet,
    split: Split,
    options: &Options,
    context: &Context,
) -> Result<Evaluation> {
    let mut observer = Terminal::new(context);
    let open = Subject::open(path, (args, options), data, options.knn > 0, (context, &mut observer))?;
    let Subject { engine, network, index, options } = &open;
    let queries = Queries { split, rows: None };
    let found = evaluate_with(engine, network, index, data, queries, options, &mut observer)?;
    observer.finish();
    tell(&found.scoring, context);
    Ok(found)
}

/// With `-v`: what was fitted on held-out queries.
fn tell(scoring: &Scoring, context: &Context) {
    match scoring {
        Scoring::Text(Some(Voting { nearest, power, weight })) => {
            context
                .tell(&format!("votes: {nearest} near titles, cosine to the power {power}, weight {weight}"));
        }
        Scoring::Members(Members { weights, nearest, .. }) => {
            let Weights { classifier, text, votes, share } = weights;
            let near = match nearest {
                0 => String::new(),
                _ => format!(", votes of {nearest} near titles {votes}"),
            };
            context.tell(&format!("weights: classifier {classifier}, text {text}{near}, tree {share}"));
        }
        Scoring::Text(None) => {}
    }
}

/// Bootstrap samples of a comparison.
const RESAMPLES: usize = 10_000;

/// P@1 beside that of another model, query by query.
struct Against {
    name: String,
    p_at_1: f64,
    interval: Interval,
}

impl Against {
    fn new(path: &Path, found: &Evaluation, other: &Evaluation) -> Against {
        let interval = paired_bootstrap(&found.hits, &other.hits, RESAMPLES, Stream::new(0, 0));
        let p_at_1 = other.hits.iter().sum::<f64>() / other.hits.len().max(1) as f64;
        Against { name: path.display().to_string(), p_at_1, interval }
    }
    fn object(&self) -> Value {
        let Interval { difference, low, high } = self.interval;
        json!({
            "model": self.name, "P@1": rounded(self.p_at_1),
            "difference": rounded(difference), "low": rounded(low), "high": rounded(high),
        })
    }
    fn text(&self) -> String {
        let points = |x: f64| format!("{:+.2}", 100.0 * x);
        let Interval { difference, low, high } = self.interval;
        format!(
            "\nagainst {} (P@1 {}): {} points of P@1, 95 % interval {} to {} (paired bootstrap)",
            self.name,
            percent(self.p_at_1),
            points(difference),
            points(low),
            points(high)
        )
    }
}

fn demands(args: &Args) -> Result<Vec<(Metric, f64)>> {
    args.require.iter().map(|(name, value)| Ok((name.parse()?, *value))).collect()
}

/// Every threshold must be reached.
fn check(found: &Evaluation, demands: &[(Metric, f64)]) -> Result<()> {
    for (metric, wanted) in demands {
        let value = found.metrics.iter().find(|(m, _)| m == metric).map_or(0.0, |(_, v)| *v);
        if value < *wanted {
            return Err(Error::new(
                Kind::Threshold,
                format!("{metric} is {value:.4}, at least {wanted} is required"),
            ));
        }
    }
    Ok(())
}

fn object(found: &Evaluation, data: &DataSet, split: Split, args: &Args) -> Map<String, Value> {
    let mut all = metrics(&found.metrics);
    if !found.members.is_empty() {
        let member = |(name, values): &OfMember| ((*name).to_owned(), Value::Object(metrics(values)));
        all.insert("members".into(), Value::Object(found.members.iter().map(member).collect()));
    }
    if args.by_frequency {
        let bin = |(bin, values, queries): &OfBin| {
            let mut values = metrics(values);
            values.insert("queries".into(), (*queries).into());
            (bin.name().to_owned(), Value::Object(values))
        };
        all.insert("by_frequency".into(), Value::Object(found.by_frequency.iter().map(bin).collect()));
    }
    if args.errors > 0 {
        all.insert("errors".into(), misses::objects(found, data, split, args.errors));
    }
    all
}

fn text(found: &Evaluation, data: &DataSet, split: Split, args: &Args) -> String {
    let bins: &[_] = if args.by_frequency { &found.by_frequency } else { &[] };
    let all = if found.members.is_empty() { "all" } else { "fusion" };
    let mut columns = vec![(all, &found.metrics, found.hits.len())];
    columns.extend(found.members.iter().map(|(name, values)| (*name, values, found.hits.len())));
    columns.extend(bins.iter().map(|(bin, values, queries)| (bin.name(), values, *queries)));
    let mut rows = vec![[String::new()].into_iter().chain(columns.iter().map(|c| c.0.to_owned())).collect()];
    for (i, (metric, _)) in found.metrics.iter().enumerate() {
        let values = columns.iter().map(|(_, values, _)| percent(values[i].1));
        rows.push([metric.to_string()].into_iter().chain(values).collect());
    }
    let queries = columns.iter().map(|(.., queries)| queries.to_string());
    rows.push(["queries".to_owned()].into_iter().chain(queries).collect::<Vec<_>>());
    if columns.len() == 1 {
        rows.remove(0);
    }
    let mut shown = table(&rows);
    if args.errors > 0 {
        shown.push('\n');
        shown.push_str(&misses::text(found, data, split, args.errors));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_threshold_is_told_and_a_reached_one_is_not() {
        let p1: Metric = "P@1".parse().unwrap();
        let found = Evaluation {
            metrics: vec![(p1, 0.5)],
            by_frequency: vec![],
            rankings: vec![],
            hits: vec![],
            scoring: Scoring::default(),
            members: vec![],
        };
        assert!(check(&found, &[(p1, 0.5)]).is_ok());
        let error = check(&found, &[(p1, 0.51)]).expect_err("missed");
        assert_eq!(error.kind(), Kind::Threshold);
        assert!(pair("1;2").is_err() && threshold("P@1").is_err());
        assert_eq!(threshold("P@1=0.6"), Ok(("P@1".into(), 0.6)));
    }
}
