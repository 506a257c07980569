//! Pairs that the user excludes are no negatives, and a run keeps them as they were when it began.

mod world;

use data::Split;
use engine::{Engine, Kind};
use std::path::Path;
use train::{RunDir, Silent, Trainer, run};
use world::{bits, settings, topics};

const BASE: [&str; 5] =
    ["model.source=bag", "model.width=16", "train.batch=32", "train.steps=12", "data.validation_per_mille=0"];

fn begin(data: &Path, out: &Path, changes: &[&str]) -> (Trainer, RunDir) {
    run::begin(&Engine::new(2), &settings(data, &BASE, changes), out).expect("begins")
}

/// For each query of the first batch, its hardest negative, by ids; one a line.
fn hardest(trainer: &Trainer) -> (Vec<(u32, u32)>, String) {
    let (queries, labels) = (trainer.data().queries(Split::Train), trainer.data().labels());
    let pairs: Vec<(u32, u32)> = trainer.mined(0).iter().map(|m| (m.query, m.negatives[0].0)).collect();
    let line = |&(q, l): &(u32, u32)| format!("{}\t{}\n", queries.uid(q as usize), labels.uid(l as usize));
    let text = pairs.iter().map(line).collect();
    (pairs, text)
}

#[test]
fn what_is_excluded_is_no_negative_and_stays_so_over_a_resume() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let (plain, _) = begin(&data, &dir.path().join("plain"), &[]);
    let (pairs, text) = hardest(&plain);
    let file = dir.path().join("exclude.tsv");
    std::fs::write(&file, text).expect("written");
    let exclude = format!("data.exclude={}", file.display());

    let out = dir.path().join("run");
    let (mut trainer, files) = begin(&data, &out, &[&exclude]);
    let found = trainer.mined(0);
    for (mined, before) in found.iter().zip(plain.mined(0)) {
        let gone = pairs.iter().find(|(query, _)| *query == mined.query).expect("excluded").1;
        assert!(mined.negatives.iter().all(|&(label, _)| label != gone), "{mined:?}");
        assert_eq!(mined.negatives[0], before.negatives[1], "the next one is the hardest now");
    }
    run::run(&mut trainer, &files, &mut world::StopAfter(5)).expect("stops");
    // What somebody adds to the file since counts for other runs.
    std::fs::write(&file, "nobody\tnothing\n").expect("written");
    let (mut resumed, files) = run::resume(&Engine::new(1), &out, &mut Silent).expect("resumes");
    run::run(&mut resumed, &files, &mut Silent).expect("ends");

    std::fs::write(&file, hardest(&plain).1).expect("written");
    let (mut whole, files) = begin(&data, &dir.path().join("whole"), &[&exclude]);
    run::run(&mut whole, &files, &mut Silent).expect("ends");
    assert!(bits(&resumed) == bits(&whole));
    let (mut without, files) = begin(&data, &dir.path().join("without"), &[]);
    run::run(&mut without, &files, &mut Silent).expect("ends");
    assert!(bits(&without) != bits(&whole), "it makes a difference");
}

#[test]
fn a_run_whose_pairs_were_changed_or_taken_away_does_not_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let (plain, _) = begin(&data, &dir.path().join("plain"), &[]);
    let (file, out) = (dir.path().join("exclude.tsv"), dir.path().join("run"));
    std::fs::write(&file, hardest(&plain).1).expect("written");
    let (mut trainer, files) = begin(&data, &out, &[&format!("data.exclude={}", file.display())]);
    run::run(&mut trainer, &files, &mut world::StopAfter(5)).expect("stops");
    let own = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("excluded-");
    let kept = std::fs::read_dir(&out).expect("a folder").flatten().find(own).expect("it is kept").path();
    let whole = std::fs::read(&kept).expect("read");
    let refused = || run::resume(&Engine::new(1), &out, &mut Silent).err().expect("refused");
    // One pair less.
    let less = whole.split_inclusive(|&byte| byte == b'\n').skip(1).collect::<Vec<_>>().concat();
    std::fs::write(&kept, less).expect("written");
    assert!(
        refused().kind() == Kind::Damaged && refused().to_string().contains("was changed"),
        "{}",
        refused()
    );
    std::fs::remove_file(&kept).expect("removed");
    assert!(refused().to_string().contains("is gone"), "{}", refused());
    std::fs::write(&kept, whole).expect("written");
    assert!(run::resume(&Engine::new(1), &out, &mut Silent).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_leaves_no_run_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let (out, file) = (dir.path().join("run"), dir.path().join("exclude.tsv"));
    std::fs::write(&file, "1\tno such label\n").expect("written");
    let settings = settings(&data, &BASE, &[&format!("data.exclude={}", file.display())]);
    let error = run::begin(&Engine::new(1), &settings, &out).err().expect("refused");
    assert!(error.kind() == Kind::Input && error.to_string().contains("exclude.tsv"), "{error}");
    assert!(!out.exists());
}
