//! What `train` and `resume` share: the run itself, and what is said when it ends.

use crate::context::Context;
use crate::early::{Done, Early};
use crate::memory;
use crate::observer::Terminal;
use crate::processes;
use crate::quantity::{count, span};
use crate::render::{Style, metrics, note, percent, rounded, table};
use engine::{Error, Kind, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use train::plan::{MemoryPlan, bytes};
use train::{Held, Observer, OldLabels, Outcome, RunDir, Trainer, run};

/// What a run may take before its label tables are mapped: as the user says, else what the machine has to give.
pub(crate) fn limit(wished: Option<usize>) -> Option<usize> {
    wished.or_else(|| memory::machine().map(|(_, available)| available as usize))
}

/// Where label tables are mapped that memory does not hold: on the disk of the run, whose directory may be yet to come.
pub(crate) fn place(out: Option<&Path>) -> PathBuf {
    let out =
        out.map_or_else(PathBuf::new, |out| std::path::absolute(out).unwrap_or_else(|_| out.to_owned()));
    let there = out.ancestors().find(|folder| folder.is_dir());
    there.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Refuses a run beyond the limit; without a limit, warns where the machine has less to give.
pub(crate) fn check_memory(plan: &MemoryPlan, limit: Option<usize>, context: &Context) -> Result<()> {
    if let Some(device) = plan.device.as_ref().filter(|device| device.total() > device.free) {
        let (needs, has) = (bytes(device.total()), bytes(device.free));
        let warning = context.style.warning("warning:");
        note(&format!(
            "{warning} this run needs about {needs} of {}, which has {has} to give (see --dry-run)",
            device.name
        ));
    }
    afford(&plan.held(), limit, context.style, " (see --dry-run)")
}

/// The same of any job; `more` ends a warning.
pub(crate) fn afford(held: &Held, limit: Option<usize>, style: Style, more: &str) -> Result<()> {
    match (limit, memory::machine()) {
        (Some(limit), _) => held.demand(limit),
        (None, Some((_, available))) if held.total() as u64 > available => {
            let (needs, has) = (bytes(held.total()), bytes(available as usize));
            let (warning, what) = (style.warning("warning:"), held.what);
            note(&format!("{warning} {what} needs about {needs}, this machine has {has} to give{more}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Trains to the end or to a signal, and says how it ended.
pub(crate) fn train(
    trainer: &mut Trainer,
    plan: &MemoryPlan,
    dir: &RunDir,
    observer: &mut Terminal,
    context: &Context,
) -> Done {
    let outcome = walk(trainer, plan, (dir, dir.root()), observer, context)?;
    finished(&outcome, trainer, dir, context)
}

/// Trains to the end; a signal ends it early, and `lode resume ROOT` goes on then.
pub(crate) fn walk(
    trainer: &mut Trainer,
    plan: &MemoryPlan,
    (dir, root): (&RunDir, &Path),
    observer: &mut Terminal,
    context: &Context,
) -> Result<Outcome, Early> {
    context.stop.is_heard();
    trainer.device().iter().for_each(|device| context.say(&format!("on {device}")));
    observer.begins = Some((dir.clone(), processes::begins(trainer, plan, context)));
    observer.tensorboard = trainer.config().save.tensorboard.then(|| dir.root().join("tensorboard"));
    let since = observer.seconds();
    let ended = run::run(trainer, dir, observer);
    observer.finish();
    // What is left of it never began: the run was over, or another process trains it.
    if observer.begins.take().is_none() {
        let seconds = observer.seconds() - since;
        processes::append(dir, &processes::ends(trainer, seconds, observer.anonymous_peak()));
    }
    let outcome = ended.map_err(|e| name_checkpoint(e, dir))?;
    if !outcome.finished {
        return Err(interrupted(&outcome, trainer, (dir, root), observer, context));
    }
    Ok(outcome)
}

/// A numeric failure names what can be gone back to.
fn name_checkpoint(error: Error, dir: &RunDir) -> Error {
    if error.kind() != Kind::Numeric {
        return error;
    }
    match train::finite::last_good(&dir.checkpoints()) {
        Some(path) => error.note(format!("the last good checkpoint is {}", path.display())),
        None => error.note("there is no checkpoint with finite numbers"),
    }
}

fn interrupted(
    o: &Outcome,
    trainer: &Trainer,
    (dir, root): (&RunDir, &Path),
    observer: &Terminal,
    context: &Context,
) -> Early {
    let root = root.display();
    let took = observer.saved.map_or_else(String::new, |(_, seconds)| format!(" in {seconds:.2} s"));
    let (step, steps) = (count(o.step), count(trainer.total_steps()));
    note(&format!("interrupted: step {step} of {steps} saved{took}\nresume with: lode resume {root}"));
    let told = if context.json { context.print_json(&summary(o, trainer, dir, context)) } else { Ok(()) };
    told.err().unwrap_or(Early::Interrupted(context.stop.requested().unwrap_or(2)))
}

fn finished(outcome: &Outcome, trainer: &Trainer, dir: &RunDir, context: &Context) -> Done {
    if context.json {
        return context.print_json(&summary(outcome, trainer, dir, context));
    }
    let (root, data) = (dir.root().display(), trainer.data().path().display());
    let took = span(context.started.elapsed().as_secs_f64());
    context.print(&format!("{root}: {} steps in {took}", count(outcome.step)))?;
    if let Some(skipped) = trainer.skipped().filter(|&skipped| skipped > 0) {
        let skipped = count(u64::from(skipped));
        context.print(&format!("{skipped} of them passed over: their loss or gradient was not finite"))?;
    }
    if !outcome.validation.is_empty() {
        let row = |(metric, value): &(_, f64)| vec![format!("{metric}"), percent(*value)];
        let rows: Vec<Vec<String>> = outcome.validation.iter().map(row).collect();
        let queries = count(trainer.validation_rows.len() as u64);
        context.print(&format!("\nvalidation, {queries} queries held out of training\n{}", table(&rows)))?;
    }
    if let Some(OldLabels { labels, queries, before, after }) = outcome.old_labels {
        let [before, after] = [before, after].map(percent);
        let (labels, queries) = (count(labels as u64), count(queries as u64));
        context.print(&format!(
            "\n{labels} labels known before this run, {queries} queries with one of them\n\
             P@1 among them  {before} before, {after} after"
        ))?;
    }
    context.say(&format!(
        "Next:  lode evaluate {root} {data} --split test\n       lode predict {root} --text \"…\"\n       \
         lode export {root} --to hf --out MODEL"
    ));
    Ok(())
}

fn summary(outcome: &Outcome, trainer: &Trainer, dir: &RunDir, context: &Context) -> serde_json::Value {
    json!({
        "run": dir.root(),
        "finished": outcome.finished,
        "step": outcome.step,
        "steps": trainer.total_steps(),
        "skipped": trainer.skipped(),
        "validation": metrics(&outcome.validation),
        "validation_queries": trainer.validation_rows.len(),
        "old_labels": outcome.old_labels.map(|o| {
            json!({
                "labels": o.labels, "queries": o.queries,
                "P@1_before": rounded(o.before), "P@1_after": rounded(o.after),
            })
        }),
        "seconds": rounded(context.started.elapsed().as_secs_f64()),
        "peak_rss_bytes": memory::resident_peak(),
    })
}
