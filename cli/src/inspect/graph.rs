//! `lode inspect graph`: the tapes of one step of a run, as a table, a page that folds, a drawing, or for Graphviz.

mod dot;
mod drawing;
mod folds;
mod page;

use crate::context::Context;
use crate::early::{Done, Early};
use crate::observer::Terminal;
use crate::profile::clock;
use crate::quantity::{Bytes, count};
use crate::render::table;
use crate::whole::Whole;
use clap::builder::{PathBufValueParser, TypedValueParser};
use engine::{Error, Kind, Result};
use folds::{Fold, Sum, Tape, flops, milliseconds, norm};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use train::Graph;
use train::plan::bytes;

/// Flags of `inspect graph`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode inspect graph run                            what the next step costs, part by part
  lode inspect graph run --out graph.html           its tapes as a page: layers unfold
  lode inspect graph run --out graph.svg            one drawing of all of it
  lode inspect graph run --dot graph.dot            the same for Graphviz: dot -Tsvg graph.dot
  lode inspect graph run --json                     every value of the tapes, a line each, then the step

The run stays as it is.")]
pub(crate) struct Args {
    /// The run
    run: PathBuf,
    /// Where to draw it: a page (.html) or a drawing (.svg)
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(Picture::named))]
    out: Option<Picture>,
    /// Where to write it in the language of Graphviz
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    /// Refuse to look if that needs more memory, for example 16G
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
}

/// Looks.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    // What cannot be written is said before a step is computed.
    let files = || args.out.iter().map(|out| &out.path).chain(&args.dot);
    files().try_for_each(|path| writable(path, &args.run))?;
    if args.dot.as_ref().is_some_and(|dot| args.out.as_ref().is_some_and(|out| out.path == *dot)) {
        return Err(Error::input("one file cannot be both, --out and --dot").into());
    }
    let mut observer = Terminal::limited(context, args.max_memory);
    context.stop.is_heard();
    let graph = Graph::of(&context.engine()?, &args.run, clock, &mut observer);
    observer.finish();
    let graph = match graph {
        Err(e) if e.kind() == Kind::Interrupted => {
            return Err(Early::Interrupted(context.stop.requested().unwrap_or(2)));
        }
        graph => graph?,
    };
    let tapes = folds::tapes(&graph);
    let title = format!("Step {} of {}", count(graph.report.step), args.run.display());
    if let Some(Picture { path, draw }) = &args.out {
        Whole::write(path, &draw(&title, &graph, &tapes))?;
    }
    if let Some(path) = &args.dot {
        Whole::write(path, &dot::text(&title, &tapes))?;
    }
    if context.json {
        for tape in &tapes {
            (0..tape.values.len()).try_for_each(|id| context.print_json(&object(tape, id)))?;
        }
        return context.print_json(&step(&graph));
    }
    context.print(&format!("{title}\n\n{}\n{}", parts(&tapes), totals(&graph)))?;
    files().for_each(|path| context.say(&format!("wrote {}", path.display())));
    Ok(())
}

/// A file, and what makes its text from a title and what is shown.
#[derive(Clone)]
struct Picture {
    path: PathBuf,
    draw: fn(&str, &Graph, &[Tape<'_>]) -> String,
}

impl Picture {
    /// What a file of this name holds.
    fn named(path: PathBuf) -> Result<Picture, &'static str> {
        let draw = match path.extension().and_then(OsStr::to_str) {
            Some("html" | "htm") => page::html,
            Some("svg") => drawing::whole,
            _ => return Err("a page ends in .html, a drawing in .svg"),
        };
        Ok(Picture { path, draw })
    }
}

/// # Errors
/// If there can be no file of this name, or it would stand in the run, which stays as it is.
fn writable(path: &Path, run: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::input("is a folder, a file will be written").at(path));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let real = folder.unwrap_or(Path::new(".")).canonicalize();
    if real.is_ok_and(|folder| run.canonicalize().is_ok_and(|run| folder.starts_with(run))) {
        return Err(Error::new(Kind::Refused, "lies in the run, which stays as it is").at(path));
    }
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(Error::input("there is no such folder").at(folder).help("make it, or name another file"))
        }
        _ => Ok(()),
    }
}

/// The table for people.
fn parts(tapes: &[Tape<'_>]) -> String {
    let head = ["part", "ops", "FLOP →", "FLOP ←", "kept", "‖∇θ‖", "ms →", "ms ←"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let row = |name: String, sum: &Sum| {
        vec![
            name,
            count(sum.ops),
            flops(sum.flops.forward),
            flops(sum.flops.backward),
            bytes(sum.kept as usize),
            sum.norm.map_or_else(|| "–".to_owned(), norm),
            milliseconds(sum.seconds[0]),
            milliseconds(sum.seconds[1]),
        ]
    };
    for tape in tapes {
        rows.push(row(tape.name.clone(), &tape.sum()));
        let part = |fold: &Fold| row(format!("  {}", fold.name), &tape.sum_of(&fold.ids));
        rows.extend(tape.folds.iter().filter(|fold| fold.ops > 0).map(part));
    }
    table(&rows)
}

/// The step in a few lines.
fn totals(graph: &Graph) -> String {
    let (report, total, [there, back]) = (&graph.report, graph.flops(), graph.op_seconds());
    let rest = graph.seconds - there - back;
    format!(
        "{}{} tokens in {} texts, loss {:.4}, norm of the gradient {}\n\
         {} forward, {} backward; {} kept for backward\n\
         {} ms forward, {} ms backward, {} ms beside operations\n",
        graph.unseen.iter().map(|what| format!("not shown: {what}\n")).collect::<String>(),
        count(report.tokens),
        count(report.texts),
        report.loss,
        norm(report.grad_norm),
        flops(total.forward),
        flops(total.backward),
        bytes(graph.kept() as usize),
        milliseconds(there),
        milliseconds(back),
        milliseconds(rest),
    )
}

/// A value, for programs.
fn object(tape: &Tape<'_>, id: usize) -> Value {
    let value = &tape.values[id];
    json!({
        "tape": tape.name,
        "id": id,
        "op": value.op,
        "param": value.param,
        "part": tape.part_of(id),
        "inputs": value.inputs,
        "shape": value.shape.dims(),
        "flops_forward": value.flops.forward,
        "flops_backward": value.flops.backward,
        "kept_bytes": value.kept,
        "gradient_norm": value.norm,
        "seconds_forward": value.seconds[0],
        "seconds_backward": value.seconds[1],
    })
}

/// The step, for programs.
fn step(graph: &Graph) -> Value {
    let (report, total, [there, back]) = (&graph.report, graph.flops(), graph.op_seconds());
    json!({
        "step": report.step,
        "epoch": report.epoch,
        "loss": report.loss,
        "grad_norm": report.grad_norm,
        "tokens": report.tokens,
        "texts": report.texts,
        "values": graph.values().count(),
        "flops_forward": total.forward,
        "flops_backward": total.backward,
        "kept_bytes": graph.kept(),
        "seconds_forward": there,
        "seconds_backward": back,
        "seconds": graph.seconds,
        "unseen": graph.unseen,
    })
}
