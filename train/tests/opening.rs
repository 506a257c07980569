//! What is used of a file is verified, and what is not used is not read.

mod world;

use data::{DataSet, Verify};
use engine::container::Container;
use engine::{Engine, Kind};
use models::{Architecture, Model, bag};
use std::path::Path;
use train::index::Index;
use train::predict::{How, Predictor};
use train::{Event, Network, Observer, Silent, checkpoint, run};

const WIDTH: usize = 64;

/// Counts the texts that are embedded, by what they are.
#[derive(Default)]
struct Embedded {
    labels: usize,
    titles: usize,
}

impl Observer for Embedded {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Embedding { what: "labels", done, total } if done == total => self.labels += total,
            Event::Embedding { done, total, .. } if done == total => self.titles += total,
            _ => {}
        }
    }
}

fn set(dir: &Path) -> DataSet {
    let rows = (0..300).map(|i| format!("words about key{i},key{}\n", i % 100));
    let csv = "title,label\n".to_owned() + &rows.collect::<String>();
    let out = world::prepared(dir, &csv, 300, |source| source.split = "100/0".parse().expect("a ratio"));
    DataSet::open(&out, Verify::Full).expect("opens")
}

#[test]
fn an_index_is_made_again_where_a_part_that_is_used_is_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = set(dir.path());
    let config = bag::Config { vocab: data.vocab_size(), width: WIDTH, normalise: true };
    let network = Network::new(Model::fresh(Architecture::Bag(config), 32, 1));
    let (engine, path) = (Engine::new(1), dir.path().join("index.lode"));
    let embedded = |with_titles: bool| {
        let mut seen = Embedded::default();
        Index::load_or_build(&path, &engine, &network, &data, with_titles, &mut seen).expect("opens");
        (seen.labels, seen.titles)
    };
    assert_eq!(embedded(true), (100, 300));
    assert_eq!(embedded(true), (0, 0));
    // The header and the fingerprints have 64 bytes each; labels and titles follow.
    let (labels, titles) = (128, 128 + 100 * WIDTH * 4);
    let damage = |at: usize| {
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("written");
    };
    damage(titles + 1000);
    assert_eq!(embedded(false), (0, 0), "titles that do not vote are not read");
    assert_eq!(embedded(true), (100, 300));
    damage(labels + 1000);
    assert_eq!(embedded(true), (100, 300));
    damage(labels + 1000);
    assert_eq!(embedded(false), (100, 0));
    assert_eq!(embedded(false), (0, 0));
}

/// Flips a bit of the first byte of section `nth` of a container.
fn damage_section(path: &Path, kind: &str, nth: usize) {
    let file = Container::open(path, kind, Verify::Header).expect("opens");
    let before = file.sections()[..nth].iter().map(|s| s.bytes.next_multiple_of(64) as usize);
    let at = 64 + before.sum::<usize>();
    drop(file);
    let mut bytes = std::fs::read(path).expect("read");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_run_answers_without_its_optimizer_and_is_not_resumed_without_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, out, engine) = (set(dir.path()), dir.path().join("run"), Engine::new(1));
    let base = ["model.source=bag", "model.width=64", "train.batch=24", "train.epochs=1"];
    let settings = world::settings(data.path(), &base, &[]);
    let (mut trainer, run_dir) = run::begin(&engine, &settings, &out).expect("begins");
    run::run(&mut trainer, &run_dir, &mut Silent).expect("trains");
    let found = checkpoint::list(&run_dir.checkpoints());
    found[1..].iter().for_each(|older| std::fs::remove_file(older).expect("removed"));
    let answers = || {
        let predictor = Predictor::open(&engine, &out, None, How::default(), &mut Silent)?;
        predictor.predict(&["words about key7"], 3)
    };
    let before = answers().expect("answers");
    // The manifest, the parameters, then the optimizer's state.
    let params = trainer.network.model.params.len();
    damage_section(&found[0], "checkpoint", 1 + params);
    assert_eq!(answers().expect("answers"), before);
    let refused = run::resume(&engine, &out, &mut Silent).err().expect("the optimizer's state is damaged");
    assert_eq!(refused.kind(), Kind::Damaged);
    damage_section(&found[0], "checkpoint", 1);
    assert_eq!(answers().expect_err("a parameter is damaged").kind(), Kind::Damaged);
}
