//! `lode inspect data --hardness`: which test titles and which labels are hard, and what a model makes of them.
//!
//! Titles are held against P@1, labels against R@5: of the pairs of a test title and its label, those whose label
//! stands among the first five.

use super::{Args, demand_test};
use crate::context::Context;
use crate::early::Done;
use crate::evaluate::{self, Subject};
use crate::observer::Terminal;
use crate::quantity::count;
use crate::render::{percent, rounded, table};
use crate::whole::Whole;
use data::hardness::{Hardness, Thirds, auc, hardness};
use data::metrics::Metric;
use data::{DataSet, Split, Texts};
use engine::Result;
use serde_json::{Map, Value, json};
use std::path::Path;
use train::evaluate::Options;
use train::hardness::{self as by_model, FOUND};

/// What a model says, behind [`Hardness::NAMES`].
const BY_MODEL: [&str; 2] = ["distance", "description-length"];
/// Texts of each kind that are shown.
const HARDEST: usize = 5;
/// Letters of a text that are shown.
const LETTERS: usize = 90;

/// Measures.
pub(super) fn run(args: &Args, data: &DataSet, context: &Context) -> Done {
    demand_test(data)?;
    let (titles, labels) = hardness(data, Split::Test);
    let model = match &args.run {
        None => None,
        Some(run) => Some(of_model(run, data, context)?),
    };
    let pairs = model.iter().flat_map(|model| &model.pairs);
    let (mut by_title, mut by_label) =
        (vec![Mean::default(); titles.len()], vec![Mean::default(); labels.len()]);
    for pair in pairs.filter(|pair| pair.nats.is_finite()) {
        by_title[pair.query as usize].add(pair.nats);
        by_label[pair.label as usize].add(pair.nats);
    }
    let titles_found =
        model.iter().flat_map(|m| m.hits.iter().enumerate().map(|(row, &hit)| (row, hit > 0.5)));
    let labels_found =
        model.iter().flat_map(|m| m.pairs.iter().map(|pair| (pair.label as usize, pair.found)));
    let distances = |of: fn(&by_model::Hardness) -> &Vec<f64>| model.as_ref().map(of);
    let kinds = [
        Kind {
            name: "title",
            metric: "P@1",
            texts: data.queries(Split::Test),
            scores: joined(&titles, distances(|m| &m.titles), &by_title),
            found: titles_found.collect(),
        },
        Kind {
            name: "label",
            metric: "R@5",
            texts: data.labels(),
            scores: joined(&labels, distances(|m| &m.labels), &by_label),
            found: labels_found.collect(),
        },
    ];
    if let Some(out) = &args.out {
        write(out, &kinds)?;
    }
    if context.json {
        let all = kinds.iter().map(|kind| (format!("{}s", kind.name), kind.object()));
        return context.print_json(&all.collect::<Map<String, Value>>());
    }
    let shown: Vec<String> = kinds.iter().map(Kind::text).collect();
    context.print(&shown.join("\n"))
}

/// What a model or run says of it.
fn of_model(path: &Path, data: &DataSet, context: &Context) -> Result<by_model::Hardness> {
    let mut observer = Terminal::new(context);
    let options = Options { metrics: Metric::list("P@1")?, depth: FOUND, ..Options::default() };
    let how = evaluate::Args::new(path, data.path());
    let open = Subject::open(path, (&how, &options), data, true, (context, &mut observer))?;
    let models = (&open.engine, &open.network, &open.index);
    let found = by_model::Hardness::of(models, data, &open.options, &mut observer);
    observer.finish();
    found
}

/// A mean that grows; NaN of nothing.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    n: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        (self.sum, self.n) = (self.sum + value, self.n + 1.0);
    }
    fn value(self) -> f64 {
        self.sum / self.n
    }
}

/// The scores of each text: those of the data, and those of a model where one was asked.
fn joined(of_data: &[Hardness], distances: Option<&Vec<f64>>, lengths: &[Mean]) -> Vec<Vec<f64>> {
    let row = |(i, one): (usize, &Hardness)| {
        let mut all = one.scores().to_vec();
        all.extend(distances.iter().flat_map(|of| [of[i], lengths[i].value()]));
        all
    };
    of_data.iter().enumerate().map(row).collect()
}

/// Titles, or labels.
struct Kind<'a> {
    name: &'static str,
    /// What is the share of those found.
    metric: &'static str,
    texts: Texts<'a>,
    /// Of each text; NaN where a score is not known.
    scores: Vec<Vec<f64>>,
    /// Texts, each as often as it was looked for, and whether it was found. Empty without a model.
    found: Vec<(usize, bool)>,
}

/// One score, over all texts of a kind.
struct Score {
    name: &'static str,
    thirds: Thirds,
    most: f64,
    /// The share found in each third; NaN of none.
    shares: [f64; 3],
    auc: f64,
}

impl Kind<'_> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let known = self.scores.first().map_or(0, Vec::len);
        Hardness::NAMES.into_iter().chain(BY_MODEL).take(known)
    }
    fn column(&self, score: usize) -> impl Iterator<Item = (usize, f64)> {
        let all = self.scores.iter().map(move |of| of[score]).enumerate();
        all.filter(|(_, score)| score.is_finite())
    }
    fn scored(&self) -> Vec<Score> {
        let score = |(at, name)| {
            let thirds = Thirds::new(self.column(at).map(|(_, score)| score));
            let known = self.found.iter().map(|&(text, found)| (self.scores[text][at], found));
            let known: Vec<(f64, bool)> = known.filter(|(score, _)| score.is_finite()).collect();
            let mut shares = [Mean::default(); 3];
            known.iter().for_each(|&(score, found)| shares[thirds.of(score)].add(f64::from(u8::from(found))));
            Score {
                name,
                thirds,
                most: self.column(at).map(|(_, score)| score).fold(f64::NAN, f64::max),
                shares: shares.map(Mean::value),
                auc: auc(known.into_iter()),
            }
        };
        self.names().enumerate().map(score).collect()
    }
    /// The texts with the largest of the last score, the hardest first.
    fn hardest(&self) -> Vec<(usize, f64)> {
        let mut all: Vec<(usize, f64)> =
            self.names().count().checked_sub(1).map_or(vec![], |last| self.column(last).collect());
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(HARDEST);
        all
    }
    fn text(&self) -> String {
        let metric = |third: &str| format!("{} {third}", self.metric);
        let mut head: Vec<String> =
            [&format!("{}s", self.name), "easy to", "medium to", "most"].map(str::to_owned).to_vec();
        if !self.found.is_empty() {
            head.extend(Thirds::NAMES.map(metric));
            head.push("AUC".to_owned());
        }
        let mut rows = vec![head];
        for score in self.scored() {
            let number = |x: f64| if x.is_finite() { format!("{x:.3}") } else { "–".to_owned() };
            let share = |x: f64| if x.is_finite() { percent(x) } else { "–".to_owned() };
            let mut row = vec![score.name.to_owned()];
            row.extend([score.thirds.easy, score.thirds.medium, score.most].map(number));
            if !self.found.is_empty() {
                row.extend(score.shares.map(share));
                row.push(number(score.auc));
            }
            rows.push(row);
        }
        let last = self.names().last().unwrap_or_default();
        let mut text = format!("{} {}s\n{}", count(self.texts.len() as u64), self.name, table(&rows));
        text += &format!("the hardest by {last}:\n");
        for (row, score) in self.hardest() {
            let shown: String = self.texts.text(row).chars().take(LETTERS).collect();
            text += &format!("  {score:.3}  {shown}\n");
        }
        text
    }
    fn object(&self) -> Value {
        let number = |x: f64| if x.is_finite() { rounded(x) } else { Value::Null };
        let score = |score: Score| {
            let Thirds { easy, medium } = score.thirds;
            let mut all = json!({
                "score": score.name, "easy_to": number(easy), "medium_to": number(medium),
                "most": number(score.most),
            });
            if !self.found.is_empty() {
                for (third, share) in Thirds::NAMES.iter().zip(score.shares) {
                    all[format!("{}_{third}", self.metric)] = number(share);
                }
                all["auc"] = number(score.auc);
            }
            all
        };
        let hardest = self.hardest().into_iter().map(|(row, score)| {
            json!({"uid": self.texts.uid(row), "text": self.texts.text(row), "score": rounded(score)})
        });
        json!({
            "texts": self.texts.len(),
            "scores": self.scored().into_iter().map(score).collect::<Vec<_>>(),
            "hardest": hardest.collect::<Vec<_>>(),
        })
    }
}

/// The scores of every text, and which share of the times that it was looked for it was found.
fn write(path: &Path, kinds: &[Kind<'_>]) -> Result<()> {
    let mut file = Whole::create(path)?;
    let names: Vec<&str> = kinds[0].names().collect();
    let with_model = kinds.iter().any(|kind| !kind.found.is_empty());
    let last = if with_model { "\tfound" } else { "" };
    file.put(format!("kind\tid\t{}{last}\n", names.join("\t")).as_bytes())?;
    for kind in kinds {
        let mut found = vec![Mean::default(); kind.scores.len()];
        kind.found.iter().for_each(|&(text, hit)| found[text].add(f64::from(u8::from(hit))));
        for (row, (scores, found)) in kind.scores.iter().zip(found).enumerate() {
            let values = scores.iter().copied().chain(with_model.then(|| found.value()));
            let cell = |x: f64| if x.is_finite() { rounded(x).to_string() } else { String::new() };
            let cells: Vec<String> = values.map(cell).collect();
            file.put(format!("{}\t{}\t{}\n", kind.name, kind.texts.uid(row), cells.join("\t")).as_bytes())?;
        }
    }
    file.commit()
}
