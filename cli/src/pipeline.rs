//! Pipelines: `lode train … --pipeline NAME`, and `lode resume` of their directory. Each stage is a run; at the end one
//! table has all members of the result.

use crate::context::Context;
use crate::early::Done;
use crate::evaluate;
use crate::observer::Terminal;
use crate::quantity::{count, span};
use crate::render::table;
use crate::session;
use engine::Result;
use std::path::Path;
use train::pipeline::{self, Pipeline, STAGES};
use train::plan::{MemoryPlan, bytes};
use train::{Settings, run};

/// What the table at the end shows, and how many near titles vote.
const METRICS: &str = "P@1,P@3,P@5,nDCG@5,R@10,R@100,PSP@1,PSP@3,PSP@5,C@5";
const NEIGHBOURS: usize = 20;

/// Begins a pipeline: `stages` are the settings of each. All of them are planned before anything starts.
pub(crate) fn begin(
    stages: &[Settings],
    (out, limit): (Option<&Path>, Option<usize>),
    context: &Context,
) -> Done {
    let engine = context.engine()?;
    for (name, settings) in STAGES.iter().zip(stages) {
        let mut trainer = run::assemble(&engine, settings)?;
        let plan = MemoryPlan::within(&mut trainer, session::limit(limit), &session::place(out));
        if out.is_none() {
            context.print(&format!("{name}: {plan}"))?;
        }
        session::check_memory(&plan, limit, context)?;
    }
    match out {
        Some(out) => go(&Pipeline::create(out, stages)?, limit, context),
        None => Ok(()),
    }
}

/// Trains the stages that are not over, then measures.
pub(crate) fn go(pipeline: &Pipeline, limit: Option<usize>, context: &Context) -> Done {
    let engine = context.engine()?;
    let stages = pipeline.stages();
    for (i, name) in stages.iter().enumerate() {
        let mut observer = Terminal::new(context);
        if let Some((mut trainer, dir)) = pipeline.stage(&engine, i, session::limit(limit), &mut observer)? {
            context.say(&format!("stage {} of {}: {name}", i + 1, stages.len()));
            let plan = MemoryPlan::new(&trainer);
            session::check_memory(&plan, limit, context)?;
            session::walk(&mut trainer, &plan, (&dir, pipeline.root()), &mut observer, context)?;
        }
    }
    if !context.json {
        context.print(&table(&costs(pipeline)?))?;
    }
    let last = pipeline.run(stages.len() - 1);
    let data = pipeline.settings(0)?.config()?.data.path;
    let mut args = evaluate::Args::new(last.root(), &data);
    (args.metrics, args.knn) = (METRICS.to_owned(), NEIGHBOURS);
    evaluate::run(&args, context)
}

/// Steps, time and memory of each stage; of a stage that was resumed, the time since then.
fn costs(pipeline: &Pipeline) -> Result<Vec<Vec<String>>> {
    let mut rows = vec![["stage", "steps", "time", "peak memory"].map(str::to_owned).to_vec()];
    for (i, name) in pipeline.stages().iter().enumerate() {
        let last = pipeline.run(i).final_line().unwrap_or_default();
        let number = |key: &str| last[key].as_f64().unwrap_or(0.0);
        let (steps, memory) = (count(number("step") as u64), bytes(number("peak_rss_bytes") as usize));
        rows.push(vec![(*name).to_owned(), steps, span(number("seconds")), memory]);
    }
    Ok(rows)
}

/// Assignments for all stages, and those for one, which begin with its name.
pub(crate) fn split(assignments: &[String]) -> (Vec<String>, Vec<(String, String)>) {
    let (mut for_all, mut for_one) = (vec![], vec![]);
    for assignment in assignments {
        match pipeline::of_stage(assignment) {
            Some(one) => for_one.push(one),
            None => for_all.push(assignment.clone()),
        }
    }
    (for_all, for_one)
}
