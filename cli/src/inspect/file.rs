//! `lode inspect file`: the sections of a container, each held against its checksum; of a checkpoint also where the run
//! stood.

use crate::context::Context;
use crate::early::Done;
use crate::quantity::count;
use crate::render::table;
use engine::container::{Container, Section, Verify};
use engine::{Error, Kind, Tensor};
use serde_json::{Value, json};
use std::path::PathBuf;
use train::Checkpoint;
use train::checkpoint::Chained;
use train::plan::bytes;

/// Flags of `inspect file`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file
    path: PathBuf,
}

/// Looks. A damaged section is told of, and is an error when all are told.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let path = &args.path;
    let Some(kind) = Container::kind_of(path) else {
        // The reader says what is wrong with it.
        let found = Container::open(path, "", Verify::Header);
        let e = found.err().unwrap_or_else(|| Error::input("is no file of Lode's").at(path));
        return Err(e.into());
    };
    let file = Container::open(path, &kind, Verify::Header)?;
    let checked: Vec<bool> = file.sections().iter().map(|s| file.check(&s.name).is_ok()).collect();
    let checkpoint = match kind.as_str() {
        // Its tables may lie in files that it adds to: those are read as well.
        "checkpoint" if checked.iter().all(|&whole| whole) => Some(Checkpoint::read(path)?),
        _ => None,
    };
    let total: u64 = file.sections().iter().map(|s| s.bytes).sum();
    if context.json {
        let section = |(s, whole): (&Section, &bool)| {
            let (scalar, sum) = (format!("{:?}", s.scalar), format!("{:016x}", s.checksum));
            json!({"name": s.name, "type": scalar, "bytes": s.bytes, "xxh3": sum, "whole": whole})
        };
        context.print_json(&json!({
            "kind": kind,
            "fingerprint": format!("{:016x}", file.fingerprint()),
            "bytes": total,
            "sections": file.sections().iter().zip(&checked).map(section).collect::<Vec<_>>(),
            "checkpoint": checkpoint.as_ref().map(object),
        }))?;
    } else {
        let size = bytes(total as usize);
        let mut text = format!("{kind} {:016x}, {size} in {} sections\n", file.fingerprint(), checked.len());
        if let Some(c) = &checkpoint {
            let (p, tensors) = (c.progress, c.params.len() + c.optimizer.len() + c.memory.len());
            text += &format!(
                "step {}, epoch {} (batch {}), {} kernels, of data {:016x}; {tensors} tensors\n",
                count(p.step),
                p.epoch,
                count(p.batch),
                c.kernel_class,
                c.data
            );
        }
        let mut rows = vec![["section", "type", "numbers", "bytes", "xxh3", ""].map(str::to_owned).to_vec()];
        for (s, whole) in file.sections().iter().zip(&checked) {
            rows.push(vec![
                s.name.clone(),
                format!("{:?}", s.scalar).to_lowercase(),
                count(s.bytes / s.scalar.size() as u64),
                bytes(s.bytes as usize),
                format!("{:016x}", s.checksum),
                if *whole { "whole" } else { "DAMAGED" }.to_owned(),
            ]);
        }
        context.print(&format!("{text}\n{}", table(&rows)))?;
    }
    match checked.iter().filter(|&&whole| !whole).count() {
        0 => Ok(()),
        damaged => {
            let e = Error::new(Kind::Damaged, format!("{damaged} of {} sections are damaged", checked.len()));
            Err(e.at(path).help("the file was changed or the disk is failing; make the file again").into())
        }
    }
}

fn object(c: &Checkpoint<'_, Chained>) -> Value {
    let tensor = |(name, t): &(String, Tensor)| json!({"name": name, "shape": t.shape().dims()});
    json!({
        "step": c.progress.step,
        "epoch": c.progress.epoch,
        "batch": c.progress.batch,
        "kernels": c.kernel_class,
        "data": format!("{:016x}", c.data),
        "tensors": c.params.iter().map(tensor).collect::<Vec<_>>(),
    })
}
