//! `lode world`: a made data set of which everything is known, to try strategies on.

use crate::context::{Context, refused};
use crate::early::Done;
use clap::ValueEnum;
use data::World;
use engine::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Flags of `world`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode world hidden
  lode prepare hidden --out hidden.lode
  lode race hidden.lode --strategies in-batch,ance,gist:guide.model=start --truth hidden/qrels/truth.tsv --out race")]
pub(crate) struct Args {
    /// The folder to write, new or empty, in BEIR's layout
    out: PathBuf,
    /// Which world
    #[arg(long, value_enum, default_value = "hidden")]
    kind: Kind,
    /// Which of its kind
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Training queries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    queries: Option<u32>,
    /// Training knows all answers, not one of them: to make a guide that knows better
    #[arg(long)]
    judged: bool,
}

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Eight documents answer a query, and training knows one of them
    Hidden,
    /// One document answers a query
    Plain,
}

/// Makes it.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    demand_free(&args.out)?;
    let world = match args.kind {
        Kind::Hidden => World::hidden(args.seed),
        Kind::Plain => World::plain(args.seed),
    };
    let queries = args.queries.map_or(world.queries, |n| n as usize);
    let world = World { judged: args.judged, queries, ..world };
    world.write(&args.out)?;
    let documents = world.topics * world.aspects * world.documents;
    match context.json {
        true => context.print_json(&json!({
            "out": args.out, "documents": documents, "queries": world.queries, "test_queries": world.test_queries,
            "answers": world.documents,
        })),
        false => {
            let folder = args.out.display();
            context.say(&format!(
                "{folder}: {documents} documents, {} training queries, {} test queries, {} answers each\n\
                 all answers of the training queries: {folder}/qrels/truth.tsv\n\
                 go on with: lode prepare {folder} --out {folder}.lode",
                world.queries, world.test_queries, world.documents
            ));
            Ok(())
        }
    }
}

/// # Errors
/// If something is there.
fn demand_free(out: &Path) -> Result<()> {
    match std::fs::read_dir(out).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused("this folder is not empty").at(out).help("choose another name")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(out, e)),
    }
}
