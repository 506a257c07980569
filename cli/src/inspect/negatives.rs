//! `lode inspect negatives`: what training queries meet as negatives, as a list or as a page to click through.
//!
//! A pair that is marked is written to a file that `lode train --exclude` reads.

use super::serve::{Answer, Ask, Site, random};
use crate::context::{Context, refused};
use crate::early::{Done, Early};
use crate::observer::Terminal;
use crate::quantity::{Bytes, count};
use crate::render::{rounded, table};
use crate::whole::Whole;
use data::{DataSet, Split};
use engine::{Error, Kind, Result};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use train::negatives_seen::{Look, NEAR, Negative, NegativesSeen, Round};

/// Flags of `inspect negatives`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode inspect negatives run                    the most suspicious pairs, and how many there are
  lode inspect negatives run --json             every query with its negatives, a line each
  lode inspect negatives run --mark 2 --queries 1000000      writes all pairs with both signs to run/exclude.tsv
  lode inspect negatives run --serve            a page to click through; marked pairs go to run/exclude.tsv
  lode train data.lode --exclude run/exclude.tsv --out again")]
pub(crate) struct Args {
    /// The run
    run: PathBuf,
    /// Show a page on this machine, at this port or at one that is free
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "0")]
    serve: Option<u16>,
    /// Training queries to look at, drawn by the run's seed where there are more
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    queries: u32,
    /// Negatives of each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// The newest checkpoints to look at; a run keeps save.keep of them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Mark every pair that has so many signs or more, and write them
    #[arg(long, value_name = "SIGNS", value_parser = clap::value_parser!(u32).range(1..=2))]
    mark: Option<u32>,
    /// Where marked pairs are written, and read from at the start [default: exclude.tsv in the run]
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,
    /// Refuse to look if that needs more memory, for example 16G
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
}

/// Pairs in the list.
const LISTED: usize = 20;
/// Queries on a page.
const PAGE: usize = 20;

/// Looks.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    if args.serve.is_some() && context.json {
        return Err(refused("--serve shows a page, --json prints: one of the two").into());
    }
    let look =
        Look { queries: args.queries as usize, negatives: args.k as usize, rounds: args.rounds as usize };
    let mut observer = Terminal::limited(context, args.max_memory);
    context.stop.is_heard();
    let seen = NegativesSeen::of(&context.engine()?, &args.run, look, &mut observer);
    observer.finish();
    let seen = match seen {
        Err(e) if e.kind() == Kind::Interrupted => {
            return Err(Early::Interrupted(context.stop.requested().unwrap_or(2)));
        }
        seen => seen?,
    };
    seen.warnings.iter().for_each(|text| context.say(text));
    let path = args.exclude.clone().unwrap_or_else(|| args.run.join("exclude.tsv"));
    let marks = Marks::read(&path, &seen.data)?;
    let mut shown = Shown { seen, marks, run: args.run.clone() };
    if let Some(signs) = args.mark {
        let marked = shown.mark_all(signs)?;
        context.say(&format!("{} pairs are new in {}", count(marked), path.display()));
    }
    if let Some(port) = args.serve {
        return serve(&mut shown, port, context);
    }
    if context.json {
        return (0..shown.seen.queries.len()).try_for_each(|i| context.print_json(&shown.query(i)));
    }
    context.print(&listing(&shown))
}

/// The page, until a signal.
fn serve(shown: &mut Shown, port: u16, context: &Context) -> Done {
    let site = Site::open(port)?;
    context.print(&site.address())?;
    context.say("the page is on this machine alone; Ctrl-C ends it");
    let nonce = random(16)?;
    let page = include_str!("negatives.html").replace("{nonce}", &nonce);
    site.serve(context, |ask| match (&*ask.path, &ask.posted) {
        ("", None) => Answer::Page(page.clone(), nonce.clone()),
        ("about", None) => Answer::Json(shown.about()),
        ("queries", None) => Answer::Json(shown.page(ask)),
        ("mark", Some(told)) => shown.mark(told).map_or_else(Answer::Refused, Answer::Json),
        _ => Answer::Unknown,
    })?;
    let marked = count(shown.marks.pairs.len() as u64);
    context.say(&format!("{marked} pairs are marked in {}", shown.marks.path.display()));
    Ok(())
}

/// Pairs that shall be no negatives, and their file.
struct Marks {
    path: PathBuf,
    /// Query and label, by number.
    pairs: BTreeSet<(u32, u32)>,
    /// Lines about other queries, and what is no pair: they stay as they are.
    others: Vec<String>,
    /// What the file held when it was last read or written; none where there was none.
    text: Option<String>,
}

impl Marks {
    fn read(path: &Path, data: &DataSet) -> Result<Marks> {
        let mut marks = Marks { path: path.to_owned(), pairs: BTreeSet::new(), others: vec![], text: None };
        marks.text = text_of(path)?;
        if marks.text.is_none() {
            return Ok(marks);
        }
        let ids = |texts: data::Texts<'_>| -> HashMap<String, u32> {
            (0..texts.len()).map(|i| (texts.uid(i).to_owned(), i as u32)).collect()
        };
        let (queries, labels) = (ids(data.queries(Split::Train)), ids(data.labels()));
        for line in marks.text.iter().flat_map(|text| text.lines()) {
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            let pair = match fields[..] {
                [query, label] => queries.get(query).zip(labels.get(label)),
                // As a run reads it: a score of 0 or less says that it is no pair.
                [query, label, score] if score.parse::<f64>().is_ok_and(|score| score > 0.0) => {
                    queries.get(query).zip(labels.get(label))
                }
                _ => None,
            };
            match pair {
                Some((&query, &label)) => {
                    marks.pairs.insert((query, label));
                }
                None => marks.others.push(line.to_owned()),
            }
        }
        Ok(marks)
    }
    /// Writes what is marked, whole or not at all.
    fn write(&mut self, data: &DataSet) -> Result<(), String> {
        if text_of(&self.path).map_err(|e| e.to_string())? != self.text {
            return Err(format!("{} was changed by somebody else: start again", self.path.display()));
        }
        let (queries, labels) = (data.queries(Split::Train), data.labels());
        let mut text: String = self.others.iter().flat_map(|line| [line, "\n"]).collect();
        for &(query, label) in &self.pairs {
            let (query, label) = (queries.uid(query as usize), labels.uid(label as usize));
            if [query, label].iter().any(|uid| uid.contains(['\t', '\n']) || uid.trim() != *uid) {
                return Err(format!("the ids `{query}` and `{label}` cannot stand in a line with tabs"));
            }
            text += &format!("{query}\t{label}\n");
        }
        if text.is_empty() {
            // A run refuses a file without a pair: somebody may have meant another one.
            if let Err(e) = std::fs::remove_file(&self.path).or_else(is_gone) {
                return Err(Error::io(&self.path, e).to_string());
            }
            self.text = None;
            return Ok(());
        }
        Whole::write(&self.path, &text).map_err(|e| e.to_string())?;
        self.text = Some(text);
        Ok(())
    }
}

fn is_gone(e: std::io::Error) -> std::io::Result<()> {
    if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) }
}

fn text_of(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// What is shown of a run.
struct Shown {
    seen: NegativesSeen,
    marks: Marks,
    run: PathBuf,
}

impl Shown {
    /// The negatives of query `i` in the newest round.
    fn newest(&self, i: usize) -> &[Negative] {
        self.seen.rounds.last().map_or(&[], |round| &round.queries[i].negatives)
    }
    fn is_marked(&self, i: usize, label: u32) -> bool {
        self.marks.pairs.contains(&(self.seen.queries[i], label))
    }
    fn about(&self) -> Value {
        let of_round = |round: &Round| {
            let signs = |least: u32| {
                let all = round.queries.iter().flat_map(|q| &q.negatives);
                all.filter(|n| n.suspicion() >= least).count()
            };
            json!({"step": round.step, "epoch": round.epoch, "met": rounded(round.met()),
                "one_sign": signs(1), "two_signs": signs(2)})
        };
        let rounds: Vec<Value> = self.seen.rounds.iter().map(of_round).collect();
        json!({
            "run": self.run,
            "data": self.seen.data.source(),
            "queries": self.seen.queries.len(),
            "queries_in_all": self.seen.data.queries(Split::Train).len(),
            "near_of": NEAR,
            "rounds": rounds,
            "marked": self.marks.pairs.len(),
            "file": self.marks.path,
        })
    }
    /// Everything about query `i`.
    fn query(&self, i: usize) -> Value {
        let (data, query) = (&self.seen.data, self.seen.queries[i]);
        let (queries, labels) = (data.queries(Split::Train), data.labels());
        let label = |id: u32| {
            let (uid, title) = (labels.uid(id as usize), labels.title(id as usize));
            (uid.to_owned(), title.to_owned())
        };
        let rounds = self.seen.rounds.iter().map(|round| {
            let of = &round.queries[i];
            let positives = of.positives.iter().map(|&(id, score)| {
                let (uid, title) = label(id);
                json!({"uid": uid, "title": title, "score": rounded(f64::from(score))})
            });
            let negatives = of.negatives.iter().map(|n| {
                let (uid, title) = label(n.label);
                json!({
                    "label": n.label, "uid": uid, "title": title, "score": rounded(f64::from(n.score)),
                    "margin": rounded(f64::from(n.margin)), "met": n.met, "near": n.near,
                    "suspicion": n.suspicion(), "marked": self.is_marked(i, n.label),
                })
            });
            json!({
                "step": round.step,
                "positives": positives.collect::<Vec<_>>(),
                "negatives": negatives.collect::<Vec<_>>(),
            })
        });
        json!({
            "query": query,
            "uid": queries.uid(query as usize),
            "text": queries.text(query as usize),
            "rounds": rounds.collect::<Vec<_>>(),
        })
    }
    /// A page of those queries that fit.
    fn page(&self, ask: &Ask) -> Value {
        let (text, least) = (ask.get("text").to_lowercase(), ask.get("signs").parse().unwrap_or(0));
        let (met, marked) = (ask.get("met") == "1", ask.get("marked") == "1");
        let texts = self.seen.data.queries(Split::Train);
        let labels = self.seen.data.labels();
        let fits = |i: usize, n: &Negative| {
            n.suspicion() >= least && (!met || n.met) && (!marked || self.is_marked(i, n.label))
        };
        let mut rows: Vec<usize> = (0..self.seen.queries.len())
            .filter(|&i| self.newest(i).iter().any(|n| fits(i, n)))
            .filter(|&i| {
                let own = texts.text(self.seen.queries[i] as usize).to_lowercase();
                let of_labels =
                    || self.newest(i).iter().map(|n| labels.title(n.label as usize).to_lowercase());
                text.is_empty() || own.contains(&text) || of_labels().any(|title| title.contains(&text))
            })
            .collect();
        let most = |i: usize, of: &dyn Fn(&Negative) -> f32| {
            self.newest(i).iter().filter(|n| fits(i, n)).map(of).fold(f32::NEG_INFINITY, f32::max)
        };
        match ask.get("sort") {
            "order" => {}
            "near" => rows.sort_by(|&a, &b| {
                let near = |n: &Negative| n.near as f32;
                most(b, &near).total_cmp(&most(a, &near)).then(a.cmp(&b))
            }),
            _ => rows.sort_by(|&a, &b| {
                let margin = |n: &Negative| n.margin;
                most(b, &margin).total_cmp(&most(a, &margin)).then(a.cmp(&b))
            }),
        }
        let from = ask.get("from").parse::<usize>().unwrap_or(0).min(rows.len());
        let page: Vec<Value> = rows.iter().skip(from).take(PAGE).map(|&i| self.query(i)).collect();
        json!({"total": rows.len(), "from": from, "page": PAGE, "queries": page})
    }
    /// Marks what has so many signs or more in the newest round, and writes the file; gives how many pairs are new.
    fn mark_all(&mut self, signs: u32) -> Result<u64> {
        let before = self.marks.pairs.len();
        for (i, &query) in self.seen.queries.iter().enumerate() {
            let Some(round) = self.seen.rounds.last() else { break };
            let suspected = round.queries[i].negatives.iter().filter(|n| n.suspicion() >= signs);
            self.marks.pairs.extend(suspected.map(|n| (query, n.label)));
        }
        self.marks.write(&self.seen.data).map_err(|why| Error::new(Kind::Io, why).at(&self.marks.path))?;
        Ok((self.marks.pairs.len() - before) as u64)
    }
    /// Marks a pair or takes its mark away, and writes the file.
    fn mark(&mut self, told: &Value) -> Result<Value, String> {
        let number = |key: &str| told[key].as_u64().and_then(|n| u32::try_from(n).ok());
        let pair = number("query").zip(number("label"));
        let known = pair.filter(|(query, label)| {
            self.seen.queries.binary_search(query).is_ok()
                && (*label as usize) < self.seen.data.labels().len()
        });
        let (Some(pair), Some(on)) = (known, told["on"].as_bool()) else {
            return Err("a mark names a query and a label that are shown".to_owned());
        };
        let before = self.marks.pairs.clone();
        if on {
            self.marks.pairs.insert(pair)
        } else {
            self.marks.pairs.remove(&pair)
        };
        if let Err(why) = self.marks.write(&self.seen.data) {
            self.marks.pairs = before;
            return Err(why);
        }
        Ok(json!({"marked": self.marks.pairs.len()}))
    }
}

/// The rounds, and the pairs that most speaks for.
fn listing(shown: &Shown) -> String {
    let about = shown.about();
    let head = ["step", "epoch", "met in training", "one sign", "two signs"];
    let mut rounds = vec![head.map(str::to_owned).to_vec()];
    for round in about["rounds"].as_array().into_iter().flatten() {
        let number = |key: &str| count(round[key].as_u64().unwrap_or(0));
        let met = format!("{:.1} %", 100.0 * round["met"].as_f64().unwrap_or(0.0));
        rounds.push(vec![number("step"), number("epoch"), met, number("one_sign"), number("two_signs")]);
    }
    let mut pairs: Vec<(usize, &Negative)> = (0..shown.seen.queries.len())
        .flat_map(|i| shown.newest(i).iter().map(move |n| (i, n)))
        .filter(|(_, n)| n.suspicion() == 2)
        .collect();
    pairs.sort_by(|a, b| b.1.near.cmp(&a.1.near).then(b.1.margin.total_cmp(&a.1.margin)).then(a.0.cmp(&b.0)));
    let (queries, labels) = (shown.seen.data.queries(Split::Train), shown.seen.data.labels());
    let mut rows = vec![["query", "label", "score", "margin", "near"].map(str::to_owned).to_vec()];
    for (i, n) in pairs.iter().take(LISTED) {
        rows.push(vec![
            shortened(queries.title(shown.seen.queries[*i] as usize)),
            shortened(labels.title(n.label as usize)),
            format!("{:.3}", n.score),
            format!("{:+.3}", n.margin),
            format!("{} of {NEAR}", n.near),
        ]);
    }
    let (looked, all) = (shown.seen.queries.len(), queries.len());
    let per = shown.newest(0).len();
    let pairs_shown = match rows.len() {
        1 => "\nno pair has both signs\n".to_owned(),
        _ => format!("\nThese may be right, and were never given:\n{}", table(&rows)),
    };
    format!(
        "{} of {} training queries, the {per} hardest labels of each\n{}\
         signs: it scores 95 % of a positive or more; two or more of the {NEAR} nearest titles have it\n{pairs_shown}",
        count(looked as u64),
        count(all as u64),
        table(&rounds)
    )
}

fn shortened(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= 44 { text.to_owned() } else { letters[..43].iter().chain(&['…']).collect() }
}
