//! Races on a small world, with a clock that stands still.

mod world;

use data::{DataSet, Verify};
use engine::{Engine, Kind, Result, Stream};
use std::path::{Path, PathBuf};
use train::race::{Entrant, Finish, Journal, Outcome, Race, Standing};
use train::{Observer, Settings, Silent};
use world::{StopAfter, prepared};

/// Titles of four words of one of thirty topics, whose label is two words of the topic.
fn shop(dir: &Path) -> PathBuf {
    let draw = |i: u64, n: u64| Stream::new(3, 1).below(i, n);
    let mut csv = String::from("title,label\n");
    for i in 0..400u64 {
        let topic = draw(8 * i, 30);
        let words: Vec<String> = (1..5).map(|j| format!("w{topic}x{}", draw(8 * i + j, 8))).collect();
        csv += &format!("{},w{topic}x0 w{topic}x1\n", words.join(" "));
    }
    prepared(dir, &csv, 300, |_| ())
}

fn race(data: &Path, entrants: &[&str], change: impl FnOnce(&mut Race)) -> Race {
    let mut base = Settings::default();
    base.flag("data.path", data.to_str().expect("a name"), "DATA").expect("a path");
    for set in ["model.source=bag", "model.width=16", "train.batch=16", "data.validation_per_mille=200"] {
        base.set(set).expect("a setting");
    }
    let entrants = entrants.iter().map(|name| Entrant::new(name).expect("a strategy")).collect();
    let mut race =
        Race { base, entrants, seeds: 2, rates: vec![], temperatures: vec![], forwards: None, marks: 3 };
    change(&mut race);
    race
}

fn run(race: &Race, folder: &Path, observer: &mut dyn Observer) -> Result<(Outcome, Vec<Finish>)> {
    let data = DataSet::open(&race.base.config()?.data.path, Verify::Header)?;
    let mut journal = Journal::open(folder, data.fingerprint(), "test")?;
    let outcome = race.run(&Engine::new(2), &mut journal, observer)?;
    Ok((outcome, journal.heats().to_vec()))
}

#[test]
fn all_have_the_same_budget_and_what_mines_pays_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let entrants =
        ["in-batch", "ance:negatives.refresh_steps=5", "ngame:composer.sizes=['1:8']:train.batch=73"];
    let race = race(&shop(dir.path()), &entrants, |race| {
        race.forwards = Some(3000);
    });
    let (outcome, heats) = run(&race, &dir.path().join("r"), &mut Silent).expect("runs");
    // Random batches of an epoch leave their embeddings for the first clusters, and so it is counted.
    assert!(heats.iter().filter(|heat| heat.entrant.starts_with("ngame")).all(|heat| heat.mined == 0));
    let [plain, ance, _] = &outcome.standings[..] else { panic!("{outcome:?}") };
    for standing in &outcome.standings {
        let names: Vec<u32> = standing.finals.iter().map(|heat| heat.seed).collect();
        assert_eq!(names, [1, 2]);
        for heat in &standing.finals {
            let off = heat.forwards as f64 / 3000.0 - 1.0;
            assert!(off.abs() < 0.06, "{}: {} texts", heat.entrant, heat.forwards);
            assert_eq!(heat.curve.len(), 3);
            let last = heat.curve.last().expect("a mark");
            assert_eq!(last.forwards, heat.forwards);
            assert!(heat.test["P@1"] > 0.2 && last.validation["P@1"] > 0.2, "it learned: {heat:?}");
        }
    }
    let of = |standing: &Standing| (standing.finals[0].steps, standing.finals[0].mined);
    assert!(of(plain).1 == 0 && of(ance).1 > 0 && of(ance).0 < of(plain).0, "{:?} {:?}", of(plain), of(ance));
    // Lists of all queries and labels, as often as they were made.
    let texts = DataSet::open(&dir.path().join("world.lode"), Verify::Header).expect("opens");
    let once = (texts.queries(data::Split::Train).len() + texts.labels().len()) as u64;
    assert_eq!(of(ance).1, once * of(ance).0.div_ceil(5));
    assert!(ance.finals[0].negatives <= 1.0 && plain.finals[0].negatives > 5.0, "own negatives alone");
    assert!(heats.iter().all(|heat| heat.stage != "trial"), "there was nothing to choose");
}

#[test]
fn a_race_that_was_stopped_ends_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = shop(dir.path());
    let race = race(&data, &["in-batch", "uniform"], |race| {
        (race.rates, race.temperatures, race.forwards) = (vec![1e-3, 1e-2], vec![0.1], Some(1200));
    });
    let (_, whole) = run(&race, &dir.path().join("whole"), &mut Silent).expect("runs");
    let folder = dir.path().join("stopped");
    let mut stops = 0;
    let again = loop {
        match run(&race, &folder, &mut StopAfter(100)) {
            Ok((_, heats)) => break heats,
            Err(e) => assert_eq!(e.kind(), Kind::Interrupted, "{e}"),
        }
        stops += 1;
        // As a process leaves it that was killed while it wrote.
        let path = folder.join("race.jsonl");
        let text = std::fs::read_to_string(&path).expect("a journal");
        std::fs::write(&path, format!("{text}{{\"entrant\":\"in-")).expect("written");
    };
    assert!(stops > 2 && again == whole, "{stops} stops, {} and {} heats", again.len(), whole.len());
    assert_eq!(whole.len(), 2 * (1 + 4 + 2), "rehearsal, four trials and two finals of each");
}

#[test]
fn the_choice_of_the_trials_is_raced_and_the_same_settings_are_not_run_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = shop(dir.path());
    let mut race = race(&data, &["in-batch"], |race| {
        (race.rates, race.forwards) = (vec![1e-6, 2e-2], Some(2000));
    });
    let folder = dir.path().join("r");
    let (outcome, before) = run(&race, &folder, &mut Silent).expect("runs");
    assert!(outcome.standings[0].finals.iter().all(|heat| heat.rate == 2e-2), "a rate that learns wins");
    race.seeds = 3;
    let (outcome, after) = run(&race, &folder, &mut Silent).expect("runs");
    assert_eq!((after.len(), &after[..before.len()]), (before.len() + 1, &before[..]));
    assert_eq!(outcome.standings[0].finals.len(), 3);
    race.base.set("train.batch=8").expect("a setting");
    assert!(run(&race, &folder, &mut Silent).expect("runs").1.len() > after.len() + 1, "another race");
}

#[test]
fn a_rate_at_which_numbers_run_away_loses_and_ends_no_race() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = shop(dir.path());
    let run_with = |rates: &[f64], folder: &str| {
        let race = race(&data, &["in-batch"], |race| {
            (race.rates, race.forwards) = (rates.to_vec(), Some(1500));
            race.base.set("train.clip=0").expect("a setting");
        });
        run(&race, &dir.path().join(folder), &mut Silent)
    };
    let (outcome, heats) = run_with(&[1e38, 1e-2], "r").expect("runs");
    assert_eq!(heats.iter().filter(|heat| heat.failed.is_some()).count(), 1, "a trial");
    assert!(outcome.standings[0].finals.iter().all(|heat| heat.rate == 1e-2 && heat.failed.is_none()));
    let e = run_with(&[1e38], "all").expect_err("nothing is left");
    assert!(e.kind() == Kind::Numeric && e.to_string().contains("in-batch at rate"), "{e}");
}

#[test]
fn a_text_that_is_encoded_twice_is_paid_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let race = race(&shop(dir.path()), &["in-batch", "in-batch:train.chunk=4"], |race| {
        race.forwards = Some(2000);
    });
    let (outcome, _) = run(&race, &dir.path().join("r"), &mut Silent).expect("runs");
    let steps: Vec<u64> = outcome.standings.iter().map(|standing| standing.finals[0].steps).collect();
    assert_eq!(steps[0] / 2, steps[1], "{steps:?}");
}

#[test]
fn what_cannot_be_raced_is_said_before_anything_is_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = shop(dir.path());
    let refused = |entrants: &[&str], change: fn(&mut Race), want: &str| {
        let e = run(&race(&data, entrants, change), &dir.path().join("r"), &mut Silent).expect_err("refused");
        assert!(e.to_string().contains(want), "{e}");
    };
    let few = race(&data, &["in-batch", "ance"], |race| race.forwards = Some(700));
    let e = run(&few, &dir.path().join("few"), &mut Silent).expect_err("refused");
    assert!(
        e.to_string().contains("ance: 700 texts pay for") && e.to_string().contains("at least 10"),
        "{e}"
    );
    let journal = std::fs::read_to_string(dir.path().join("few/race.jsonl")).expect("a journal");
    assert_eq!(journal.matches("rehearsal").count(), 2, "and nobody ran any farther: {journal}");
    assert_eq!(journal.lines().count(), 3);
    refused(&["in-batch", "uniform:negatives.law=odd"], |_| (), "negatives.law");
    refused(&["in-batch:head.name=classifier"], |_| (), "between encoders");
    refused(&["in-batch", "cross-encoder"], |_| (), "one of them would rest");
    refused(&["ar2:cross.model=tiny:negatives.refresh_steps=0"], |_| (), "goes by the run's length");
    refused(&["ar2:cross.model=tiny:negatives.from=bm25"], |_| (), "goes by the run's length");
    assert!(Entrant::new("ancee").expect_err("unknown").to_string().contains("did you mean `ance`"));
    for own in ["data.path=x", "train.seed=3", "train.lr=1"] {
        let e = Entrant::new(&format!("ance:{own}")).expect_err("the same for all");
        assert!(e.to_string().contains("the same for all"), "{e}");
    }
    refused(&["in-batch"], |race| race.temperatures = vec![0.0], "above 0");
    let held = Journal::open(&dir.path().join("l"), 1, "test").expect("opens");
    let busy = Journal::open(&dir.path().join("l"), 1, "test").expect_err("held");
    assert!(busy.kind() == Kind::Refused && busy.to_string().contains("another process"), "{busy}");
    drop(held);
    let other = Journal::open(&dir.path().join("r"), 1, "test").expect_err("another data set");
    assert!(other.to_string().contains("other data"), "{other}");
}
