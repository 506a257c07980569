//! `lode explain`: why a text got its labels.

use crate::context::Context;
use crate::early::Done;
use crate::observer::Terminal;
use crate::quantity::{Bytes, count};
use crate::render::{rounded, table};
use data::Split;
use engine::{Error, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use train::explain::{Explainer, Explanation, NearTitle, Worth};

/// Flags of `explain`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lode explain run --text \"Lighting for video\"
  lode explain run --text \"Lighting for video\" --label \"stage lighting\"      why not this one")]
pub(crate) struct Args {
    /// The run
    run: PathBuf,
    /// The text
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// A label, by its id or its title, in the place of the best ones
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Labels to explain
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// Refuse to explain if it needs more memory, for example 16G
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
}

/// Explains.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let mut observer = Terminal::limited(context, args.max_memory);
    let explainer = Explainer::open(&context.engine()?, &args.run, &args.text, &mut observer);
    observer.finish();
    let explainer = explainer?;
    let found = match &args.label {
        None => explainer.best(&args.text, args.k as usize)?,
        Some(label) => vec![explainer.label(&args.text, find(&explainer, label)?)?],
    };
    if context.json {
        return found.iter().try_for_each(|one| context.print_json(&object(&explainer, &args.text, one)));
    }
    let by = if explainer.is_classifier() {
        "by its weights alone (predict ranks by the fusion)"
    } else {
        "by its text"
    };
    for one in &found {
        context.print(&shown(&explainer, one, by))?;
    }
    Ok(())
}

/// A label by its id, or by its title.
fn find(explainer: &Explainer, wanted: &str) -> Result<u32> {
    let labels = explainer.data().labels();
    let by = |is: &dyn Fn(usize) -> bool| (0..labels.len()).find(|&l| is(l));
    let lower = wanted.to_lowercase();
    let found = by(&|l| labels.uid(l) == wanted).or_else(|| by(&|l| labels.title(l).to_lowercase() == lower));
    found.map(|l| l as u32).ok_or_else(|| {
        let near = by(&|l| labels.title(l).to_lowercase().contains(&lower));
        let error = Error::input(format!("no label has the id or the title `{wanted}`"));
        match near {
            Some(near) => error.help(format!("there is `{}`", labels.title(near))),
            None => error.help(
                "labels that `lode index --add` added are found by their text alone, and not explained",
            ),
        }
    })
}

fn shown(explainer: &Explainer, one: &Explanation, by: &str) -> String {
    let (data, labels) = (explainer.data(), explainer.data().labels());
    let place = count(one.above as u64 + 1);
    let mut text = format!(
        "{}  {:.4}, {place}. of {} labels, {by}\n",
        labels.title(one.label as usize),
        one.score,
        count(labels.len() as u64)
    );
    let most = one.tokens.iter().map(|t| t.without.abs()).fold(1e-9, f32::max);
    let bar = |w: f32| {
        let length = (12.0 * w.abs() / most).round() as usize;
        (if w >= 0.0 { "█" } else { "░" }).repeat(length)
    };
    let mut rows = vec![["  token", "without it", "gradient × input"].map(str::to_owned).to_vec()];
    let mut bars = vec![String::new()];
    for Worth { token, without, gradient } in &one.tokens {
        rows.push(vec![format!("  {token}"), format!("{:+.4}", -without), format!("{gradient:+.4}")]);
        bars.push(bar(*without));
    }
    for (line, bar) in table(&rows).lines().zip(bars) {
        text += format!("{line}  {bar}").trim_end();
        text.push('\n');
    }
    let titles = data.queries(Split::Train);
    let mut near = |what: &str, all: &[NearTitle]| {
        text += &format!("  {what}\n");
        for one in all {
            text += &format!("    {:.3}  {}\n", one.cosine, titles.title(one.row as usize));
        }
    };
    near("pulled here by training titles that have it:", &one.pulled);
    near("pushed away by near titles that do not:", &one.pushed);
    text
}

fn object(explainer: &Explainer, text: &str, one: &Explanation) -> Value {
    let (labels, titles) = (explainer.data().labels(), explainer.data().queries(Split::Train));
    let near = |all: &[NearTitle]| -> Vec<Value> {
        let one = |n: &NearTitle| {
            let row = n.row as usize;
            json!({"uid": titles.uid(row), "title": titles.title(row), "cosine": rounded(n.cosine.into())})
        };
        all.iter().map(one).collect()
    };
    let worth = |t: &Worth| {
        let (without, gradient) = (rounded((-t.without).into()), rounded(t.gradient.into()));
        json!({"token": t.token, "without": without, "gradient": gradient})
    };
    json!({
        "text": text,
        "label": {"uid": labels.uid(one.label as usize), "title": labels.title(one.label as usize)},
        "score": rounded(one.score.into()),
        "rank": one.above + 1,
        "by": if explainer.is_classifier() { "classifier" } else { "text" },
        "tokens": one.tokens.iter().map(worth).collect::<Vec<_>>(),
        "pulled": near(&one.pulled),
        "pushed": near(&one.pushed),
    })
}
