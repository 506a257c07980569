//! What a training step asks of the heap, tensors aside: those live in the engine's pool, which asks for nothing after
//! its warm-up. A program without the test harness, whose threads would count as well.
//!
//! Without AVX-512 a matrix product is `matrixmultiply`'s, which packs its panels into a block of its own at every
//! call. Its calls are not told from others by the counter, so bytes and blocks are bounded with them in: a panel is at
//! most a quarter of a megabyte for these small matrices.

use data::{PrepareOptions, Source, TokenizerChoice};
use engine::{Engine, Stream};
use std::path::{Path, PathBuf};
use train::config::Settings;
use train::{Silent, Trainer, run};

#[global_allocator]
static HEAP: engine::heap::Counting = engine::heap::Counting::new();

/// Titles of one to seven words over forty labels.
fn world(dir: &Path) -> PathBuf {
    let stream = Stream::new(3, 0);
    let mut csv = String::from("title,label\n");
    for row in 0..800u64 {
        let word = |i: u64| format!("w{}", stream.below(8 * row + i, 90));
        let words: Vec<String> = (0..=stream.below(8 * row + 7, 7)).map(word).collect();
        csv += &format!("{} n{row},label {}\n", words.join(" "), row % 40);
    }
    let (table, out) = (dir.join("world.csv"), dir.join("world.lode"));
    std::fs::write(&table, csv).expect("written");
    let source = Source::Csv(data::CsvSource::new(&table, "title", "label"));
    data::prepare(&source, &PrepareOptions::new(&out, TokenizerChoice::Train(300)), &mut |_| {})
        .expect("prepared");
    out
}

/// Allocations and bytes of so many steps, for each step.
fn of_steps(trainer: &mut Trainer, steps: u64) -> (f64, f64) {
    let (allocations, bytes) = (HEAP.allocations(), HEAP.bytes());
    for _ in 0..steps {
        trainer.next_step(&mut Silent).expect("steps");
    }
    let per_step = |n: u64| n as f64 / steps as f64;
    (per_step(HEAP.allocations() - allocations), per_step(HEAP.bytes() - bytes))
}

fn main() {
    a_step_asks_the_heap_for_little_and_never_for_more();
}

fn a_step_asks_the_heap_for_little_and_never_for_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path());
    let mut settings = Settings::default();
    settings.flag("data.path", data.to_str().expect("a name"), "DATA").expect("a path");
    for change in ["model.source=tiny", "model.width=32", "train.batch=32", "train.steps=400"] {
        settings.set(change).expect("a setting");
    }
    train::recipes::apply_defaults(&mut settings).expect("defaults");
    // One worker: with more, which of them first needs a deque or a stack of its own is chance.
    let engine = Engine::new(1);
    let (mut trainer, _) = run::begin(&engine, &settings, &dir.path().join("run")).expect("begins");
    // The first step clusters the queries and makes the optimizer's state; the warm-up is the largest batch.
    trainer.next_step(&mut Silent).expect("steps");
    trainer.warm_up().expect("walks");
    of_steps(&mut trainer, 20);
    let (held, pool) = (HEAP.bytes_in_use(), engine.pool_stats().system_allocations);
    let early = of_steps(&mut trainer, 100);
    let late = of_steps(&mut trainer, 100);
    let grown = HEAP.bytes_in_use() as f64 - held as f64;
    for (name, (allocations, bytes)) in [("steps 22-121", early), ("steps 122-221", late)] {
        println!("{name}: {allocations:.0} allocations and {:.0} kB a step", bytes / 1000.0);
    }
    println!("held after them: {grown:+} bytes");
    assert_eq!(engine.pool_stats().system_allocations, pool, "the pool asks for nothing");
    for (allocations, bytes) in [early, late] {
        assert!(allocations < ALLOCATIONS_MOST, "{allocations} allocations a step");
        assert!(bytes < BYTES_MOST, "{bytes} bytes a step");
    }
    assert!(late.0 < 1.05 * early.0, "{} allocations a step, then {}", early.0, late.0);
    assert!(grown < 100_000.0, "200 steps left {grown} bytes behind");
}

/// About twice what is seen.
const ALLOCATIONS_MOST: f64 = 1500.0;
/// About twice what is seen, the panels of matrix products among it.
const BYTES_MOST: f64 = 5e6;
