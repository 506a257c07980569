//! `lode inspect`: looks into what Lode writes.

mod data;
mod file;
mod graph;
mod model;
pub(crate) mod negatives;
mod serve;

use crate::context::Context;
use crate::early::Done;

/// What to look into.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// What a data set holds, as the trainer sees it; how much of its test stands in training; what is hard
    Data(data::Args),
    /// A file that Lode wrote (data set, checkpoint, index, …): its sections, and whether all of it is whole
    #[command(visible_alias = "ckpt")]
    File(file::Args),
    /// The next step of a run, operation by operation: what it computes, keeps and takes
    Graph(graph::Args),
    /// A model directory or a run: what it is, and its tensors
    Model(model::Args),
    /// The labels that a run's training queries meet as negatives, checkpoint by checkpoint, and which may be right
    Negatives(negatives::Args),
}

/// Looks.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    match args {
        Args::Data(args) => data::run(args, context),
        Args::File(args) => file::run(args, context),
        Args::Graph(args) => graph::run(args, context),
        Args::Model(args) => model::run(args, context),
        Args::Negatives(args) => negatives::run(args, context),
    }
}
