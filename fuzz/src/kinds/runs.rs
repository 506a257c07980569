//! What lies in the directory of a run: checkpoints, its configuration, its log.

use super::text::put;
use super::{Kind, Read, mapped};
use engine::{Engine, Error, Kind as Why, Result, Table, Tensor};
use samplers::composer::State;
use std::cell::RefCell;
use std::path::Path;
use train::checkpoint::{HeadState, Link, SoftState, path_of};
use train::{Checkpoint, Progress, RunDir, Settings, Silent, Trained, run};

const MIB: usize = 1 << 20;

pub(super) const CHECKPOINT: Kind = Kind {
    name: "checkpoint",
    parts: &["checkpoints/step-000000000001.lode"],
    container: Some("checkpoint"),
    // Records of a manifest are read under a limit of 16 MiB.
    bytes_max: 40 * MIB,
    make: encoder,
};

pub(super) const CHECKPOINT_HEAD: Kind = Kind {
    name: "checkpoint_head",
    parts: &["checkpoints/step-000000000001.lode", "checkpoints/step-000000000002.lode"],
    container: Some("checkpoint"),
    bytes_max: 40 * MIB,
    make: classifier,
};

pub(super) const LOG: Kind =
    Kind { name: "log", parts: &["log.jsonl"], container: None, bytes_max: MIB, make: log };

pub(super) const CONFIG_TOML: Kind =
    Kind { name: "config_toml", parts: &["config.toml"], container: None, bytes_max: 4 * MIB, make: toml };

/// The settings of a small run on the data set of the sample.
fn settings(dir: &Path, engine: &Engine, changes: &[&str]) -> Settings {
    drop(mapped::data_set(dir, engine));
    let mut settings = Settings::default();
    let data = dir.join("data.lode");
    settings.flag("data.path", data.to_str().expect("a name"), "DATA").expect("a path");
    let base = [
        "model.source=bag",
        "model.width=2",
        "train.batch=2",
        "train.steps=9",
        "save.keep=9",
        "data.validation_per_mille=0",
    ];
    for change in base.iter().chain(changes) {
        settings.set(change).expect("a setting");
    }
    train::recipes::apply_defaults(&mut settings).expect("defaults");
    settings
}

/// Takes a step, writes a checkpoint, and gives what goes back to it.
fn encoder(dir: &Path, engine: &Engine) -> Read {
    let settings = settings(dir, engine, &["memory.queue=3", "composer.name=ngame"]);
    let mut trainer = run::assemble(engine, &settings).expect("fits");
    let folder = dir.join("checkpoints");
    trainer.next_step(&mut Silent).expect("a step");
    trainer.save(&folder).expect("saved");
    let (trainer, path) = (RefCell::new(trainer), path_of(&folder, 1));
    Box::new(move |_| {
        let read = Checkpoint::read(&path)?;
        Trained::read(&path).expect("what is whole has parameters");
        trainer.borrow_mut().restore(read)
    })
}

/// A classifier whose table is spread over two files: all rows in the first, those that changed in the second.
fn classifier(dir: &Path, _: &Engine) -> Read {
    let (rows, width, folder) = (250, 4, dir.join("checkpoints"));
    let mut table = Table::zeros(rows, width);
    let mut chain = vec![];
    for step in 1..3 {
        table.rows_mut(&[3, 4, 9]).into_iter().for_each(|row| row[0] += 0.5);
        let saved = checkpoint(step, &table, chain).write(&folder, 9).expect("written");
        table.forget_changes();
        chain = saved.chain;
    }
    assert_eq!(chain.len(), 2, "the second file adds to the first");
    Box::new(move |_| (1..3).try_for_each(|step| read_head(&path_of(&folder, step))))
}

fn read_head(path: &Path) -> Result<()> {
    let read = Checkpoint::read(path)?;
    let weights = Trained::read(path)?.weights()?;
    for (_, table) in read.head.into_iter().flat_map(|head| head.tables) {
        let [rows, width] = table.shape();
        assert_eq!(table.to_f32().len(), rows * width);
        let _ = table.restore(&mut Table::zeros(250, 4));
    }
    drop(weights.map(|weights| weights.to_f32()));
    Ok(())
}

fn checkpoint(step: u64, table: &Table, chain: Vec<Link>) -> Checkpoint<'_, &Table> {
    let state = HeadState {
        steps: 7,
        tables: vec![("w".into(), table)],
        lists_epoch: Some(1),
        lists: vec![5, 6].into(),
        soft: Some(SoftState {
            starts: vec![0, 1].into(),
            labels: vec![1].into(),
            targets: vec![0.25].into(),
        }),
        factors: Some(vec![0; 56].into()),
        chain,
    };
    Checkpoint {
        progress: Progress { step, epoch: 2, batch: 5 },
        data: 77,
        kernel_class: "any".into(),
        params: vec![("w".into(), Tensor::from_vec([2, 1], vec![1.0f32, 2.0]))],
        optimizer: vec![("n".into(), Tensor::from_vec([1], vec![9u32]))],
        memory: vec![],
        bank: (vec![], vec![]),
        composer: State { order: vec![1, 0], ends: vec![2], epoch: 1, made_at_step: 4 },
        lists: None,
        head: Some(state),
    }
}

fn log(dir: &Path, _: &Engine) -> Read {
    let lines = "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"old_labels\":{\"P@1\":0.25}}\n\
                 {\"step\":2,\"final\":true,\"metrics\":{\"P@1\":0.5,\"nDCG@5\":1},\
                 \"old_labels\":{\"labels\":3,\"queries\":4,\"before\":0.5,\"after\":0.25}}\n";
    put(&dir.join("log.jsonl"), lines);
    let run = RunDir::at(dir);
    Box::new(move |_| {
        let _ = (run.final_line(), run.final_metrics(), run.old_labels_before(), run.final_old_labels());
        // A log that is no text is left as it is; it decides nothing.
        run.rewind_log(1)
    })
}

/// Some of each type, in the manner of a run directory.
const TOML: &str = "[data]\npath = \"a b\" # --data\nvalidation_per_mille = 0\n[train]\nsteps = 90 # 1e3\n\
    batch = 0x10\nlr = 2e-3\nlabel_texts = false\n[composer]\nsizes = [\"1:2\", '3:4']\n[loss]\n\
    blocks = [\"query-label\"]\ntemperature = 1\n[model]\nsource = \"\"\"\nt\u{e9}\"\"\"\nwidth = 1_000\n";

fn toml(dir: &Path, _: &Engine) -> Read {
    put(&dir.join("config.toml"), TOML);
    let path = dir.join("config.toml");
    Box::new(move |_| {
        let mut settings = Settings::default();
        settings.file(&path)?;
        let _ = settings.config();
        train::recipes::apply_defaults(&mut settings)?;
        let config = settings.config()?;
        let mut again = Settings::default();
        let copy = path.with_extension("copy");
        put(&copy, settings.to_string());
        again
            .file(&copy)
            .map_err(|e| Error::new(Why::Other, format!("what was written is not read: {e}")))?;
        assert!(format!("{:?}", again.config()?) == format!("{config:?}"), "another configuration came back");
        Ok(())
    })
}
