//! `lode inspect`: looks into what Lode writes.

pub(crate) mod negatives;
mod serve;

use crate::context::Context;
use crate::early::Done;

/// What to look into.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// The labels that a run's training queries meet as negatives, checkpoint by checkpoint, and which may be right
    Negatives(negatives::Args),
}

/// Looks.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    match args {
        Args::Negatives(args) => negatives::run(args, context),
    }
}
