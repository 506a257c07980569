//! Going on from a run with other rows and labels: what goes on, what begins anew, what is measured, what is refused.

mod world;

use data::{CsvSource, DataSet, PrepareOptions, Source, Split, TokenizerChoice, Verify};
use engine::{Engine, Packed, Stream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use train::config::Settings;
use train::{Event, Network, Observer, OldLabels, Outcome, Silent, Trainer, checkpoint, load, run};

/// Topics of the first data set, and of the second: five go, ten are new.
const OLD: Range<u64> = 0..30;
const NEW: Range<u64> = 5..40;
const WIDTH: usize = 32;

/// A table of titles, six words to a topic; its labels come in another order in each table.
fn table(path: &Path, topics: Range<u64>, rows: u64, seed: u64) {
    let s = Stream::new(seed, 0);
    let mut csv = String::from("title,label\n");
    for row in 0..rows {
        let draw = |i: u64, n: u64| s.below(8 * row + i, n);
        let topic = topics.start + draw(0, topics.end - topics.start);
        let words: Vec<String> = (1..4).map(|i| format!("w{topic}x{}", draw(i, 6))).collect();
        csv += &format!("{},group w{topic}\n", words.join(" "));
    }
    std::fs::write(path, csv).expect("written");
}

fn prepare(dir: &Path, name: &str, table: &str, tokenizer: TokenizerChoice) -> PathBuf {
    let mut source = CsvSource::new(dir.join(table), "title", "label");
    source.split = "80/20".parse().expect("a split");
    let options = PrepareOptions::new(dir.join(name), tokenizer);
    data::prepare(&Source::Csv(source), &options, &mut |_| {}).expect("prepared");
    dir.join(name)
}

fn settings(data: &Path, changes: &[&str]) -> Settings {
    let base = [
        "model.source=bag",
        "model.width=32",
        "train.batch=24",
        "train.epochs=2",
        "train.lr=1e-2",
        "train.warmup_steps=2",
        "head.encoder_lr=1e-3",
    ];
    world::settings(data, &base, changes)
}

fn trained(data: &Path, out: &Path, changes: &[&str], observer: &mut dyn Observer) -> (Trainer, Outcome) {
    let (mut trainer, dir) = run::begin(&Engine::new(2), &settings(data, changes), out).expect("begins");
    let outcome = run::run(&mut trainer, &dir, observer).expect("trains");
    (trainer, outcome)
}

/// A run on the first table, and the second one, prepared for it.
struct Before {
    dir: TempDir,
    old: Trainer,
    new: PathBuf,
}

impl Before {
    fn new(changes: &[&str]) -> Before {
        let dir = tempfile::tempdir().expect("a directory");
        table(&dir.path().join("old.csv"), OLD, 600, 3);
        table(&dir.path().join("new.csv"), NEW, 700, 4);
        let data = prepare(dir.path(), "old.lode", "old.csv", TokenizerChoice::Train(400));
        let (old, outcome) = trained(&data, &dir.path().join("old"), changes, &mut Silent);
        assert_eq!(outcome.old_labels, None);
        let tokenizer = TokenizerChoice::Directory(load::tokenizer_folder(&dir.path().join("old")));
        let new = prepare(dir.path(), "new.lode", "new.csv", tokenizer);
        Before { dir, old, new }
    }
    fn source(&self) -> String {
        format!("model.source={}", self.dir.path().join("old").display())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The row of a label in `data`, by its id.
fn find(data: &DataSet, uid: &str) -> Option<usize> {
    (0..data.labels().len()).find(|&l| data.labels().uid(l) == uid)
}

fn embedded(network: &Network, texts: data::Texts<'_>) -> Vec<f32> {
    let push = |i: usize, packed: &mut Packed| texts.push_to(i, packed);
    train::embed::embed(&Engine::new(1), network, texts.len(), push, "", &mut Silent).expect("embedded")
}

/// P@1 among the labels of `names`, and how many test queries of `data` have one of them: every product by itself.
fn by_hand(network: &Network, rows: &[f32], of: &DataSet, data: &DataSet, names: &[String]) -> (f64, usize) {
    let queries = embedded(network, data.queries(Split::Test));
    let row = |name: &String| find(of, name).map(|l| &rows[l * WIDTH..(l + 1) * WIDTH]).expect("a label");
    let (mut hits, mut counted) = (0, 0);
    for (q, x) in queries.chunks(WIDTH).enumerate() {
        let right = data.positives(Split::Test, q).iter().map(|&l| data.labels().uid(l as usize).to_owned());
        let right: Vec<String> = right.filter(|name| names.contains(name)).collect();
        if right.is_empty() {
            continue;
        }
        counted += 1;
        let score = |name: &String| row(name).iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
        let best = names.iter().max_by(|a, b| score(a).total_cmp(&score(b))).expect("labels");
        hits += usize::from(right.contains(best));
    }
    (hits as f64 / counted as f64, counted)
}

#[test]
fn weights_of_known_labels_go_on_to_the_bit_and_new_ones_start_from_their_text() {
    for way in [
        &["head.name=classifier"][..],
        &["head.name=classifier", "head.loss=triplets"],
        &["head.name=classifier", "head.loss=supcon", "head.precision=bf16"],
    ] {
        let before = Before::new(way);
        // A rate at which no number of f32 or bf16 moves.
        let still = ["train.lr=1e-30", "head.optimizer=sgd", "head.encoder_lr=0.0"];
        let source = before.source();
        let changes = [way, &still, &[&*source]].concat();
        let mut trainer = run::assemble(&Engine::new(1), &settings(&before.new, &changes)).expect("fits");
        assert_eq!(world::bits(&trainer), world::bits(&before.old));
        trainer.next_step(&mut Silent).expect("a step");
        let (old, new) = (before.old.data(), trainer.data());
        let (theirs, ours) =
            (before.old.classifier().expect("theirs").rows, trainer.classifier().expect("ours").rows);
        let texts = embedded(&trainer.network, new.labels());
        let (mut known, mut moved) = (0, 0);
        for label in 0..new.labels().len() {
            let span = label * WIDTH..(label + 1) * WIDTH;
            let row = &ours[span.clone()];
            match find(old, new.labels().uid(label)) {
                Some(other) => {
                    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
                    assert_eq!(bits(row), bits(&theirs[other * WIDTH..(other + 1) * WIDTH]), "{way:?}");
                    (known, moved) = (known + 1, moved + usize::from(other != label));
                }
                None => {
                    let near = |(x, z): (&f32, &f32)| (x - z).abs() < 0.005;
                    assert!(row.iter().zip(&texts[span]).all(near), "{way:?}");
                }
            }
        }
        assert_eq!((known, new.labels().len()), (25, 35));
        assert!(moved > 10, "the labels stand in another order");
        let warm = trainer.warm_start().expect("a run to go on from");
        assert_eq!((warm.shared(), warm.gone(), warm.has_weights()), (25, 5, true));
    }
}

/// Remembers what it is told, and wants to stop after so many steps.
struct Told {
    old_labels: Vec<f64>,
    left: u64,
}
impl Observer for Told {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn stop(&mut self) -> bool {
        self.left == 0
    }
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Stepped(_) => self.left -= 1,
            Event::OldLabels { p_at_1, .. } => self.old_labels.push(*p_at_1),
            _ => {}
        }
    }
}

#[test]
fn what_the_run_before_knew_is_measured_before_and_after() {
    for head in ["head.name=classifier", "head.name=none"] {
        let before = Before::new(&[head]);
        let source = before.source();
        let changes = [head, &*source];
        let mut told = Told { old_labels: vec![], left: u64::MAX };
        let (new, outcome) = trained(&before.new, &before.path("new"), &changes, &mut told);
        let found = outcome.old_labels.expect("measured");
        let data = new.data();
        let all = (0..data.labels().len()).map(|l| data.labels().uid(l).to_owned());
        let names: Vec<String> = all.filter(|name| find(before.old.data(), name).is_some()).collect();
        let rows = |trainer: &Trainer| match trainer.classifier() {
            Some(classifier) => classifier.rows,
            None => embedded(&trainer.network, trainer.data().labels()),
        };
        let (was, queries) =
            by_hand(&before.old.network, &rows(&before.old), before.old.data(), data, &names);
        let (is, _) = by_hand(&new.network, &rows(&new), data, data, &names);
        assert_eq!(found, OldLabels { labels: 25, queries, before: was, after: is }, "{head}");
        assert!(was > 0.2 && queries > 50, "{head}: {found:?}");
        assert_eq!(told.old_labels, [was]);

        // Stopped and taken up, it tells the same; so does a run that is over.
        let (mut halted, dir) =
            run::begin(&Engine::new(1), &settings(&before.new, &changes), &before.path("halted"))
                .expect("begins");
        let stopped = run::run(&mut halted, &dir, &mut Told { old_labels: vec![], left: 3 }).expect("stops");
        assert!(!stopped.finished);
        for _ in 0..2 {
            let (mut again, dir) = run::resume(&Engine::new(1), dir.root(), &mut Silent).expect("resumes");
            let ended = run::run(&mut again, &dir, &mut Silent).expect("ends");
            assert_eq!(ended.old_labels, Some(found), "{head}");
        }
    }
}

#[test]
fn what_was_taken_from_a_run_is_kept_when_that_one_goes() {
    let before = Before::new(&["head.name=classifier"]);
    let source = before.source();
    let changes = ["head.name=classifier", "save.keep=9", &*source];
    let learned = |trainer: &Trainer| (world::bits(trainer), trainer.classifier().expect("learned").rows);
    let (whole, _) = trained(&before.new, &before.path("whole"), &changes, &mut Silent);
    let (mut halted, dir) =
        run::begin(&Engine::new(1), &settings(&before.new, &changes), &before.path("halted"))
            .expect("begins");
    run::run(&mut halted, &dir, &mut Told { old_labels: vec![], left: 1 }).expect("stops");
    drop(halted);
    // As if it had been killed before its first step.
    let saved = checkpoint::list(&dir.checkpoints());
    assert!(saved.len() == 2 && saved[1].ends_with("step-000000000000.lode"), "{saved:?}");
    std::fs::remove_file(&saved[0]).expect("removed");
    std::fs::rename(before.path("old"), before.path("gone")).expect("moved");
    let (mut again, dir) = run::resume(&Engine::new(2), dir.root(), &mut Silent).expect("resumes");
    run::run(&mut again, &dir, &mut Silent).expect("ends");
    assert!(learned(&again) == learned(&whole), "other bits");
}

/// Auxiliary vectors are of the labels of one data set, and label weights are told apart by ids.
#[test]
fn a_classifier_of_other_data_leaves_auxiliary_vectors_behind_and_keeps_its_weights() {
    let before = Before::new(&["auxiliary.clusters=4"]);
    let (old, middle) = (before.path("old.lode"), before.path("middle"));
    let on = "head.name=classifier";
    let (middle_run, _) = trained(&old, &middle, &[on, &before.source()], &mut Silent);
    assert!(middle_run.network.auxiliary.is_some());
    let source = format!("model.source={}", middle.display());
    let (changes, mut warned) = ([on, &source, "train.steps=1", "train.lr=1e-30"], world::Warned::default());
    let (next, _) = trained(&before.new, &before.path("next"), &changes, &mut warned);
    assert!(warned.0.iter().any(|said| said.contains("another data set")), "{:?}", warned.0);
    assert!(next.network.auxiliary.is_none());
    let [was, is] = [&middle_run, &next].map(|trainer| trainer.classifier().expect("learned").rows);
    let (labels, mut both) = (middle_run.data().labels(), 0);
    for l in 0..labels.len() {
        let Some(here) = find(next.data(), labels.uid(l)) else { continue };
        let pairs = was[l * WIDTH..][..WIDTH].iter().zip(&is[here * WIDTH..][..WIDTH]);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{}", labels.uid(l));
        both += 1;
    }
    assert_eq!(both, 25);
    // An encoder would have to unlearn them.
    let encoder = settings(&before.new, &[&before.source(), "auxiliary.clusters=4"]);
    let error = run::assemble(&Engine::new(1), &encoder).err().expect("refused").to_string();
    assert!(error.contains("another data set") && error.contains("encoder alone"), "{error}");
}

/// In this layout labels have no ids: the numbers of their lines stand for them.
#[test]
fn numbers_of_rows_make_labels_the_same_only_where_their_texts_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let of_lines = |name: &str, labels: &str, tokenizer: TokenizerChoice| {
        let folder = dir.path().join(format!("{name}.folder"));
        std::fs::create_dir(&folder).expect("made");
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).expect("written");
        let (count, titles) = (labels.lines().count(), "a red boot\na blue hat\na green glove\n");
        write("Y.txt", labels);
        for split in ["trn", "tst"] {
            write(&format!("{split}_X.txt"), titles);
            write(&format!("{split}_X_Y.txt"), &format!("3 {count}\n0:1\n1:1\n2:1\n"));
        }
        let options = PrepareOptions::new(dir.path().join(name), tokenizer);
        data::prepare(&Source::Xc(folder), &options, &mut |_| {}).expect("prepared");
        dir.path().join(name)
    };
    let changes = ["head.name=classifier", "data.validation_per_mille=0", "train.batch=2"];
    let data = of_lines("old.lode", "red boots\nblue hats\ngreen gloves\n", TokenizerChoice::Train(60));
    trained(&data, &dir.path().join("old"), &changes, &mut Silent);
    let tokenizer = TokenizerChoice::Directory(load::tokenizer_folder(&dir.path().join("old")));
    let data = of_lines("new.lode", "red boots\ngrey scarves\nblue hats\ngreen gloves\n", tokenizer);
    let source = format!("model.source={}", dir.path().join("old").display());
    let changes = [&changes[..], &[&*source]].concat();
    let trainer = run::assemble(&Engine::new(1), &settings(&data, &changes)).expect("fits");
    let warm = trainer.warm_start().expect("a run to go on from");
    assert_eq!((warm.shared(), warm.gone()), (1, 2));
}

#[test]
fn a_run_on_the_same_data_goes_on_without_old_and_new_labels() {
    let before = Before::new(&["head.name=classifier"]);
    let data = before.path("old.lode");
    let source = before.source();
    let changes = ["head.name=classifier", &*source];
    let (_, outcome) = trained(&data, &before.path("again"), &changes, &mut Silent);
    assert_eq!(outcome.old_labels, None);
}

#[test]
fn what_a_run_before_learned_from_is_not_held_out() {
    let before = Before::new(&["head.name=classifier", "data.validation_per_mille=300"]);
    // The second data set has the rows of the first, and more of them.
    let both = std::fs::read_to_string(before.path("old.csv")).expect("read")
        + std::fs::read_to_string(before.path("new.csv")).expect("read").split_once('\n').expect("rows").1;
    std::fs::write(before.path("both.csv"), both).expect("written");
    let tokenizer = TokenizerChoice::Directory(load::tokenizer_folder(&before.path("old")));
    let path = prepare(before.dir.path(), "both.lode", "both.csv", tokenizer);
    let changes = [
        "head.name=classifier",
        "data.validation_per_mille=300",
        "train.seed=5",
        "train.steps=2",
        &before.source(),
    ];
    let (new, _) = trained(&path, &before.path("new"), &changes, &mut Silent);
    let held_out = load::held_out(&before.path("new"), new.data()).expect("reads");
    let titles = |trainer: &Trainer, rows: &[u32]| -> Vec<String> {
        rows.iter().map(|&row| trainer.data().queries(Split::Train).title(row as usize).to_owned()).collect()
    };
    let learned = titles(&before.old, &before.old.train_rows);
    assert!(titles(&new, &new.validation_rows).iter().any(|title| learned.contains(title)));
    let kept = titles(&new, &held_out);
    assert!(kept.len() > 20 && kept.iter().all(|title| !learned.contains(title)), "{}", kept.len());
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let before = Before::new(&["head.name=classifier"]);
    let assemble = |data: &Path, changes: &[&str]| {
        run::assemble(&Engine::new(1), &settings(data, &[&[&*before.source()], changes].concat())).map(|_| ())
    };
    let refused = |data: &Path, changes: &[&str], words: &[&str]| {
        let error = assemble(data, changes).expect_err("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    // As many tokens as the run's, and others.
    let size = DataSet::open(&before.new, Verify::Full).expect("opens").vocab_size();
    let own = prepare(before.dir.path(), "own.lode", "new.csv", TokenizerChoice::Train(size));
    let command = format!(
        "lode prepare new.csv … --tokenizer {} --max-len 32 --out {}",
        before.path("old").display(),
        own.display()
    );
    refused(&own, &[], &["was not prepared for the model", &command]);
    let own = prepare(before.dir.path(), "own.lode", "new.csv", TokenizerChoice::Train(size + 40));
    refused(&own, &[], &["vocabulary", &command]);
    refused(&before.new, &["model.embeddings=x"], &["token embeddings already"]);

    let classifier = &["head.name=classifier"];
    let (here, away) = (before.path("old.lode"), before.path("away.lode"));
    std::fs::rename(&here, &away).expect("moved");
    refused(&before.new, classifier, &["old.lode", "in the order of its labels", "RUN/model"]);
    assemble(&before.new, &[]).expect("an encoder goes on without it");
    std::fs::copy(&before.new, &here).expect("copied");
    refused(&before.new, classifier, &["old.lode", "not the one that the run was trained on"]);
    std::fs::rename(&away, &here).expect("moved");
    assemble(&before.new, classifier).expect("fits");

    let stages = before.path("stages");
    std::fs::create_dir(&stages).expect("made");
    for stage in ["encoder", "classifier"] {
        std::fs::write(stages.join(format!("{stage}.toml")), "").expect("written");
    }
    let error = load::network(&stages).map(|_| ()).expect_err("no model").to_string();
    assert!(error.contains("a pipeline") && error.contains("stages/classifier"), "{error}");
}
