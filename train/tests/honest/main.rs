//! What strategies claim, held against made worlds (`docs/worlds.md`): which way each pulls, judged by all answers, and
//! controls in which its premise is false and it must not win.
//!
//! The large effects are tested on three seeds. `SLOW=1` runs all on ten (`SEEDS=3`: on three; `ONLY=gist`: those that
//! have it in their name) and prints the table of `docs/worlds.md`:
//! `SLOW=1 cargo test --release --locked -p train --test honest -- --nocapture`.

mod claims;
mod place;
#[path = "../world/mod.rs"]
mod world;

use claims::Says::{Better, NoBetter, NoWorse, Plainly, Shown};
use claims::{CLASSES, Claim, HIDDEN, JUDGED, ONE_LANGUAGE, PLAIN, POOLED, READ, SOME_WORDS, WRONG};
use data::{Split, World};
use place::{Kind, Place};
use std::collections::HashMap;
use train::Silent;
use train::race::{Versus, paired};

/// Runs each arm once for each seed.
struct Runs {
    places: Vec<Place>,
    done: HashMap<(&'static str, u64), Vec<[f64; 3]>>,
}

impl Runs {
    fn of(&mut self, arm: &'static str, steps: u64) -> &[[f64; 3]] {
        let all = || self.places.iter().map(|place| place.run(arm, steps)).collect();
        self.done.entry((arm, steps)).or_insert_with(all)
    }
}

fn mean(values: &[[f64; 3]], which: usize) -> f64 {
    values.iter().map(|v| v[which]).sum::<f64>() / values.len() as f64
}

fn check(claims: &[Claim], make: fn(u64) -> World, (metric, name): (usize, &str), kind: Kind) {
    let slow = std::env::var_os("SLOW").is_some();
    let seeds: u64 =
        std::env::var("SEEDS").map_or(if slow { 10 } else { 3 }, |n| n.parse().expect("a number"));
    let only = std::env::var("ONLY").unwrap_or_default();
    let asked = |claim: &&Claim| (slow || claim.0 == Plainly) && claim.1.contains(&only);
    if !claims.iter().any(|claim| asked(&claim)) {
        println!("skipped: nothing here is asked for");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let places = (0..seeds).map(|seed| Place::new(dir.path(), make(seed), kind)).collect();
    let mut runs = Runs { places, done: HashMap::new() };
    let mut failed = vec![];
    println!("\n| | {name} | false | against | {name} | false | difference | | steps |");
    println!("{}|", "|---".repeat(9));
    for &Claim(says, first, second, steps) in claims.iter().filter(asked) {
        let [a, b] = [first, second].map(|arm| runs.of(arm, steps).to_vec());
        let [x, y] = [&a, &b].map(|of| of.iter().map(|v| v[metric]).collect::<Vec<f64>>());
        let versus @ Versus { mean: by, half } = paired(&x, &y);
        let holds = match says {
            Plainly if !slow => x.iter().zip(&y).all(|(x, y)| x > y),
            Plainly | Better => by > 0.0 && versus.is_clear(),
            NoBetter => by <= 0.0 || !versus.is_clear(),
            NoWorse => by >= 0.0 || !versus.is_clear(),
            Shown => true,
        };
        let [(m, f), (n, g)] = [&a, &b].map(|of| (100.0 * mean(of, metric), 100.0 * mean(of, 2)));
        let mark = match says {
            Plainly | Better => "asserted",
            NoBetter | NoWorse => "control",
            Shown => "shown",
        };
        let [f, g] = [f, g].map(|share| if share.is_nan() { "–".into() } else { format!("{share:.2} %") });
        let sides = format!("| `{first}` | {m:.1} | {f} | `{second}` | {n:.1} | {g}");
        println!("{sides} | {:+.1} ± {:.1} | {mark} | {steps} |", 100.0 * by, 100.0 * half);
        if !holds {
            failed.push(format!("{first} against {second}: {x:?} against {y:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn where_answers_are_hidden() {
    check(HIDDEN, World::hidden, (0, "P@8"), Kind::Plain);
}

#[test]
fn where_some_labels_are_wrong() {
    check(WRONG, |seed| World { wrong: 0.2, ..World::plain(seed) }, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_some_words_are_shared() {
    check(SOME_WORDS, |seed| World { shared: 12, ..World::plain(seed) }, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_words_are_shared() {
    check(ONE_LANGUAGE, |seed| World { shared: 30, ..World::plain(seed) }, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_a_cross_encoder_can_learn() {
    if std::env::var_os("SLOW").is_none() {
        println!("skipped: set SLOW=1");
        return;
    }
    let make = |seed| World { topics: 12, aspects: 4, queries: 4800, ..World::hidden(seed) };
    check(READ, make, (0, "P@8"), Kind::Read);
}

#[test]
fn where_rows_share_classes() {
    let make = |seed| World { topics: 8, aspects: 2, queries: 4800, ..World::hidden(seed) };
    check(CLASSES, make, (0, "P@8"), Kind::Plain);
}

#[test]
fn where_no_negative_is_false() {
    check(PLAIN, World::plain, (1, "MRR@10"), Kind::Plain);
}

#[test]
fn where_somebody_looked_at_some() {
    check(POOLED, World::hidden, (0, "P@8"), Kind::Pooled(2));
}

/// Of the answers in a batch, CET's selection model says whether somebody looked at them: correlation over 0.5 with the
/// truth.
#[test]
fn what_was_looked_at_is_found_from_what_was_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = Place::new(dir.path(), World::hidden(0), Kind::Pooled(1));
    let mut trainer = place.assembled("LOOKED negatives.model=GUIDE", 620);
    let answers = data::read_judgements(&place.truth, trainer.data()).expect("a truth");
    let (mut etas, mut looked_at) = (vec![], vec![]);
    for step in 0..620 {
        if step >= 600 {
            for (query, label, eta) in trainer.looked_at_in_next_batch(&mut Silent).expect("a batch") {
                if answers[query as usize].contains(&label) {
                    let given = trainer.data().positives(Split::Train, query as usize).contains(&label);
                    etas.push(f64::from(eta));
                    looked_at.push(f64::from(u8::from(given)));
                }
            }
        }
        trainer.next_step(&mut Silent).expect("a step");
    }
    let centred = |v: &[f64]| -> Vec<f64> {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| x - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (a, b) = (centred(&etas), centred(&looked_at));
    let correlation = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
    println!("{} answers, correlation {correlation:.2}", a.len());
    assert!(correlation > 0.5);
}

#[test]
fn where_somebody_looked_at_all() {
    check(JUDGED, World::hidden, (0, "P@8"), Kind::Judged);
}
