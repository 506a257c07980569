//! What tests of training start from: a small table that is prepared, and the settings of a run on it.

use data::{CsvSource, PrepareOptions, Source, TokenizerChoice};
use engine::Stream;
use std::path::{Path, PathBuf};
use train::config::Settings;
use train::{Event, Observer, Trainer};

/// Prepares a table of titles and labels with a vocabulary of its own; `change` may say how it is read.
#[allow(dead_code, reason = "one test prepares two tables")]
pub(crate) fn prepared(
    dir: &Path,
    csv: &str,
    vocabulary: usize,
    change: impl FnOnce(&mut CsvSource),
) -> PathBuf {
    let (table, out) = (dir.join("world.csv"), dir.join("world.lode"));
    std::fs::write(&table, csv).expect("written");
    let mut source = CsvSource::new(&table, "title", "label");
    change(&mut source);
    let options = PrepareOptions::new(&out, TokenizerChoice::Train(vocabulary));
    data::prepare(&Source::Csv(source), &options, &mut |_| {}).expect("prepared");
    out
}

/// A small transformer for topics, with dropout.
#[allow(dead_code, reason = "not every test has topics")]
pub(crate) const TINY: [&str; 7] = [
    "model.source=tiny",
    "model.width=32",
    "model.dropout=0.1",
    "train.batch=24",
    "train.epochs=2",
    "train.lr=1e-3",
    "train.warmup_steps=2",
];

/// Sixty topics of six words each; a title is four words of its topic and one of another; a label is two words of its
/// topic. What is near is what shares words, so there is something to learn and something to cluster.
#[allow(dead_code, reason = "not every test has topics")]
pub(crate) fn topics(dir: &Path, titles: u64) -> PathBuf {
    let s = Stream::new(11, 0);
    let word = |topic: u64, i: u64| format!("w{}x{}", topic, i);
    let mut next = 0;
    let mut draw = |n: u64| {
        next += 1;
        s.below(next, n)
    };
    let mut csv = String::from("title,label\n");
    for _ in 0..titles {
        let topic = draw(60);
        let mut words: Vec<String> = (0..2 + draw(3)).map(|_| word(topic, draw(6))).collect();
        words.push(word(draw(60), draw(6)));
        let label = draw(3);
        csv += &format!("{},{} {}\n", words.join(" "), word(topic, 2 * label), word(topic, 2 * label + 1));
    }
    prepared(dir, &csv, 400, |_| ())
}

/// The settings of a run on `data`: `base`, then `changes`, then the defaults of the recipe.
#[allow(dead_code, reason = "not every test has a run")]
pub(crate) fn settings(data: &Path, base: &[&str], changes: &[&str]) -> Settings {
    let mut settings = Settings::default();
    settings.flag("data.path", data.to_str().expect("a name"), "DATA").expect("a path");
    for change in base.iter().chain(changes) {
        settings.set(change).expect("a setting");
    }
    train::recipes::apply_defaults(&mut settings).expect("defaults");
    settings
}

/// The settings of a run of a fresh bag on `data`, where they may be refused.
#[allow(dead_code, reason = "not every test has something refused")]
pub(crate) fn settings_of(data: &Path, changes: &[&str]) -> engine::Result<Settings> {
    let mut settings = Settings::default();
    settings.flag("data.path", data.to_str().expect("a name"), "DATA")?;
    ["model.source=bag"].iter().chain(changes).try_for_each(|change| settings.set(change))?;
    train::recipes::apply_defaults(&mut settings)?;
    Ok(settings)
}

/// All bits of what a run may train.
#[allow(dead_code, reason = "not every test has a run")]
pub(crate) fn bits(trainer: &Trainer) -> Vec<u32> {
    let of = |params: &autograd::Params| -> Vec<u32> {
        params.ids().flat_map(|id| params.value(id).data::<f32>().iter().map(|x| x.to_bits())).collect()
    };
    let vectors = trainer.network.auxiliary.as_ref().map(|own| of(&own.params));
    let cross = trainer.cross_params().map(of);
    [of(&trainer.network.model.params), cross.unwrap_or_default(), vectors.unwrap_or_default()].concat()
}

/// Wants to stop after so many steps.
#[allow(dead_code, reason = "not every test stops a run")]
pub(crate) struct StopAfter(pub(crate) u64);
impl Observer for StopAfter {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn stop(&mut self) -> bool {
        self.0 == 0
    }
    fn event(&mut self, event: &Event<'_>) {
        if matches!(event, Event::Stepped(_)) {
            self.0 = self.0.saturating_sub(1);
        }
    }
}

/// Remembers what it is warned of.
#[derive(Default)]
#[allow(dead_code, reason = "not every test warns")]
pub(crate) struct Warned(pub(crate) Vec<String>);
impl Observer for Warned {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn stop(&mut self) -> bool {
        false
    }
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.push((*text).to_owned());
        }
    }
}
