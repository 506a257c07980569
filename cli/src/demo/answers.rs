//! The trained model answers: five test titles, and whatever a person who sits there types.

use crate::context::Context;
use crate::early::Done;
use data::Split;
use engine::{Engine, Error};
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use train::Silent;
use train::predict::{How, Predictor};

/// Test titles that are answered, spread over the split.
const TITLES: usize = 5;
/// Labels that are shown.
const SHOWN: usize = 3;
/// Training titles that vote.
const NEIGHBOURS: usize = 20;

/// Answers.
pub(super) fn answer(run: &Path, engine: &Engine, context: &Context) -> Done {
    if context.json {
        return Ok(());
    }
    let how = How { knn: NEIGHBOURS, ..How::default() };
    let predictor = Predictor::open(engine, run, None, how, &mut Silent)?;
    let test = predictor.data().queries(Split::Test);
    context.print("Five test titles and what the model answers (* is what a librarian gave):")?;
    for i in (0..TITLES).map(|i| i * test.len() / TITLES) {
        let given = predictor.data().positives(Split::Test, i);
        context.print(&format!("  {}\n    {}", test.title(i), labels(&predictor, test.title(i), given)?))?;
    }
    if context.quiet || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    context.print("\nType a title of your own, or an empty line to end:")?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::io(Path::new("stdin"), e))?;
        if line.trim().is_empty() {
            break;
        }
        context.print(&format!("    {}", labels(&predictor, &line, &[])?))?;
    }
    Ok(())
}

fn labels(predictor: &Predictor, title: &str, given: &[u32]) -> Done<String> {
    let found = predictor.predict(&[title], SHOWN)?;
    let one = |p: &train::predict::Prediction| {
        let star = if given.contains(&p.label) { "*" } else { "" };
        format!("{}{star} ({:.2})", predictor.label(p.label).1, p.score)
    };
    Ok(found[0].iter().map(one).collect::<Vec<_>>().join(" · "))
}
