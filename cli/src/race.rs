//! `lode race`: strategies against each other, on one page.

mod page;

use crate::context::Context;
use crate::early::{Done, Early};
use crate::observer::Terminal;
use crate::quantity::{Bytes, count, span};
use crate::render::{note, rounded, table};
use crate::session;
use data::{DataSet, Verify};
use engine::{Engine, Error, Kind, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use train::plan::MemoryPlan;
use train::race::{DECIDES, Entrant, Finish, Journal, Outcome, Race, Standing, Versus, cut};
use train::{RunDir, Settings};

/// Flags of `race`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode race finna.lode --strategies in-batch,ngame,star,bm25 --model bag --out race
  lode race finna.lode --strategies \"in-batch,ngame:composer.sizes=['0:32'],gist:guide.model=start\" \\
      --model RUN --lr 1e-4,3e-4 --temperature 0.02 --seeds 5 --out race
  lode race …   the same again: goes on where it was stopped")]
pub(crate) struct Args {
    /// The data set that `lode prepare` wrote, with test queries
    data: PathBuf,
    /// Who races: names of `lode strategies`, each with settings behind colons, as "ngame:composer.sizes=['0:32']". The
    /// others are compared with the first
    #[arg(long, value_name = "LIST", value_delimiter = ';', required = true)]
    strategies: Vec<String>,
    /// The folder of the race: its journal, table and page. A race that was begun here goes on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where all start: a fresh `bag`, `tiny` or `small`, a model directory, or a run
    #[arg(long, value_name = "NAME|DIR|RUN")]
    model: Option<String>,
    /// Texts that each run may encode, those for lists, clusters and guides among them [default: what an epoch of the
    /// first strategy encodes]
    #[arg(long, value_name = "N")]
    forwards: Option<u64>,
    /// Runs of each strategy that are measured on the test queries
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// Learning rates to choose from, on validation queries [default: that of the settings]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    lr: Vec<f64>,
    /// Temperatures to choose from, beside that of each strategy
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    temperature: Vec<f64>,
    /// Points of each curve
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    marks: u32,
    /// Queries in a batch
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// All answers of the training queries, where they are known: QUERY, LABEL and perhaps a score, with tabs between.
    /// The table then has the share of negatives that are false; nothing learns from it
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// The most memory, for example 16G: a run that needs more is refused [default: what the machine has to give]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
    /// One value of the configuration of all, for example train.clip=0.5
    #[arg(long, value_name = "A.B=C")]
    set: Vec<String>,
}

/// Queries held out to choose by, per thousand, where the user does not say: more than a run holds out, since more
/// hangs on them.
const HELD_OUT: &str = "data.validation_per_mille=100";

/// Races.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let data = DataSet::open(&args.data, Verify::Full)?;
    if data.queries(data::Split::Test).is_empty() {
        let e = Error::input("a race is decided by test queries, and there is none").at(&args.data);
        return Err(e.help("prepare the data with some, as --split 80/20").into());
    }
    let race = race(args)?;
    let engine = context.engine()?;
    fits(&race, &engine, args, context)?;
    let mut journal = Journal::open(&args.out, data.fingerprint(), engine.kernel_class().name())?;
    let done = journal.heats().len();
    if done > 0 {
        context.say(&format!("goes on: {} heats are done", count(done as u64)));
    }
    let mut observer = Terminal::new(context);
    context.stop.is_heard();
    let ended = race.run(&engine, &mut journal, &mut observer);
    observer.finish();
    let outcome = match ended {
        Err(e) if e.kind() == Kind::Interrupted => {
            note(&format!(
                "interrupted: {} heats are kept\ngo on with the same command",
                count(journal.heats().len() as u64)
            ));
            return Err(Early::Interrupted(context.stop.requested().unwrap_or(2)));
        }
        ended => ended?,
    };
    let text = shown(&outcome, &data);
    let page = args.out.join("race.html");
    RunDir::write_text(&args.out.join("race.txt"), &text)?;
    RunDir::write_text(&page, &page::html(&outcome, &data, &args.out))?;
    match context.json {
        true => context.print_json(&object(&outcome))?,
        false => context.print(&text)?,
    }
    context.say(&format!("\nthe page: {}", page.display()));
    Ok(())
}

fn race(args: &Args) -> Result<Race> {
    let mut base = Settings::default();
    base.set(HELD_OUT)?;
    args.set.iter().try_for_each(|assignment| base.set(assignment))?;
    base.flag("data.path", absolute(&args.data), "DATA")?;
    if let Some(model) = &args.model {
        let path = Path::new(model);
        base.flag("model.source", if path.is_dir() { absolute(path) } else { model.clone() }, "--model")?;
    }
    args.batch.map_or(Ok(()), |batch| base.flag("train.batch", batch, "--batch"))?;
    args.truth.as_deref().map_or(Ok(()), |path| base.flag("data.truth", absolute(path), "--truth"))?;
    let entrants: Vec<Entrant> =
        names(&args.strategies).iter().map(|n| Entrant::new(n)).collect::<Result<_>>()?;
    if let Some(twice) = entrants.iter().enumerate().find(|(i, e)| entrants[..*i].contains(e)) {
        return Err(Error::input(format!("`{}` races against itself", twice.1.name)));
    }
    let (seeds, rates, temperatures) = (args.seeds, args.lr.clone(), args.temperature.clone());
    Ok(Race { base, entrants, seeds, rates, temperatures, forwards: args.forwards, marks: args.marks })
}

/// The names of a list, with commas between.
fn names(written: &[String]) -> Vec<&str> {
    let names = written.iter().flat_map(|part| cut(part, ','));
    names.filter(|name| !name.trim().is_empty()).collect()
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// The run of each entrant must fit into memory.
fn fits(race: &Race, engine: &Engine, args: &Args, context: &Context) -> Done {
    let (limit, place) = (args.max_memory.map(|b| b.0), session::place(Some(&args.out)));
    for entrant in &race.entrants {
        let mut trainer = train::run::assemble(engine, &race.settings_of(entrant)?)?;
        let plan = MemoryPlan::within(&mut trainer, session::limit(limit), &place);
        session::check_memory(&plan, limit, context).map_err(|e| {
            e.note("in a race these are --set train.chunk=64, --set model.recompute=true, --batch")
        })?;
        if trainer.validation_rows.is_empty() {
            let e = Error::input("no training query is held out: rates could not be chosen").at(&args.data);
            return Err(e.help("raise data.validation_per_mille").into());
        }
    }
    Ok(())
}

/// What decides, and what is shown beside it.
const METRICS: [&str; 3] = [DECIDES, "P@1", "R@10"];

/// Mean and standard deviation over seeds.
fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// The cells of the table, the heads first.
fn cells(outcome: &Outcome) -> Vec<Vec<String>> {
    let heads = ["strategy", "nDCG@5", "± seeds", "over the first", "P@1", "R@10", "rate", "temp.", "steps"];
    let more = ["texts", "mined", "negatives", "seconds", "processor"];
    let told = is_truth_told(outcome).then_some("false");
    let mut rows =
        vec![heads.iter().chain(&more).chain(&told).map(|&head| head.to_owned()).collect::<Vec<_>>()];
    let first = &outcome.standings[0];
    for (i, standing) in outcome.standings.iter().enumerate() {
        let values = METRICS.map(|metric| spread(&standing.test(metric)));
        let one = |x: f64| format!("{:.2}", 100.0 * x);
        let versus = if i == 0 { String::new() } else { difference(standing.versus(first, METRICS[0])) };
        let heat = &standing.finals[0];
        let mean = |of: fn(&Finish) -> f64| standing.mean(of);
        rows.push(vec![
            standing.name.clone(),
            one(values[0].0),
            if standing.finals.len() > 1 { one(values[0].1) } else { "?".to_owned() },
            versus,
            one(values[1].0),
            one(values[2].0),
            format!("{:e}", heat.rate),
            format!("{}", heat.temperature),
            count(heat.steps),
            count(mean(|heat| heat.forwards as f64) as u64),
            format!("{:.0} %", 100.0 * mean(|heat| heat.mined as f64 / heat.forwards as f64)),
            format!("{:.1}", mean(|heat| heat.negatives)),
            format!("{:.1}", mean(|heat| heat.seconds)),
            format!("{:.1}", mean(|heat| heat.processor_seconds)),
        ]);
        if told.is_some() {
            let shares: Vec<f64> = standing.finals.iter().filter_map(|heat| heat.false_negatives).collect();
            let share = shares.iter().sum::<f64>() / shares.len() as f64;
            rows[i + 1].push(if shares.is_empty() { "?".into() } else { format!("{:.2} %", 100.0 * share) });
        }
    }
    rows
}

/// Whether somebody knows which negatives are false.
fn is_truth_told(outcome: &Outcome) -> bool {
    outcome.standings.iter().flat_map(|standing| &standing.finals).any(|heat| heat.false_negatives.is_some())
}

/// A difference in points with its interval; a star where that leaves 0 out.
fn difference(versus: Versus) -> String {
    let half = if versus.half.is_finite() { format!("{:.2}", 100.0 * versus.half) } else { "?".to_owned() };
    format!("{:+.2} ± {half}{}", 100.0 * versus.mean, if versus.is_clear() { " *" } else { "" })
}

fn shown(outcome: &Outcome, data: &DataSet) -> String {
    let (budget, queries) = (count(outcome.forwards), count(data.queries(data::Split::Test).len() as u64));
    let seeds = outcome.standings[0].finals.len();
    format!(
        "{}\n{queries} test queries, {seeds} seeds, about {budget} texts encoded by each run.\n\
         Over the first: the mean difference of nDCG@5, paired by seed, and its 95 % interval by Student's t;\n\
         a star where that leaves 0 out.\n",
        table(&cells(outcome))
    )
}

fn object(outcome: &Outcome) -> Value {
    let first = &outcome.standings[0];
    let standing = |standing: &Standing| {
        let versus = standing.versus(first, METRICS[0]);
        let half = versus.half.is_finite().then(|| rounded(versus.half));
        json!({
            "strategy": standing.name,
            "over_first": {"nDCG@5": rounded(versus.mean), "half_interval": half},
            "finals": standing.finals,
        })
    };
    json!({
        "forwards": outcome.forwards,
        "standings": outcome.standings.iter().map(standing).collect::<Vec<_>>(),
    })
}

/// The time of a heat, for people.
fn took(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { span(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_at_commas_outside_of_brackets() {
        let given = ["in-batch, ngame:composer.sizes=['0:8','5:32'],star".to_owned()];
        assert_eq!(names(&given), ["in-batch", " ngame:composer.sizes=['0:8','5:32']", "star"]);
    }

    #[test]
    fn a_difference_is_starred_where_its_interval_leaves_zero_out() {
        assert_eq!(difference(Versus { mean: 0.0123, half: 0.01 }), "+1.23 ± 1.00 *");
        assert_eq!(difference(Versus { mean: -0.001, half: 0.002 }), "-0.10 ± 0.20");
        assert_eq!(difference(Versus { mean: 0.3, half: f64::INFINITY }), "+30.00 ± ?");
    }
}
