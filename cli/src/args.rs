//! What can be typed: the verbs, and the flags that every verb takes.

use crate::context::Context;
use crate::early::Done;
use crate::{
    demo, doctor, encode, evaluate, explain, export, index, inspect, man, mine, predict, prepare, race,
    report, resume, strategies, train, world,
};
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::num::NonZeroUsize;

/// The verbs that the list of commands leaves out; a test holds each to a line here.
const MORE: &str = "\
More:
  encode       Embed texts, one a line, into an .npy file
  explain      Say why a text got its labels: tokens, near titles, those that pushed
  index        Add labels to a run by their text, remove labels, list them
  inspect      Look into what a run did: its negatives and its tape, as lists or pages
  mine         Find hard negatives for every query, as JSON lines
  race         Race strategies against each other: table and page
  report       Make a page of what one or more runs did
  strategies   List the ways to choose negatives
  world        Make a data set of which everything is known, to try strategies on
  doctor       Say what this machine offers, test the arithmetic, measure its speed
  completions  Print the completions of a shell
  man          Print a manual page, or write them all

Exit codes:
  0 done  1 failure  2 usage  3 bad input  4 damaged file  5 refused (memory, something in the way)
  6 not a number  7 threshold missed  74 input or output  130, 143 interrupted after saving";

/// Trains text encoders and label classifiers on mined hard negatives. One binary, no network.
#[derive(Parser)]
#[command(name = "lode", version, after_help = MORE, disable_help_subcommand = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags that every verb takes.
#[derive(Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print JSON on stdout, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on stderr: times, memory, checkpoints
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Threads to work with [default: all cores]; results do not depend on it
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Colours on stderr; NO_COLOR is heard too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run the whole job on data that travels with the program, in a few minutes
    Demo(demo::Args),
    /// Make a data set: read, check, tokenize, write one mapped file
    Prepare(prepare::Args),
    /// Train an encoder, or a classifier over the labels, on a data set
    Train(Box<train::Args>),
    /// Take up a run where its newest checkpoint left it
    Resume(resume::Args),
    /// Measure a model or a run on a data set
    Evaluate(evaluate::Args),
    /// Answer texts with labels
    Predict(predict::Args),
    /// Write a model for other programs
    Export(export::Args),
    /// Embed texts, one a line, into an .npy file
    #[command(hide = true)]
    Encode(encode::Args),
    /// Say why a text got its labels: what each token is worth, which titles pulled and which pushed
    #[command(hide = true)]
    Explain(explain::Args),
    /// Add labels to a run by their text, remove labels, list them
    #[command(hide = true)]
    Index(index::Args),
    /// Look into what Lode writes
    #[command(hide = true, subcommand)]
    Inspect(inspect::Args),
    /// Find hard negatives for every query, as JSON lines
    #[command(hide = true)]
    Mine(Box<mine::Args>),
    /// Race strategies against each other: the same budget and choices for each, paired seeds, a table and a page
    #[command(hide = true)]
    Race(race::Args),
    /// Make a page of what one or more runs did: curves, negatives, memory, settings
    #[command(hide = true)]
    Report(report::Args),
    /// List the ways to choose negatives
    #[command(hide = true)]
    Strategies,
    /// Make a data set of which everything is known, to try strategies on
    #[command(hide = true)]
    World(world::Args),
    /// Say what this machine offers, test the arithmetic, and measure how fast it is
    #[command(hide = true)]
    Doctor(doctor::Args),
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write them all
    #[command(hide = true)]
    Man(man::Args),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, context: &Context) -> Done {
        match self {
            Verb::Demo(args) => demo::run(args, context),
            Verb::Prepare(args) => prepare::run(args, context),
            Verb::Train(args) => train::run(args, context),
            Verb::Resume(args) => resume::run(args, context),
            Verb::Evaluate(args) => evaluate::run(args, context),
            Verb::Predict(args) => predict::run(args, context),
            Verb::Export(args) => export::run(args, context),
            Verb::Encode(args) => encode::run(args, context),
            Verb::Explain(args) => explain::run(args, context),
            Verb::Index(args) => index::run(args, context),
            Verb::Inspect(args) => inspect::run(args, context),
            Verb::Mine(args) => mine::run(args, context),
            Verb::Race(args) => race::run(args, context),
            Verb::Report(args) => report::run(args, context),
            Verb::Strategies => strategies::run(context),
            Verb::World(args) => world::run(args, context),
            Verb::Doctor(args) => doctor::run(args, context),
            Verb::Completions { shell } => {
                let mut script = vec![];
                clap_complete::generate(*shell, &mut Cli::command(), "lode", &mut script);
                context.print_bytes(&script)
            }
            Verb::Man(args) => man::run(args, context),
        }
    }
}

/// Reads the arguments of this process. `--color` counts for the messages about the arguments too.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let given: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let said = |when: &str| {
        let apart = given.windows(2).any(|w| w[0] == "--color" && w[1] == when);
        apart || given.iter().any(|a| a.to_str() == Some(&format!("--color={when}")))
    };
    let color = match (said("always"), said("never")) {
        (true, _) => ColorChoice::Always,
        (_, true) => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    Cli::from_arg_matches(&Cli::command().color(color).try_get_matches_from(given)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hidden_verb_has_a_line_under_more() {
        let command = Cli::command();
        let hidden: Vec<&str> =
            command.get_subcommands().filter(|c| c.is_hide_set()).map(clap::Command::get_name).collect();
        assert!(hidden.len() >= 4, "{hidden:?}");
        for name in hidden {
            assert!(MORE.lines().any(|l| l.trim_start().starts_with(name)), "{name}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
