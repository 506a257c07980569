//! A race of strategies: the same initial weights, the same number of texts encoded, the same grid for each, paired
//! seeds, the test queries read once.
//!
//! ```text
//! rehearsal   how many steps fit in the budget: mining, clustering and guides are paid from it; nothing is learned,
//!             except where a cross-encoder takes turns
//! trials      seed 0: each rate and temperature, judged by nDCG@5 on the validation queries
//! finals      seeds 1 … n with them: the test queries, and a curve of the validation queries on the way
//! ```
//! No final shares a seed with the trials, so no choice flatters itself. Runs of one seed have the same validation
//! queries and the same first weights, whatever their strategy: differences are paired by seed. Every heat that was run
//! stands in a journal, so a race that was stopped goes on where it was, and more strategies or seeds may be added.

mod heat;
mod journal;
mod standing;

pub use heat::{DECIDES, Finish, Mark};
pub use journal::Journal;
pub use standing::{Standing, Versus, paired};

use crate::config::Settings;
use crate::load;
use crate::observer::Observer;
use crate::recipes;
use engine::container::checksum;
use engine::{Engine, Error, Kind, Result};
use heat::{Course, Stage};
use std::path::Path;

/// Steps that the finals need at least: fewer say nothing of a strategy.
const STEPS_MIN: u64 = 10;

/// What no entrant may say for itself: without it nothing could be compared.
const SAME: [&str; 6] = ["data.", "model.source", "train.seed", "train.steps", "train.epochs", "train.lr"];

/// What is raced, and how far.
#[derive(Clone, Debug)]
pub struct Race {
    /// What is the same for all: data, model, batch.
    pub base: Settings,
    /// Who takes part.
    pub entrants: Vec<Entrant>,
    /// Finals of each: seeds 1 to this.
    pub seeds: u32,
    /// Learning rates that are tried; none for the one of the settings.
    pub rates: Vec<f64>,
    /// Temperatures that are tried beside that of the strategy.
    pub temperatures: Vec<f64>,
    /// Texts that a run may encode; none for those of an epoch of the first entrant.
    pub forwards: Option<u64>,
    /// Points of a curve.
    pub marks: u32,
}

/// A strategy, and what it is told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// As it was written: `ngame` or `gist:guide.model=start`.
    pub name: String,
    /// Settings as `a.b=c`, the strategy first.
    assignments: Vec<String>,
}

impl Entrant {
    /// Reads `STRATEGY` or `STRATEGY:a.b=c:d.e=f`.
    ///
    /// # Errors
    /// If there is no such strategy, or it wants for itself what must be the same for all.
    pub fn new(written: &str) -> Result<Entrant> {
        let mut parts = cut(written, ':').into_iter().map(str::trim);
        let recipe = recipes::find(parts.next().unwrap_or_default())?;
        let first = format!("strategy.name={}", recipe.name);
        let assignments: Vec<String> = [first].into_iter().chain(parts.map(str::to_owned)).collect();
        let key = |assignment: &str| assignment.split('=').next().unwrap_or_default().trim().to_owned();
        if let Some(same) =
            assignments.iter().map(|a| key(a)).find(|key| SAME.iter().any(|s| key.starts_with(s)))
        {
            let e = Error::input(format!(
                "`{same}` is the same for all who race, and no part of `{}`",
                recipe.name
            ));
            return Err(
                e.help("--set says it for all; --lr, --seeds and --forwards say how long and how fast")
            );
        }
        Ok(Entrant { name: written.trim().to_owned(), assignments })
    }
}

/// Cuts at `mark`, but not inside brackets: a setting may be a list.
pub fn cut(written: &str, mark: char) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0, 0, vec![]);
    for (at, c) in written.char_indices() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        if c == mark && depth <= 0 {
            parts.push(&written[begin..at]);
            begin = at + c.len_utf8();
        }
    }
    parts.push(&written[begin..]);
    parts
}

/// What came of a race.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Texts that each run was allowed to encode.
    pub forwards: u64,
    /// Each entrant with its finals, in the order in which they were named.
    pub standings: Vec<Standing>,
}

impl Race {
    /// Runs the heats that the journal does not have.
    ///
    /// # Errors
    /// If settings do not fit each other, a strategy spends its budget before it can learn, a heat fails, or the
    /// observer wants to stop: what was run by then is kept.
    pub fn run(
        &self,
        engine: &Engine,
        journal: &mut Journal,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let mut track = Track { race: self, engine, journal, observer };
        if self.rates.iter().chain(&self.temperatures).any(|x| !(x.is_finite() && *x > 0.0)) {
            return Err(Error::input("rates and temperatures are numbers above 0"));
        }
        self.entrants.iter().try_for_each(|entrant| self.choices(entrant).map(|_| ()))?;
        let forwards = match self.forwards {
            Some(forwards) => forwards,
            None => track.epoch(self.entrants.first().ok_or_else(|| Error::input("nobody races"))?)?,
        };
        // Who cannot take part is told before anybody has run far.
        let steps = self.entrants.iter().map(|entrant| track.rehearsed(entrant, forwards));
        let steps = steps.collect::<Result<Vec<u64>>>()?;
        let standings =
            self.entrants.iter().zip(steps).map(|(entrant, steps)| track.standing(entrant, steps));
        Ok(Outcome { forwards, standings: standings.collect::<Result<_>>()? })
    }
    /// The settings of an entrant as it would run of itself.
    ///
    /// # Errors
    /// If they do not fit each other.
    pub fn settings_of(&self, entrant: &Entrant) -> Result<Settings> {
        self.settings(entrant, Choice::default())
    }
    /// The settings of an entrant with a rate and a temperature, all of them checked.
    fn settings(&self, entrant: &Entrant, choice: Choice) -> Result<Settings> {
        let mut settings = self.base.clone();
        entrant.assignments.iter().try_for_each(|assignment| settings.set(assignment))?;
        choice.rate.map_or(Ok(()), |rate| settings.set(&format!("train.lr={rate:?}")))?;
        choice.temperature.map_or(Ok(()), |t| settings.set(&format!("loss.temperature={t:?}")))?;
        recipes::apply_defaults(&mut settings)?;
        let config = settings.config()?;
        if config.head.is_on() {
            let e = Error::input("a race is between encoders, and a classifier is none");
            return Err(e.help("leave head.name, and the strategies adore, zloss and unidec, away"));
        }
        if config.cross.alone() {
            let e =
                Error::input("a race is between encoders, and one of them would rest: `cross.share` is 1");
            return Err(e.help("leave the strategy cross-encoder away"));
        }
        if config.cross.learns() && config.negatives.refreshed_every() == 0 {
            // A rehearsal, which is longer or shorter, would be another run.
            let e =
                Error::input("where lists are made once, a cross-encoder's turn goes by the run's length");
            return Err(e.help("negatives.from=model and negatives.refresh_steps above 0, or cross.share=0"));
        }
        Ok(settings)
    }
    /// What is tried for an entrant: its own temperature at each rate, then the others that it can have.
    fn choices(&self, entrant: &Entrant) -> Result<Vec<Choice>> {
        let own = self.settings(entrant, Choice::default())?.config()?;
        let rates = if self.rates.is_empty() { vec![own.train.lr] } else { self.rates.clone() };
        let tells = own.loss.name != "margin-mse";
        let others = self.temperatures.iter().copied().filter(|&t| tells && t != own.loss.temperature);
        let temperatures = std::iter::once(None).chain(others.map(Some));
        let mut choices = vec![];
        for temperature in temperatures {
            for &rate in &rates {
                let choice = Choice { rate: Some(rate), temperature };
                match self.settings(entrant, choice) {
                    Ok(_) => choices.push(choice),
                    // Not every loss can have every temperature.
                    Err(_) if temperature.is_some() => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(choices)
    }
}

/// A point of the grid; none stands for what the strategy has of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Choice {
    rate: Option<f64>,
    temperature: Option<f64>,
}

/// A race under way.
struct Track<'a> {
    race: &'a Race,
    engine: &'a Engine,
    journal: &'a mut Journal,
    observer: &'a mut dyn Observer,
}

impl Track<'_> {
    /// A heat from the journal, or run now and noted there.
    fn heat(&mut self, entrant: &Entrant, choice: Choice, course: Course) -> Result<Finish> {
        let settings = self.race.settings(entrant, choice)?;
        let named = (&*entrant.name, &*models(&settings)?);
        if let Some(done) = self.journal.find(named, &settings, &course)? {
            return Ok(done);
        }
        let finish = heat::run(self.engine, named, settings, &course, self.observer)?;
        self.journal.append(&finish)?;
        Ok(finish)
    }
    /// The texts that an epoch of this entrant encodes.
    fn epoch(&mut self, entrant: &Entrant) -> Result<u64> {
        Ok(self.heat(entrant, Choice::default(), Course { seed: 0, stage: Stage::Epoch })?.forwards)
    }
    /// How many steps the budget pays for.
    fn rehearsed(&mut self, entrant: &Entrant, forwards: u64) -> Result<u64> {
        let choices = self.race.choices(entrant)?;
        let rehearsal = Course { seed: 0, stage: Stage::Rehearsal { forwards } };
        // A rate at which it runs away is no reason not to try the others.
        let mut rehearsed = self.heat(entrant, choices[0], rehearsal)?;
        for &choice in &choices[1..] {
            if rehearsed.failed.is_some() {
                rehearsed = self.heat(entrant, choice, rehearsal)?;
            }
        }
        let steps = demand_whole(rehearsed)?.steps;
        if steps < STEPS_MIN {
            let name = &entrant.name;
            let what =
                format!("{name}: {forwards} texts pay for {steps} steps, at least {STEPS_MIN} are needed");
            return Err(
                Error::input(what).help("give more --forwards: lists and clusters are paid from them")
            );
        }
        Ok(steps)
    }
    /// The finals of an entrant, after its trials.
    fn standing(&mut self, entrant: &Entrant, steps: u64) -> Result<Standing> {
        let choices = self.race.choices(entrant)?;
        let (mut best, mut failed): (Option<(f64, Choice)>, _) = (None, None);
        for &choice in &choices {
            // With one choice there is nothing to try.
            if choices.len() == 1 {
                best = Some((0.0, choice));
                break;
            }
            let trial = self.heat(entrant, choice, Course { seed: 0, stage: Stage::Trial { steps } })?;
            let found = trial.validation_score();
            if found == f64::NEG_INFINITY {
                failed = Some(trial);
                continue;
            }
            if best.is_none_or(|(so_far, _)| found > so_far) {
                best = Some((found, choice));
            }
        }
        let Some((_, choice)) = best else {
            return Err(failed.map_or_else(|| Error::input("nothing to try"), |heat| ran_away(&heat)));
        };
        let marks = self.race.marks;
        let mut finals = vec![];
        for seed in 1..=self.race.seeds {
            let heat = self.heat(entrant, choice, Course { seed, stage: Stage::Final { steps, marks } })?;
            finals.push(demand_whole(heat)?);
        }
        Ok(Standing { name: entrant.name.clone(), finals })
    }
}

/// Hashes of the models and lists that a run reads: by the time that a race goes on a folder may hold others.
fn models(settings: &Settings) -> Result<String> {
    let config = settings.config()?;
    let named =
        [&*config.model.source, &config.model.embeddings, &config.guide.model, &config.negatives.model];
    let folders = named.into_iter().map(Path::new).filter(|path| path.is_dir());
    let hashes = folders.map(|path| Ok(load::network(path)?.fingerprint()));
    let mut hashes = hashes.collect::<Result<Vec<u64>>>()?;
    if !config.negatives.file.is_empty() {
        let path = Path::new(&config.negatives.file);
        hashes.push(checksum(&std::fs::read(path).map_err(|e| Error::io(path, e))?));
    }
    Ok(hashes.iter().map(|hash| format!("{hash:016x}")).collect::<Vec<_>>().join(" "))
}

fn ran_away(heat: &Finish) -> Error {
    let Finish { entrant, rate, temperature, .. } = heat;
    let why = heat.failed.as_deref().unwrap_or_default();
    Error::new(Kind::Numeric, format!("{entrant} at rate {rate} and temperature {temperature}: {why}"))
}

/// A heat that came to its end.
fn demand_whole(heat: Finish) -> Result<Finish> {
    if heat.failed.is_some() { Err(ran_away(&heat)) } else { Ok(heat) }
}
