//! A race of strategies: the same initial weights, the same number of texts encoded, the same grid for each, paired
//! seeds, the test queries read once.
//!
//! ```text
//! rehearsal   how many steps fit in the budget: mining, clustering and guides are paid from it
//! trials      seed 0: each rate and temperature, judged by nDCG@5 on the validation queries
//! finals      seeds 1 … n with them: the test queries, and a curve of the validation queries on the way
//! ```
//! No final shares a seed with the trials, so no choice flatters itself. Runs of one seed have the same validation
//! queries and the same first weights, whatever their strategy: differences are paired by seed. Every heat that was run
//! stands in a journal, so a race that was stopped goes on where it was, and more strategies or seeds may be added.

mod heat;
mod journal;
mod standing;

pub use heat::{Finish, Mark};
pub use journal::Journal;
pub use standing::{Standing, Versus, paired};

use crate::config::Settings;
use crate::observer::Observer;
use crate::recipes;
use engine::{Engine, Error, Result};
use heat::{Course, Stage};

/// Steps that the finals need at least: fewer say nothing of a strategy.
const STEPS_MIN: u64 = 10;

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
    /// If there is no such strategy.
    pub fn new(written: &str) -> Result<Entrant> {
        let mut parts = written.split(':').map(str::trim);
        let recipe = recipes::find(parts.next().unwrap_or_default())?;
        let first = format!("strategy.name={}", recipe.name);
        let assignments = [first].into_iter().chain(parts.map(str::to_owned)).collect();
        Ok(Entrant { name: written.trim().to_owned(), assignments })
    }
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
        // Nothing is run before all of it can be.
        for entrant in &self.entrants {
            track.race.choices(entrant)?;
        }
        let forwards = match self.forwards {
            Some(forwards) => forwards,
            None => track.epoch(self.entrants.first().ok_or_else(|| Error::input("nobody races"))?)?,
        };
        let standings = self.entrants.iter().map(|entrant| track.standing(entrant, forwards));
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
        match settings.config()?.head.is_on() {
            true => Err(Error::input("a race is between encoders").help("leave head.name away")),
            false => Ok(settings),
        }
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
        if let Some(done) = self.journal.find(&entrant.name, &settings, &course)? {
            return Ok(done);
        }
        let finish = heat::run(self.engine, &entrant.name, settings, &course, self.observer)?;
        self.journal.append(&finish)?;
        Ok(finish)
    }
    /// The texts that an epoch of this entrant encodes.
    fn epoch(&mut self, entrant: &Entrant) -> Result<u64> {
        Ok(self.heat(entrant, Choice::default(), Course { seed: 0, stage: Stage::Epoch })?.forwards)
    }
    fn standing(&mut self, entrant: &Entrant, forwards: u64) -> Result<Standing> {
        let choices = self.race.choices(entrant)?;
        let rehearsal = Course { seed: 0, stage: Stage::Rehearsal { forwards } };
        let steps = self.heat(entrant, choices[0], rehearsal)?.steps;
        if steps < STEPS_MIN {
            let name = &entrant.name;
            let what =
                format!("{name}: {forwards} texts pay for {steps} steps, at least {STEPS_MIN} are needed");
            return Err(
                Error::input(what).help("give more --forwards: lists and clusters are paid from them")
            );
        }
        let mut best: Option<(f64, Choice)> = None;
        for &choice in &choices {
            // With one choice there is nothing to try.
            if choices.len() == 1 {
                best = Some((0.0, choice));
                break;
            }
            let trial = self.heat(entrant, choice, Course { seed: 0, stage: Stage::Trial { steps } })?;
            let found = trial.validation_score();
            if best.is_none_or(|(so_far, _)| found > so_far) {
                best = Some((found, choice));
            }
        }
        let (_, choice) = best.expect("there is a choice");
        let marks = self.race.marks;
        let mut finals = vec![];
        for seed in 1..=self.race.seeds {
            finals.push(self.heat(entrant, choice, Course { seed, stage: Stage::Final { steps, marks } })?);
        }
        Ok(Standing { name: entrant.name.clone(), finals })
    }
}

#[cfg(test)]
mod tests;
