//! Going on from a run with new rows and new labels, from the command line.

use crate::products;
use crate::run::World;

const TRAIN: [&str; 13] = [
    "train",
    "--head",
    "classifier",
    "--set",
    "model.width=32",
    "--set",
    "head.encoder_lr=0.01",
    "--epochs",
    "6",
    "--batch",
    "32",
    "--lr",
    "0.02",
];

/// The columns of the shop.
const COLUMNS: [&str; 7] = ["--text", "title", "--labels", "category", "--split", "80/20", "-q"];

#[test]
fn training_goes_on_with_new_labels_and_says_what_became_of_the_old_ones() {
    let world = World::new();
    // Of forty kinds the first shop sells no tents, ropes or beds, the second no hats.
    let shop = |without: &[&str]| {
        let kept = |line: &&str| !without.iter().any(|kind| line.contains(&format!(",{kind},")));
        products::csv(900).lines().filter(kept).flat_map(|line| [line, "\n"]).collect::<String>()
    };
    world.write("old.csv", shop(&["tents", "ropes", "beds"]));
    world.write("new.csv", shop(&["hats"]));
    let prepare = |name: &str, more: &[&str]| {
        let (table, data) = (format!("{name}.csv"), format!("{name}.data"));
        world.lode(&[&["prepare", &table, "--out", &data], &COLUMNS[..], more].concat()).ok();
    };
    prepare("old", &["--train-vocab", "400"]);
    world.lode(&[&TRAIN[..], &["old.data", "--model", "bag", "--out", "old", "-q"]].concat()).ok();
    let go_on = |more: &[&str]| world.lode(&[&TRAIN[..], &["--init", "old", "new.data"], more].concat());

    prepare("new", &["--train-vocab", "410"]);
    let refused = go_on(&["--out", "new"])
        .fails(3, &["new.data", "not prepared for the model", "lode prepare new.csv"]);
    let command = refused.stderr.split_once("lode prepare ").unwrap().1;
    // What is said is typed, with the columns.
    let said: Vec<&str> = command.split_whitespace().collect();
    let words: Vec<&str> = ["prepare"]
        .into_iter()
        .chain(said)
        .flat_map(|word| match word {
            "…" => COLUMNS.to_vec(),
            word => vec![word],
        })
        .collect();
    world.lode(&words).ok();

    let told = go_on(&["--out", "new"]).ok();
    let line = "it knows 36 of the labels, with their weights; 3 are new, 1 are gone";
    assert!(told.stderr.contains(line), "{}", told.stderr);
    assert!(told.stderr.contains("before the first step: P@1"), "{}", told.stderr);
    assert!(
        told.stdout.contains("36 labels known before this run") && told.stdout.contains(" before, "),
        "{}",
        told.stdout
    );
    let again = world.lode(&["resume", "new", "--json", "-q"]).ok().json();
    let of = |key: &str| again["old_labels"][key].as_f64().unwrap();
    assert!(of("P@1_before") > 0.6 && of("P@1_after") > 0.6 && of("labels") == 36.0, "{again}");
    let found =
        world.lode(&["evaluate", "new", "new.data", "--score", "classifier", "--json", "-q"]).ok().json();
    assert!(found["P@1"].as_f64().unwrap() > 0.6, "{found}");
    go_on(&["--embeddings", "old", "--out", "other"]).fails(3, &["token embeddings already"]);
    world
        .lode(&["train", "new.data", "--init", "olf", "--out", "other"])
        .fails(3, &["olf", "there is no such model"]);
    assert!(!world.path("other").exists());
}
