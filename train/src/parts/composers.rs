//! The composers by name, and what they are made of.

use crate::config::{ComposerConfig, Config};
use engine::{Error, Result};
use samplers::composer::cluster::Cluster;
use samplers::composer::schedule::Schedule;
use samplers::composer::shuffled::Shuffled;
use samplers::composer::{Composer, Cut, Last};

/// Makes the composer that a configuration asks for, over these training queries.
type Compose = fn(&Config, rows: Vec<u32>) -> Result<Box<dyn Composer>>;

const COMPOSERS: [(&str, Compose); 2] = [("ngame", ngame), ("shuffled", shuffled)];

/// Wished cluster sizes of the first epochs after the warm-up; the last one stays. For runs of a few epochs, in which
/// the published curriculum of 300 would never leave its first sizes.
const SIZES: [u32; 4] = [4, 8, 16, 32];

/// The composer of this name.
///
/// # Errors
/// If there is none: with the names that there are.
pub(super) fn find(name: &str) -> Result<Compose> {
    COMPOSERS.iter().find(|(known, _)| *known == name).map(|&(_, compose)| compose).ok_or_else(|| {
        let names = COMPOSERS.map(|(name, _)| name).join(", ");
        Error::input(format!("there is no composer `{name}`")).help(format!("known: {names}"))
    })
}

fn cut(config: &Config) -> Cut {
    Cut { batch: config.train.batch, last: Last::Drop }
}

fn shuffled(config: &Config, rows: Vec<u32>) -> Result<Box<dyn Composer>> {
    Ok(Box::new(Shuffled::new(rows, cut(config))))
}

fn ngame(config: &Config, rows: Vec<u32>) -> Result<Box<dyn Composer>> {
    let schedule = schedule(&config.composer)?;
    let epochs = config.train.epochs;
    if config.train.steps == 0 && schedule.made_at(epochs.saturating_sub(1)).is_none() {
        let first = (0..).find(|&epoch| schedule.size(epoch).is_some()).unwrap_or_default();
        let what = format!("the first clusters come in epoch {first}, the run has {epochs} (counted from 0)");
        return Err(Error::input(what).help(
            "let composer.sizes (or composer.warmup_epochs) begin earlier; --composer shuffled has random batches",
        ));
    }
    Ok(Box::new(Cluster::new(rows, cut(config), schedule)))
}

/// The curriculum of cluster sizes.
fn schedule(config: &ComposerConfig) -> Result<Schedule> {
    let mut sizes = vec![];
    for entry in &config.sizes {
        let parsed =
            entry.split_once(':').and_then(|(e, s)| Some((e.trim().parse().ok()?, s.trim().parse().ok()?)));
        sizes.push(parsed.ok_or_else(|| {
            Error::input(format!("`composer.sizes`: `{entry}` is not of the form epoch:size"))
                .help("for example composer.sizes = [\"0:8\", \"2:32\"]")
        })?);
    }
    if sizes.is_empty() {
        sizes = (0..SIZES.len() as u32).map(|i| (config.warmup_epochs + i, SIZES[i as usize])).collect();
    }
    Schedule::new(sizes, config.refresh_epochs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_curriculum_that_never_begins_is_refused() {
        let mut settings = Settings::default();
        settings.preset("lf-amazontitles-131k").expect("a preset");
        let compose =
            |settings: &Settings| ngame(&settings.config().expect("in range"), (0..99).collect()).map(|_| ());
        assert!(compose(&settings).is_ok());
        settings.set("train.epochs=10").expect("a value");
        let e = compose(&settings).expect_err("ten random epochs").to_string();
        assert!(e.contains("first clusters come in epoch 10, the run has 10"), "{e}");
        settings.set("train.steps=900").expect("a value");
        assert!(compose(&settings).is_ok());
    }
}
