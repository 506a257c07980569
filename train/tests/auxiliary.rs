//! Auxiliary vectors beside the texts of labels: the equation, who uses it, and what a run keeps of them.

mod world;

use data::{DataSet, Split, Verify};
use engine::{Engine, Kind, Stream, Tensor};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use train::config::Settings;
use train::embed::{all_labels, embed, embed_labels};
use train::index::Index;
use train::plan::MemoryPlan;
use train::{Checkpoint, Network, RunDir, Silent, Trainer, checkpoint, load, run};
use world::{StopAfter, Warned, bits, topics};

const WIDTH: usize = 16;

fn settings(data: &Path, changes: &[&str]) -> Settings {
    let base = [
        "model.source=bag",
        "model.width=16",
        "train.batch=24",
        "train.epochs=2",
        "train.lr=1e-2",
        "train.warmup_steps=2",
        "auxiliary.clusters=8",
        "auxiliary.private=5",
    ];
    world::settings(data, &base, changes)
}

fn begun(data: &Path, changes: &[&str]) -> Trainer {
    run::assemble(&Engine::new(2), &settings(data, changes)).expect("begins")
}

fn trained(data: &Path, out: &Path, threads: usize, changes: &[&str]) -> Trainer {
    let (mut trainer, dir) =
        run::begin(&Engine::new(threads), &settings(data, changes), out).expect("begins");
    assert!(run::run(&mut trainer, &dir, &mut Silent).expect("trains").finished);
    trainer
}

fn world(titles: u64) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), titles);
    (dir, data)
}

fn opened(data: &Path) -> DataSet {
    DataSet::open(data, Verify::Header).expect("opens")
}

/// Gives all vectors numbers that are no zeros.
fn fill(trainer: &mut Trainer) {
    let own = trainer.network.auxiliary.as_mut().expect("vectors");
    let id = own.params.find("vectors").expect("a matrix");
    let (shape, stream) = (own.params.value(id).shape(), Stream::new(3, 3));
    let numbers = (0..shape.len() as u64).map(|i| (stream.uniform(i) - 0.5) as f32).collect();
    own.params.set(id, Tensor::from_vec(shape, numbers));
}

/// z' = (E(z) + a)/|E(z) + a| of all labels, in f64, from what the encoder says of their texts.
fn by_hand(engine: &Engine, network: &Network, data: &DataSet) -> Vec<Vec<f64>> {
    let labels = data.labels();
    let push = |i: usize, packed: &mut engine::Packed| labels.push_to(i, packed);
    let texts = embed(engine, network, labels.len(), push, "", &mut Silent).expect("embedded");
    let own = network.auxiliary.as_ref().expect("vectors");
    let vectors = own.vectors().data::<f32>();
    let one = |(text, &of): (&[f32], &u32)| {
        let beside = &vectors[of as usize * WIDTH..][..WIDTH];
        let sum: Vec<f64> = text.iter().zip(beside).map(|(e, a)| f64::from(*e) + f64::from(*a)).collect();
        let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
        sum.iter().map(|x| x / length).collect()
    };
    texts.chunks(WIDTH).zip(own.of_labels()).map(one).collect()
}

fn near(got: &[f32], want: &[f64]) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
}

#[test]
fn frequent_labels_have_a_vector_each_and_clusters_of_the_others_share_one() {
    let (_dir, data) = world(300);
    let mut trainer = begun(&data, &[]);
    trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
    let (data, own) = (opened(&data), trainer.network.auxiliary.as_ref().expect("vectors"));
    assert_eq!(own.vectors().shape().dims(), [13, WIDTH]);
    assert!(own.vectors().data::<f32>().iter().all(|&a| a == 0.0), "they start at zero");
    let frequency = data.label_frequency();
    let of = own.of_labels();
    let members = |vector: u32| (0..of.len()).filter(|&l| of[l] == vector).collect::<Vec<_>>();
    let least = (0..5).map(|vector| {
        assert_eq!(members(vector).len(), 1);
        frequency[members(vector)[0]]
    });
    let (least, shared) = (least.min().expect("five"), (5..13).flat_map(members).collect::<Vec<_>>());
    assert!(shared.iter().all(|&label| frequency[label] <= least));
    let sizes: Vec<usize> = (5..13).map(|vector| members(vector).len()).collect();
    let (most, fewest) = (sizes.iter().max().expect("eight"), sizes.iter().min().expect("eight"));
    assert!(most - fewest <= 1 && sizes.iter().sum::<usize>() == of.len() - 5, "{sizes:?}");
    // Labels of one cluster point the same way more than labels at large.
    let labels = data.labels();
    let push = |i: usize, packed: &mut engine::Packed| labels.push_to(i, packed);
    let texts = embed(trainer.engine(), &trainer.network, of.len(), push, "", &mut Silent).expect("embedded");
    let cosine = |a: usize, b: usize| -> f32 {
        texts[a * WIDTH..][..WIDTH].iter().zip(&texts[b * WIDTH..][..WIDTH]).map(|(x, y)| x * y).sum()
    };
    let mean = |same: bool| {
        let pairs = shared.iter().flat_map(|&a| shared.iter().map(move |&b| (a, b)));
        let pairs: Vec<f32> =
            pairs.filter(|&(a, b)| a < b && (of[a] == of[b]) == same).map(|(a, b)| cosine(a, b)).collect();
        pairs.iter().sum::<f32>() / pairs.len() as f32
    };
    assert!(mean(true) > mean(false) + 0.1, "{} {}", mean(true), mean(false));
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (_dir, data) = world(300);
    for changes in [&["loss.temperature=0.2"][..], &["loss.temperature=0.2", "composer.of=labels"]] {
        let mut trainer = begun(&data, changes);
        trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
        fill(&mut trainer);
        let (_, gradient) = trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
        let of = &gradient[gradient.len() - 13 * WIDTH..];
        let mut largest: Vec<usize> = (0..of.len()).collect();
        largest.sort_by(|&a, &b| of[b].abs().total_cmp(&of[a].abs()));
        assert!(of[largest[0]].abs() > 1e-3, "{changes:?}: they have a gradient");
        for &i in &largest[..12] {
            let mut loss = |by: f32| {
                let own = trainer.network.auxiliary.as_mut().expect("vectors");
                let id = own.params.find("vectors").expect("a matrix");
                let before = own.params.value(id).clone();
                let mut moved = before.data::<f32>().to_vec();
                moved[i] += by;
                own.params.set(id, Tensor::from_vec(before.shape(), moved));
                let (loss, _) = trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
                trainer.network.auxiliary.as_mut().expect("vectors").params.set(id, before);
                loss
            };
            let slope = (loss(2e-3) - loss(-2e-3)) / 4e-3;
            assert!(
                (slope - of[i]).abs() < 0.02 * of[largest[0]].abs(),
                "{changes:?} {i}: {slope} {}",
                of[i]
            );
        }
    }
}

#[test]
fn whoever_embeds_a_label_adds_its_vector() {
    let (_dir, data) = world(300);
    let mut trainer = begun(&data, &[]);
    trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
    fill(&mut trainer);
    let (data, engine) = (opened(&data), Engine::new(2));
    let want = by_hand(&engine, &trainer.network, &data);
    let rows = embed_labels((&engine, &trainer.network), &data, &all_labels(&data), "", &mut Silent);
    assert!(near(&rows.expect("embedded"), &want.concat()));
    let index = Index::build(&engine, &trainer.network, &data, false, &mut Silent).expect("built");
    assert!((0..want.len()).all(|label| near(&index.labels().row(label), &want[label])));
    // In a batch, queries have none.
    let queries = data.queries(Split::Train);
    for mined in trainer.mined(0) {
        let push = |_: usize, packed: &mut engine::Packed| queries.push_to(mined.query as usize, packed);
        let query = embed(&engine, &trainer.network, 1, push, "", &mut Silent).expect("embedded");
        let score = |label: u32| -> f64 {
            query.iter().zip(&want[label as usize]).map(|(x, z)| f64::from(*x) * z).sum()
        };
        for (label, got) in mined.negatives.iter().chain([&mined.positive]) {
            assert!((f64::from(*got) - score(*label)).abs() < 1e-5, "{got} {} of {label}", score(*label));
        }
    }
}

#[test]
fn queues_and_banks_of_labels_hold_labels_with_their_vectors() {
    let (dir, data) = world(300);
    // A step that moves nothing, so that what it leaves behind is what it was.
    let still = ["train.lr=1e-30", "memory.queue=64"];
    for of in ["queries", "labels"] {
        let of_what = format!("composer.of={of}");
        let mut trainer = begun(&data, &[&still[..], &["composer.name=ngame", &of_what]].concat());
        trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
        fill(&mut trainer);
        trainer.next_step(&mut Silent).expect("a step");
        let folder = dir.path().join(of);
        trainer.save(&folder).expect("saved");
        let saved = Checkpoint::read(&checkpoint::path_of(&folder, 1)).expect("whole");
        let find = |name: &str| &saved.memory.iter().find(|(n, _)| n == name).expect("it is there").1;
        let want = by_hand(&Engine::new(1), &trainer.network, trainer.data());
        let (labels, values) = (find("queue.labels").data::<u32>(), find("queue.values").data::<f32>());
        assert!(labels.len() >= 10);
        for (&label, value) in labels.iter().zip(values.chunks(WIDTH)) {
            assert!(near(value, &want[label as usize]), "queue of {of}");
        }
        let met = |row: usize| of == "labels" && labels.contains(&(row as u32));
        let rows = saved.bank.0.chunks(WIDTH).enumerate().filter(|(row, _)| met(*row));
        let fits: Vec<bool> = rows.map(|(row, value)| near(value, &want[row])).collect();
        assert!((of == "queries" || fits.len() >= 10) && fits.iter().all(|fits| *fits), "bank of {of}");
    }
}

#[test]
fn they_have_a_rate_of_their_own_and_do_not_decay() {
    let (_dir, data) = world(300);
    let plain = ["train.warmup_steps=0", "train.schedule=constant", "train.weight_decay=0.5", "train.lr=0.1"];
    let after = |changes: &[&str], start: f32| {
        let mut trainer = begun(&data, &[&plain, changes].concat());
        trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
        let own = trainer.network.auxiliary.as_mut().expect("vectors");
        let id = own.params.find("vectors").expect("a matrix");
        own.params.set(id, Tensor::from_vec([13, WIDTH], vec![start; 13 * WIDTH]));
        trainer.next_step(&mut Silent).expect("a step");
        let own = trainer.network.auxiliary.as_ref().expect("vectors");
        own.vectors().data::<f32>().to_vec()
    };
    let farthest = |numbers: &[f32]| numbers.iter().fold(0.0f32, |most, a| most.max(a.abs()));
    // The first step of Adam is as long as its rate.
    assert!((farthest(&after(&[], 0.0)) - 0.1).abs() < 1e-4);
    assert!((farthest(&after(&["auxiliary.lr=0.025"], 0.0)) - 0.025).abs() < 1e-4);
    // Two queries meet few labels: vectors of others stay as they were.
    let few = after(&["train.batch=2", "train.positives=1"], 1.0);
    assert!(few.chunks(WIDTH).any(|row| row.iter().all(|&a| a == 1.0)), "{few:?}");
    assert!(few.chunks(WIDTH).any(|row| row.iter().any(|&a| a != 1.0)));
}

#[test]
fn a_resumed_run_and_other_threads_have_the_same_bits() {
    let (dir, data) = world(200);
    for changes in [
        &["composer.name=ngame", "train.accumulate=2", "train.chunk=7"][..],
        &["composer.name=ngame", "composer.of=labels", "memory.queue=64", "negatives.from=model"],
    ] {
        let name = changes.len().to_string();
        let whole = trained(&data, &dir.path().join(&name), 2, changes);
        let own = whole.network.auxiliary.as_ref().expect("vectors");
        assert!(own.vectors().data::<f32>().iter().any(|&a| a != 0.0), "they were learned");
        for threads in [1, 3] {
            let out = dir.path().join(format!("{name}-of-{threads}"));
            assert!(bits(&trained(&data, &out, threads, changes)) == bits(&whole), "{threads} threads");
        }
        for stop in 1..whole.total_steps() {
            let (out, engine) = (dir.path().join(format!("{name}-{stop}")), Engine::new(2));
            let (mut trainer, run_dir) =
                run::begin(&engine, &settings(&data, changes), &out).expect("begins");
            run::run(&mut trainer, &run_dir, &mut StopAfter(stop)).expect("stops");
            drop(trainer);
            let (mut again, run_dir) = run::resume(&engine, &out, &mut Silent).expect("resumes");
            run::run(&mut again, &run_dir, &mut Silent).expect("ends");
            assert!(bits(&again) == bits(&whole), "{changes:?}: other bits after a stop at step {stop}");
            let of =
                |trainer: &Trainer| trainer.network.auxiliary.as_ref().expect("vectors").of_labels().to_vec();
            assert_eq!(of(&again), of(&whole));
        }
    }
}

#[test]
fn a_run_is_used_with_its_vectors_and_its_model_directory_says_that_it_has_none() {
    let (dir, data) = world(300);
    let out = dir.path().join("run");
    let trainer = trained(&data, &out, 2, &[]);
    let network = load::network(&out).expect("loads");
    let numbers =
        |network: &Network| network.auxiliary.as_ref().expect("vectors").vectors().data::<f32>().to_vec();
    assert_eq!(numbers(&network), numbers(&trainer.network));
    assert_eq!(network.fingerprint(), trainer.network.fingerprint());
    let alone = load::network(&out.join("model")).expect("loads");
    assert!(alone.auxiliary.is_none() && alone.fingerprint() != network.fingerprint());
    let card = std::fs::read_to_string(out.join("model/README.md")).expect("a card");
    assert!(card.contains("auxiliary vectors") && !card.contains("P@1"), "{card}");
    // Labels of another data set have their texts alone.
    let other = tempfile::tempdir().expect("a directory");
    let other = opened(&topics(other.path(), 200));
    let mut warned = Warned::default();
    let index = Index::build(&Engine::new(1), &network, &other, false, &mut warned).expect("built");
    let plain = Index::build(&Engine::new(1), &alone, &other, false, &mut Silent).expect("built");
    assert!(
        index.labels().row(0) == plain.labels().row(0) && warned.0[0].contains("another"),
        "{:?}",
        warned.0
    );
}

#[test]
fn a_classifier_starts_from_labels_with_their_vectors_and_keeps_them() {
    let (dir, data) = world(300);
    let (out, next) = (dir.path().join("encoder"), dir.path().join("classifier"));
    let encoder = trained(&data, &out, 2, &[]);
    let from = format!("model.source={}", out.display());
    let changes = [&*from, "head.name=classifier", "train.steps=1", "train.lr=1e-30"];
    let settings = world::settings(&data, &["train.batch=24", "data.validation_per_mille=100"], &changes);
    let (mut trainer, run_dir) = run::begin(&Engine::new(2), &settings, &next).expect("begins");
    run::run(&mut trainer, &run_dir, &mut Silent).expect("trains");
    let weights = load::classifier(&next, trainer.data()).expect("read").expect("a classifier");
    let want = by_hand(&Engine::new(1), &encoder.network, trainer.data());
    assert!(near(&weights.rows, &want.concat()));
    let kept = load::network(&next).expect("loads").fingerprint();
    assert_eq!(kept, encoder.network.fingerprint(), "label texts beside it are those of the encoder's run");
    std::fs::remove_dir_all(run_dir.checkpoints()).expect("removed");
    let error = load::network(&next).err().expect("refused").to_string();
    assert!(error.contains("went with its checkpoints"), "{error}");
}

#[test]
fn a_stopped_run_is_not_taken_up_with_other_vectors_than_it_has() {
    let (dir, data) = world(200);
    let none = ["auxiliary.clusters=0", "auxiliary.private=0"];
    let others: [&[&str]; 4] = [
        &["auxiliary.clusters=4"],
        &["auxiliary.private=6"],
        &["auxiliary.clusters=4", "auxiliary.private=9"],
        &none,
    ];
    for (name, began, others) in [("with", &[][..], &others[..]), ("without", &none, &[&[]])] {
        let (out, engine) = (dir.path().join(name), Engine::new(1));
        let (mut trainer, run_dir) = run::begin(&engine, &settings(&data, began), &out).expect("begins");
        run::run(&mut trainer, &run_dir, &mut StopAfter(1)).expect("stops");
        drop(trainer);
        let told = |changes: &[&str]| {
            let config = settings(&data, changes).to_string();
            std::fs::write(run_dir.config(), config).expect("written");
            run::resume(&engine, &out, &mut Silent)
        };
        for changes in others {
            let error = told(changes).err().expect("refused");
            let said = error.to_string();
            let is_told = said.contains("configuration of the run was changed")
                && said.contains("put config.toml back as it was");
            assert!(error.kind() == Kind::Input && is_told, "{name} {changes:?}: {said}");
        }
        assert!(told(began).is_ok(), "{name}: as it was");
    }
}

#[test]
fn vectors_that_a_run_took_are_its_own_from_before_its_first_step() {
    let (dir, data) = world(200);
    let (out, next) = (dir.path().join("encoder"), dir.path().join("next"));
    trained(&data, &out, 2, &[]);
    let (source, engine) = (format!("model.source={}", out.display()), Engine::new(1));
    let (begun, run_dir) = run::begin(&engine, &settings(&data, &[&source]), &next).expect("begins");
    let was = begun.network.fingerprint();
    drop(begun);
    // As if it had been killed here; the run that it started from goes.
    std::fs::rename(&out, dir.path().join("gone")).expect("moved");
    let (mut again, _) = run::resume(&engine, &next, &mut Silent).expect("resumes");
    assert_eq!(again.network.fingerprint(), was);
    run::run(&mut again, &run_dir, &mut StopAfter(1)).expect("stops");
    // Without a checkpoint nobody knows them any more, and they are neither 0 nor what that run has by now.
    let refused = || run::resume(&engine, &next, &mut Silent).err().expect("refused").to_string();
    std::fs::remove_dir_all(run_dir.checkpoints()).expect("removed");
    assert!(refused().contains("cannot be told"), "{}", refused());
    std::fs::rename(dir.path().join("gone"), &out).expect("moved");
    assert!(refused().contains("went with its checkpoints"), "{}", refused());
    // A run that took none has nothing to keep before its first step.
    let fresh = dir.path().join("fresh");
    let (_, run_dir) = run::begin(&engine, &settings(&data, &[]), &fresh).expect("begins");
    assert!(checkpoint::list(&run_dir.checkpoints()).is_empty());
    assert!(run::resume(&engine, &fresh, &mut Silent).is_ok());
}

#[test]
fn what_of_them_is_lost_or_damaged_is_told() {
    let (dir, data) = world(200);
    let out = dir.path().join("run");
    let trainer = trained(&data, &out, 2, &["save.keep=1"]);
    let folder = RunDir::at(&out).checkpoints();
    let path = checkpoint::list(&folder).remove(0);
    let whole = std::fs::read(&path).expect("read");
    let told = |kind: Kind, part: &str| {
        let error = load::network(&out).err().expect("refused");
        assert!(error.kind() == kind && error.to_string().contains(part), "{error}");
        let error = run::resume(&Engine::new(1), &out, &mut Silent).err().expect("refused");
        assert!(error.kind() == kind, "{error}");
    };
    // A byte of a vector.
    let vectors = trainer.network.auxiliary.as_ref().expect("vectors").vectors();
    let pattern: Vec<u8> = vectors.data::<f32>()[..8].iter().flat_map(|x| x.to_le_bytes()).collect();
    let at = whole.windows(pattern.len()).position(|found| found == pattern).expect("they are there");
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    told(Kind::Damaged, "t");
    std::fs::write(&path, &whole).expect("written");
    // One tensor; or all of them, which is what a whole checkpoint of a run without vectors looks like.
    let all = (Kind::Input, "configuration of the run was changed");
    let one = (Kind::Damaged, "auxiliary vectors");
    for (lost, (kind, what)) in [("auxiliary.of", one), ("auxiliary.vectors", one), ("auxiliary", all)] {
        let Checkpoint {
            progress, data, kernel_class, params, optimizer, memory, bank, composer, lists, ..
        } = Checkpoint::read(&path).expect("whole");
        let memory = memory.into_iter().filter(|(name, _)| !name.starts_with(lost)).collect();
        let checkpoint = Checkpoint {
            progress,
            data,
            kernel_class,
            params,
            optimizer,
            memory,
            bank,
            composer,
            lists,
            head: None,
        };
        checkpoint.write(&folder, 1).expect("written");
        told(kind, what);
        std::fs::write(&path, &whole).expect("written");
    }
    assert!(load::network(&out).is_ok());
    std::fs::remove_file(&path).expect("removed");
    let error = load::network(&out).err().expect("refused").to_string();
    assert!(error.contains("went with its checkpoints") && error.contains("model"), "{error}");
}

#[test]
fn what_has_no_place_for_them_is_refused_with_what_to_do() {
    let (dir, data) = world(200);
    let refused = |changes: &[&str]| {
        let tried = world::settings_of(&data, changes);
        let tried = tried.and_then(|settings| run::assemble(&Engine::new(1), &settings));
        tried.err().expect("refused").to_string()
    };
    let on = "auxiliary.clusters=8";
    for (changes, what) in [
        (&["auxiliary.clusters=12"][..], "8 or 16"),
        (&["auxiliary.private=3"], "auxiliary.clusters=1024"),
        (&[on, "auxiliary.private=100000"], "encoder.auxiliary.private=N"),
        (&[on, "auxiliary.lr=-1.0"], "0 or more"),
        (&[on, "head.name=classifier"], "encoder.auxiliary.clusters"),
        (&[on, "memory.queue=64", "memory.momentum=0.9"], "memory.momentum=0"),
        (&[on, "cross.model=tiny", "cross.share=1.0", "negatives.from=bm25"], "cross.share=0.5"),
    ] {
        let error = refused(changes);
        assert!(error.contains(what), "{changes:?}: {error}");
    }
    let out = dir.path().join("run");
    trained(&data, &out, 2, &[]);
    let source = format!("model.source={}", out.display());
    assert!(refused(&[&source]).contains("13 auxiliary vectors"));
    assert!(refused(&[&source, on]).contains("encoder alone"));
    let same = [&*source, on, "auxiliary.private=5"];
    assert!(refused(&[&same[..], &["guide.model=start"]].concat()).contains("guide.model=RUN"));
    let going_on = world::settings_of(&data, &same).expect("valid");
    let trainer = run::assemble(&Engine::new(1), &going_on).expect("goes on");
    assert_eq!(trainer.network.fingerprint(), load::network(&out).expect("loads").fingerprint());
}

#[test]
fn the_plan_counts_them() {
    let (dir, data) = world(300);
    let trainer = begun(&data, &[]);
    let plan = MemoryPlan::new(&trainer);
    let part = plan.parts.iter().find(|(name, _)| *name == "auxiliary").expect("a line").1;
    assert!(part >= 12 * 13 * WIDTH, "{part}");
    let none = MemoryPlan::new(&begun(&data, &["auxiliary.clusters=0", "auxiliary.private=0"]));
    assert_eq!(none.parts.iter().find(|(name, _)| *name == "auxiliary").expect("a line").1, 0);
    // Another model brings its own.
    let out = dir.path().join("guide");
    trained(&data, &out, 2, &[]);
    let guide = |path: PathBuf| {
        let trainer = begun(&data, &[&format!("guide.model={}", path.display())]);
        MemoryPlan::new(&trainer).parts.iter().find(|(name, _)| *name == "guide").expect("a line").1
    };
    let labels = trainer.data().labels().len();
    assert_eq!(guide(out.clone()) - guide(out.join("model")), 4 * (13 * WIDTH + labels));
}
