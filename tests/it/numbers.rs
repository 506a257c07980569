//! What a run gets whose numbers run away.

use crate::products;
use crate::run::World;

/// A rate at which the second step throws the parameters beyond what a number holds, which the third one finds.
const TOO_FAST: &str = "train shop.data --out run --model bag --batch 16 --steps 40 --lr 1e30 --save-every 0.000001s \
                        --set save.log_every=1 --set train.warmup_steps=0 --set composer.name=shuffled";

fn world() -> World {
    let world = World::new();
    world.write("products.csv", products::csv(100));
    world.lode(&products::PREPARE).ok();
    world
}

#[test]
fn a_run_that_runs_away_names_operation_batch_and_checkpoint() {
    let world = world();
    let words: Vec<&str> = TOO_FAST.split_whitespace().collect();
    let last = "the last good checkpoint is run/checkpoints/step-000000000001.lode";
    let told =
        world.lode(&words).fails(6, &["step 3: the loss is", last, "the batch holds", "try a lower --lr"]);
    assert!(told.stderr.contains("made a NaN or an infinity in"), "{}", told.stderr);
}

#[test]
fn some_steps_are_passed_over_where_that_is_asked_for_and_then_it_ends() {
    let world = world();
    let words: Vec<&str> = TOO_FAST.split_whitespace().chain(["--set", "train.skip_nonfinite=3"]).collect();
    let told =
        world.lode(&words).fails(6, &["passed over, 3 of at most 3", "3 steps were passed over before"]);
    assert!(told.stderr.contains("step 6: the loss is"), "{}", told.stderr);
    let log = String::from_utf8(world.read("run/log.jsonl")).unwrap();
    let skipped: Vec<i64> = log
        .lines()
        .filter(|line| line.contains("\"loss\""))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["skipped"].as_i64().unwrap())
        .collect();
    assert_eq!(skipped, [0, 0, 1, 2, 3]);
}
