//! What a training step takes from the heap beside the pool: small records of the tape, ids of the batch. Counted by a
//! global allocator, so this test is alone in its process.

use data::{PrepareOptions, Source, TokenizerChoice};
use engine::heap::Counting;
use engine::{Engine, Stream};
use train::config::Settings;
use train::{Silent, run};

#[global_allocator]
static HEAP: Counting = Counting::new();

/// Allocations of a step of `tiny`, batch 32; twice what was seen. Each operation has a box, a few short lists, and two
/// calls of `matrixmultiply`, which allocates its packing panels at every product.
const ALLOCATIONS_MAX: u64 = 1500;

#[test]
fn allocations_of_a_step_are_few_and_do_not_grow() {
    let dir = tempfile::tempdir().expect("a directory");
    let (table, data) = (dir.path().join("t.csv"), dir.path().join("t.lode"));
    let s = Stream::new(5, 0);
    let row =
        |i: u64| format!("w{} w{} w{},l{}\n", s.below(3 * i, 90), s.below(3 * i + 1, 90), i % 50, i % 50);
    std::fs::write(&table, "title,label\n".to_owned() + &(0..1500).map(row).collect::<String>())
        .expect("written");
    let options = PrepareOptions::new(&data, TokenizerChoice::Train(300));
    let source = Source::Csv(data::CsvSource::new(&table, "title", "label"));
    data::prepare(&source, &options, &mut |_| {}).expect("prepared");
    let mut settings = Settings::default();
    settings.flag("data.path", data.to_str().expect("a name"), "DATA").expect("a path");
    for change in ["model.source=tiny", "model.width=32", "train.batch=32", "train.steps=400"] {
        settings.set(change).expect("a setting");
    }
    train::recipes::apply_defaults(&mut settings).expect("defaults");
    let (mut trainer, _) = run::begin(&Engine::new(2), &settings, &dir.path().join("run")).expect("begins");
    let mut allocations_of = |steps: u64| {
        let (count, bytes) = (HEAP.allocations(), HEAP.bytes());
        for _ in 0..steps {
            trainer.next_step(&mut Silent).expect("steps");
        }
        ((HEAP.allocations() - count) / steps, (HEAP.bytes() - bytes) / steps)
    };
    allocations_of(60);
    let (early, late) = (allocations_of(100), allocations_of(100));
    println!(
        "a step: {} allocations, {} bytes; a hundred steps later: {}, {}",
        early.0, early.1, late.0, late.1
    );
    assert!(late.0 <= ALLOCATIONS_MAX, "{} allocations a step", late.0);
    assert!(late.0 <= early.0 + early.0 / 10, "they grow from {} to {} a step", early.0, late.0);
}
