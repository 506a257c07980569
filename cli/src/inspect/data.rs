//! `lode inspect data`: what a data set holds, as the trainer sees it, how much of the test stands in training, and how
//! hard it is.

mod contaminated;
mod hardness;

use crate::context::{Context, refused};
use crate::early::Done;
use crate::evaluate::Part;
use crate::quantity::count;
use crate::render::{rounded, table};
use data::{DataSet, Prompts, Split, Texts, Verify};
use engine::{Error, Result, Stream};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Flags of `inspect data`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode inspect data finna.lode
  lode inspect data finna.lode --rows 20 --find lighting
  lode inspect data finna.lode --overlap --run run    what of the test stands in training, and what that is worth
  lode inspect data finna.lode --hardness --run run   which titles and labels are hard, and how hard to the run")]
pub(crate) struct Args {
    /// The data set that `lode prepare` wrote
    data: PathBuf,
    /// Rows to show, drawn at random
    #[arg(long, value_name = "N", default_value_t = 3)]
    rows: usize,
    /// Show rows whose text or labels have these letters, in order
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    /// Of which split rows are shown
    #[arg(long, value_enum, value_name = "SPLIT", default_value = "train")]
    split: Part,
    /// Another seed shows other rows
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Measure how much of each test query stands in training queries, by n-grams of words
    #[arg(long, group = "measure")]
    overlap: bool,
    /// Score how hard each test title and each label is, without a model and, with --run, by one
    #[arg(long, group = "measure")]
    hardness: bool,
    /// Words of an n-gram; a shorter text is one n-gram of its own length
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    n: u32,
    /// Words between two matches that token-extend passes over
    #[arg(long, value_name = "N", default_value_t = 4)]
    skip: u32,
    /// With --overlap or --hardness: a model or run, to say what it makes of contaminated or hard queries
    #[arg(long, value_name = "RUN|MODEL", requires = "measure")]
    run: Option<PathBuf>,
    /// With --overlap: write the scores of every test query, as lines with tabs; with --hardness of every label, too
    #[arg(long, value_name = "FILE", requires = "measure")]
    out: Option<PathBuf>,
}

/// Labels of each end that are shown.
const ENDS: usize = 8;
/// Bounds of the table of frequencies: up to so many training queries.
const FREQUENCIES: [u32; 7] = [0, 1, 2, 5, 20, 100, u32::MAX];

/// Looks.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let data = DataSet::open(&args.data, Verify::Full)?;
    if args.overlap {
        return contaminated::run(args, &data, context);
    }
    if args.hardness {
        return hardness::run(args, &data, context);
    }
    let rows = rows(args, &data)?;
    if context.json {
        return context.print_json(&object(&data, &rows, args.split.split())?);
    }
    let (labels, frequency) = (data.labels(), data.label_frequency());
    let mut text = summary(&data);
    if !data.prompts().is_empty() {
        let Prompts { query, label } = data.prompts();
        text += &format!("before queries stands `{query}`, before labels `{label}`\n");
    }
    text += &format!("\nTokens of a text (at most {} are kept)\n{}", data.max_len(), table(&lengths(&data)));
    text += &format!("\nTraining queries of a label\n{}", table(&frequencies(&frequency)));
    let (head, tail) = ends(&frequency);
    let named =
        |l: &u32| format!("{} ({})", labels.title(*l as usize), count(u64::from(frequency[*l as usize])));
    let joined = |ids: &[u32]| ids.iter().map(named).collect::<Vec<_>>().join(" · ");
    text += &format!("\nmost frequent: {}\nrarest with one: {}\n", joined(&head), joined(&tail));
    for &row in &rows {
        text += &format!("\n{}", shown(&data, args.split.split(), row)?);
    }
    context.print(&text)
}

/// What `prepare` said, without its rows.
fn summary(data: &DataSet) -> String {
    let mut summary = data.summary().clone();
    summary.examples.clear();
    format!("{} ({:016x})\n{summary}", data.source(), data.fingerprint())
}

/// The rows to show.
fn rows(args: &Args, data: &DataSet) -> Result<Vec<usize>> {
    let (split, texts) = (args.split.split(), data.queries(args.split.split()));
    let Some(find) = &args.find else {
        let mut all: Vec<u32> = (0..texts.len() as u32).collect();
        Stream::new(args.seed, 0).shuffle(&mut all);
        all.truncate(args.rows);
        return Ok(all.into_iter().map(|row| row as usize).collect());
    };
    let find = find.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&find);
    let labels = data.labels();
    let fits = |&row: &usize| {
        has(&texts.text(row)) || data.positives(split, row).iter().any(|&l| has(labels.title(l as usize)))
    };
    let found: Vec<usize> = (0..texts.len()).filter(fits).take(args.rows).collect();
    match found.is_empty() {
        true => Err(refused(format!("no row of this split has `{find}`"))),
        false => Ok(found),
    }
}

/// A row as the trainer sees it.
fn shown(data: &DataSet, split: Split, row: usize) -> Result<String> {
    let (texts, labels) = (data.queries(split), data.labels());
    let names = data.positives(split, row).iter().map(|&l| labels.title(l as usize)).collect::<Vec<_>>();
    let content = texts.content(row);
    let content = if content.is_empty() { String::new() } else { format!("\n  {content}") };
    Ok(format!(
        "{} [{}]{content}\n  tokens: {}\n  labels: {}\n",
        texts.title(row),
        texts.uid(row),
        tokens(data, texts, row)?.join(" "),
        names.join(" | ")
    ))
}

/// The tokens of a text, as text.
fn tokens(data: &DataSet, texts: Texts<'_>, row: usize) -> Result<Vec<String>> {
    let ids: Vec<u32> = texts.tokens(row).collect();
    Ok(data.tokenizer()?.decode_tokens(&ids))
}

/// How long texts are: mean, median, most, and how many are as long as a text may be.
fn lengths(data: &DataSet) -> Vec<Vec<String>> {
    let head = ["", "texts", "mean", "median", "95 %", "most", "at the limit"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let all = [
        ("train", data.queries(Split::Train)),
        ("test", data.queries(Split::Test)),
        ("labels", data.labels()),
    ];
    for (name, texts) in all {
        let mut lengths: Vec<usize> = (0..texts.len()).map(|i| texts.token_count(i)).collect();
        lengths.sort_unstable();
        let Some(&most) = lengths.last() else { continue };
        let at = |share: f64| lengths[(share * (lengths.len() - 1) as f64).round() as usize].to_string();
        let full = lengths.iter().filter(|&&n| n >= data.max_len()).count();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        rows.push(vec![
            name.to_owned(),
            count(texts.len() as u64),
            format!("{mean:.1}"),
            at(0.5),
            at(0.95),
            most.to_string(),
            count(full as u64),
        ]);
    }
    rows
}

/// How many labels have how many training queries, and which share of the pairs is theirs.
fn frequencies(frequency: &[u32]) -> Vec<Vec<String>> {
    let pairs: u64 = frequency.iter().map(|&n| u64::from(n)).sum();
    let mut rows = vec![["queries", "labels", "of the labels", "of the pairs"].map(str::to_owned).to_vec()];
    let mut from = 0;
    for to in FREQUENCIES {
        let own = || frequency.iter().filter(|&&n| n >= from && n <= to);
        let name = match (from, to) {
            (from, u32::MAX) => format!("{} and more", count(u64::from(from))),
            (from, to) if from == to => to.to_string(),
            (from, to) => format!("{from} to {to}"),
        };
        let of_pairs: u64 = own().map(|&n| u64::from(n)).sum();
        let share = |part: u64, whole: u64| format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64);
        rows.push(vec![
            name,
            count(own().count() as u64),
            share(own().count() as u64, frequency.len() as u64),
            share(of_pairs, pairs),
        ]);
        from = to.saturating_add(1);
    }
    rows
}

/// The most frequent labels, and some that have the fewest training queries but have one.
fn ends(frequency: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..frequency.len() as u32).filter(|&l| frequency[l as usize] > 0).collect();
    order.sort_by_key(|&l| (std::cmp::Reverse(frequency[l as usize]), l));
    let head = order.iter().copied().take(ENDS).collect();
    (head, order.into_iter().rev().take(ENDS).collect())
}

fn object(data: &DataSet, rows: &[usize], split: Split) -> Result<Value> {
    let (texts, labels, frequency) = (data.queries(split), data.labels(), data.label_frequency());
    let named = |ids: Vec<u32>| -> Vec<Value> {
        let one = |l: u32| {
            json!({"uid": labels.uid(l as usize), "title": labels.title(l as usize),
            "queries": frequency[l as usize]})
        };
        ids.into_iter().map(one).collect()
    };
    let row = |&row: &usize| -> Result<Value> {
        let own = data.positives(split, row).iter();
        Ok(json!({
            "uid": texts.uid(row),
            "text": texts.text(row),
            "tokens": tokens(data, texts, row)?,
            "labels": own.map(|&l| labels.title(l as usize)).collect::<Vec<_>>(),
        }))
    };
    let (head, tail) = ends(&frequency);
    Ok(json!({
        "source": data.source(),
        "fingerprint": format!("{:016x}", data.fingerprint()),
        "max_len": data.max_len(),
        "prompts": data.prompts(),
        "summary": data.summary(),
        "head": named(head),
        "tail": named(tail),
        "rows": rows.iter().map(row).collect::<Result<Vec<_>>>()?,
    }))
}

/// Numbers by name.
fn named(names: [&str; 4], values: [f64; 4]) -> Map<String, Value> {
    names.into_iter().map(str::to_owned).zip(values.map(rounded)).collect()
}

/// There is nothing to measure without a test split.
fn demand_test(data: &DataSet) -> Result<()> {
    match data.queries(Split::Test).is_empty() {
        true => Err(Error::input("this data set has no test queries").at(data.path())),
        false => Ok(()),
    }
}
