//! `lode demo`: the whole job on real data that travels inside the binary, beside honest baselines computed on the
//! spot.
//!
//! ```text
//! prepare → TF-IDF baselines → bag, random batches → bag, NGAME batches → tiny transformer → + kNN → answers
//! ```
//! It ends with exit code 7 if its best line does not stand two points of P@1 above the best baseline, so running it is
//! a test. Which trained model goes on to the last line is decided on validation queries, never on the test titles.

mod answers;
mod baselines;
mod source;

use crate::context::Context;
use crate::early::Done;
use crate::observer::Terminal;
use crate::quantity::span;
use crate::render::{percent, rounded, table};
use data::metrics::Metric;
use data::{DataSet, Split, Verify};
use engine::{Engine, Error, Kind, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use train::evaluate::{Options, Queries, evaluate};
use train::{Mined, Settings, Trainer, recipes, run};

/// Flags of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where data, runs and models go; an earlier demo there is replaced
    #[arg(long, value_name = "DIR", default_value = "lode-demo")]
    out: PathBuf,
}

/// By how much the last line must stand above the best baseline.
const MARGIN: f64 = 0.02;
/// What is measured on the test titles.
const METRICS: &str = "P@1,P@5,R@10";
/// Training titles that vote.
const NEIGHBOURS: usize = 20;

/// What both bags are told. Chosen on validation queries; the composer is all in which they differ.
const BAG: [&str; 7] = [
    "model.source=bag",
    "train.epochs=12",
    "train.batch=512",
    "train.lr=2e-3",
    "loss.temperature=0.07",
    "data.validation_per_mille=50",
    "save.validate_every=82",
];
/// What the transformer is told.
const TINY: [&str; 8] = [
    "model.source=tiny",
    "composer.name=ngame",
    "train.epochs=2",
    "train.batch=256",
    "train.lr=5e-4",
    "loss.temperature=0.07",
    "data.validation_per_mille=50",
    "save.validate_every=41",
];

/// A line of the table.
struct Line {
    name: String,
    metrics: Vec<(Metric, f64)>,
    seconds: f64,
}

impl Line {
    fn p_at_1(&self) -> f64 {
        self.metrics[0].1
    }
}

/// A model that the demo trained.
struct Trained {
    name: &'static str,
    trainer: Trainer,
    dir: PathBuf,
    validation: f64,
}

/// The demo's surroundings.
struct Demo<'a> {
    context: &'a Context,
    engine: Engine,
    out: &'a Path,
    data: DataSet,
    lines: Vec<Line>,
}

/// Runs it.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let since = Instant::now();
    let path = source::prepare(&args.out, context)?;
    let data = DataSet::open(&path, Verify::Full)?;
    let mut demo = Demo { context, engine: context.engine()?, out: &args.out, data, lines: vec![] };
    demo.baselines()?;
    context.say("\n2. A bag of token embeddings, the smallest encoder: random batches, then NGAME batches");
    let random =
        demo.train("bag, random batches", "bag-random", &[&BAG[..], &["composer.name=shuffled"]].concat())?;
    let ngame =
        demo.train("bag, NGAME batches", "bag-ngame", &[&BAG[..], &["composer.name=ngame"]].concat())?;
    demo.compare(&random, &ngame);
    context.say("\n3. A small transformer that starts from the bag's embeddings");
    let start = format!("model.embeddings={}", ngame.dir.display());
    let tiny = demo.train("tiny transformer, NGAME batches", "tiny", &[&TINY[..], &[&start]].concat())?;
    let best = [random, ngame, tiny].into_iter().max_by(|a, b| a.validation.total_cmp(&b.validation));
    let best = best.expect("three were trained");
    context.say(&format!(
        "\n4. The best on validation is `{}`; {NEIGHBOURS} near training titles now vote too",
        best.name
    ));
    demo.measure(&format!("{} + kNN", best.name), &best.trainer, NEIGHBOURS, 0.0)?;
    demo.table(since)?;
    answers::answer(&best.dir, &demo.engine, context)?;
    demo.next_steps(&best);
    demo.demand()
}

impl Demo<'_> {
    fn baselines(&mut self) -> Done {
        self.context.say("\n1. Baselines without learning, computed now on the test titles");
        let metrics = Metric::list(METRICS)?;
        for (name, found) in baselines::measure(&self.engine, &self.data, &metrics) {
            self.note(name.into(), found.0, found.1);
        }
        Ok(())
    }
    /// Adds a line to the table and says it.
    fn note(&mut self, name: String, metrics: Vec<(Metric, f64)>, seconds: f64) {
        let line = Line { name, metrics, seconds };
        self.context.say(&format!("   {}: P@1 {} on the test titles", line.name, percent(line.p_at_1())));
        self.lines.push(line);
    }
    fn train(&mut self, name: &'static str, folder: &str, changes: &[&str]) -> Result<Trained> {
        self.context.say(&format!("   {name}"));
        let since = Instant::now();
        let mut settings = Settings::default();
        settings.flag("data.path", self.data.path().to_string_lossy().into_owned(), "DATA")?;
        changes.iter().try_for_each(|change| settings.set(change))?;
        recipes::apply_defaults(&mut settings)?;
        let dir = self.out.join(folder);
        let (mut trainer, files) = run::begin(&self.engine, &settings, &dir)?;
        let mut observer = Terminal::new(self.context);
        let outcome = run::run(&mut trainer, &files, &mut observer)?;
        observer.finish();
        if !outcome.finished {
            return Err(Error::new(Kind::Interrupted, "the demo was stopped"));
        }
        let seconds = since.elapsed().as_secs_f64();
        self.measure(name, &trainer, 0, seconds)?;
        Ok(Trained { name, trainer, dir, validation: outcome.validation[0].1 })
    }
    fn measure(&mut self, name: &str, trainer: &Trainer, knn: usize, seconds: f64) -> Result<()> {
        let held_out = trainer.validation_rows.clone();
        let options = Options { metrics: Metric::list(METRICS)?, knn, held_out, ..Options::default() };
        let queries = Queries { split: Split::Test, rows: None };
        let mut observer = Terminal::new(self.context);
        let found = evaluate(&self.engine, &trainer.network, &self.data, queries, &options, &mut observer)?;
        observer.finish();
        self.note(name.into(), found.metrics, seconds);
        Ok(())
    }
    /// Says what clusters did to the negatives and to the result, as it is.
    fn compare(&self, random: &Trained, ngame: &Trained) {
        let hardest = |t: &Trained| {
            let batch = t.trainer.mined(0);
            let mean = |m: &Mined| m.negatives.iter().take(10).map(|n| n.1).sum::<f32>() / 10.0;
            batch.iter().map(mean).sum::<f32>() / batch.len().max(1) as f32
        };
        let (easy, hard) = (hardest(random), hardest(ngame));
        let say = |text: &str| self.context.say(text);
        say(&format!(
            "   mean score of a query's ten hardest negatives: {easy:.2} in a random batch, {hard:.2} in an NGAME batch"
        ));
        let test = |t: &Trained| self.lines.iter().find(|l| l.name == t.name).map_or(0.0, Line::p_at_1);
        let gain = 100.0 * (test(ngame) - test(random));
        let verdict = match gain {
            g if g >= 1.0 => "they help here",
            g if g <= -1.0 => "they do not help this encoder on this set",
            _ => "no difference that 4,994 titles could show (the standard error of P@1 is 0.6 points)",
        };
        say(&format!(
            "   NGAME batches against random ones, same steps: {gain:+.1} points of P@1: {verdict}"
        ));
        let Some(mined) = ngame.trainer.mined(0).into_iter().find(|m| m.negatives.len() >= 4) else { return };
        let label = |(l, score): (u32, f32)| format!("{} ({score:.2})", self.data.labels().title(l as usize));
        let negatives: Vec<String> = mined.negatives.iter().take(4).map(|&n| label(n)).collect();
        say(&format!("   one query:       {}", self.data.queries(Split::Train).title(mined.query as usize)));
        say(&format!("     its positive   {}", label(mined.positive)));
        say(&format!("     mined against  {}", negatives.join(", ")));
    }
    fn table(&self, since: Instant) -> Done {
        if self.context.json {
            let line = |l: &Line| {
                let metrics = crate::render::metrics(&l.metrics);
                json!({"name": l.name, "metrics": metrics, "training_seconds": rounded(l.seconds)})
            };
            let lines: Vec<serde_json::Value> = self.lines.iter().map(line).collect();
            return self
                .context
                .print_json(&json!({"lines": lines, "seconds": rounded(since.elapsed().as_secs_f64())}));
        }
        let mut rows = vec![
            ["4,994 test titles, 7,551 labels", "P@1", "P@5", "R@10", "training"].map(String::from).to_vec(),
        ];
        for line in &self.lines {
            let numbers = line.metrics.iter().map(|(_, v)| format!("{:.1}", 100.0 * v));
            let time = if line.seconds > 0.0 { span(line.seconds) } else { String::new() };
            rows.push([line.name.clone()].into_iter().chain(numbers).chain([time]).collect());
        }
        self.context.print(&format!("\n{}", table(&rows)))
    }
    fn next_steps(&self, best: &Trained) {
        let (run, data) = (best.dir.display(), self.data.path().display());
        for line in [
            String::new(),
            format!("Next:  lode predict {run} --text \"a title of your own\""),
            format!("       lode evaluate {run} {data} --knn 20 --errors 10"),
            format!("       lode export {run} --to hf --out model       (loads in sentence-transformers)"),
            "       lode prepare products.csv --text title --labels category --train-vocab 8000 --out shop.lode".into(),
        ] {
            self.context.say(&line);
        }
    }
    /// The best baseline, and whether the last line stands clear of it.
    fn demand(&self) -> Done {
        let best = self.lines[..2].iter().map(Line::p_at_1).fold(0.0, f64::max);
        let last = self.lines.last().map_or(0.0, Line::p_at_1);
        if last >= best + MARGIN {
            return Ok(());
        }
        let what = format!("the last line has P@1 {}, the best baseline {}", percent(last), percent(best));
        Err(Error::new(Kind::Threshold, what).note("two points between them are demanded").into())
    }
}
