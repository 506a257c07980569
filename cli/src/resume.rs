//! `lode resume`: takes a run up where its newest whole checkpoint left it. Nothing of its configuration can
//! change, so that the bits are those of a run that was never interrupted.

use crate::context::Context;
use crate::early::Done;
use crate::observer::Terminal;
use crate::pipeline;
use crate::quantity::Bytes;
use crate::session;
use data::{DataSet, Verify};
use std::path::PathBuf;
use train::pipeline::Pipeline;
use train::plan::MemoryPlan;
use train::{load, run};

/// Flags of `resume`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of the run, or of a pipeline
    run: PathBuf,
    /// Refuse to go on if the plan needs more, for example 16G
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
}

/// Goes on.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let limit = args.max_memory.map(|b| b.0);
    if let Some(found) = Pipeline::open(&args.run) {
        return pipeline::go(&found, limit, context);
    }
    DataSet::open(&load::data_of(&args.run)?, Verify::Full)?;
    let mut observer = Terminal::new(context);
    let (mut trainer, dir) = run::open(&context.engine()?, &args.run)?;
    let plan = MemoryPlan::within(&mut trainer, session::limit(limit), dir.root());
    session::check_memory(&plan, limit, context)?;
    run::take_up(&mut trainer, &dir, &mut observer)?;
    session::train(&mut trainer, &plan, &dir, &mut observer, context)
}
