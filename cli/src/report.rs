//! `lode report`: what one or more runs did, as one page to look at.

mod page;
mod read;

use crate::context::Context;
use crate::early::Done;
use crate::render::rounded;
use crate::whole::Whole;
use engine::{Error, Result};
use read::Run;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use train::RunDir;
use train::pipeline::Pipeline;

/// Flags of `report`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode report run                         writes run/report.html
  lode report random ngame --out two.html two runs over each other")]
pub(crate) struct Args {
    /// Runs, finished or not; of a pipeline all stages
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The page [default: report.html in the first of them]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Reports.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let runs: Vec<Run> = folders(&args.runs).iter().map(|folder| Run::read(folder)).collect::<Result<_>>()?;
    let out = args.out.clone().unwrap_or_else(|| args.runs[0].join("report.html"));
    if out.is_dir() {
        return Err(Error::input("is a folder, a file will be written").at(&out).into());
    }
    Whole::write(&out, &page::html(&runs))?;
    for run in &runs {
        run.warnings.iter().for_each(|text| context.say(&format!("{}: {text}", run.dir.display())));
    }
    match context.json {
        true => {
            context.print_json(&json!({"page": out, "runs": runs.iter().map(object).collect::<Vec<_>>()}))
        }
        false => context.print(&out.display().to_string()),
    }
}

/// Runs, those of pipelines among them.
fn folders(given: &[PathBuf]) -> Vec<PathBuf> {
    let stages = |path: &Path| match Pipeline::open(path) {
        // A stage that has not begun has no folder yet.
        Some(found) => (0..found.stages().len())
            .map(|stage| found.run(stage).root().to_owned())
            .filter(|folder| RunDir::is_run(folder))
            .collect(),
        None => vec![path.to_owned()],
    };
    given.iter().flat_map(|path| stages(path)).collect()
}

fn object(run: &Run) -> Value {
    let metrics = run.measured.last().map(|m| {
        m.metrics
            .iter()
            .map(|(name, value)| (name.clone(), rounded(*value)))
            .collect::<serde_json::Map<_, _>>()
    });
    json!({
        "run": run.dir,
        "finished": run.finished,
        "step": run.steps.last().map_or(0, |s| s.step),
        "seconds": rounded(run.seconds()),
        "validation": metrics,
        "processes": run.processes.len(),
    })
}
