//! Prompts: from a model directory into the tokens of a data set, through training, answers and exports.

use crate::products;
use crate::run::World;
use serde_json::Value;

const PROMPTS: [&str; 4] = ["--query-prompt", "small: ", "--label-prompt", "classic: "];

/// A shop behind prompts and a run on it.
fn world() -> World {
    let world = World::new();
    world.write("products.csv", products::csv(400));
    world.lode(&[&products::PREPARE[..], &PROMPTS].concat()).ok();
    let train = ["train", "shop.data", "--out", "run", "--model", "tiny", "--set", "model.width=32"];
    world.lode(&[&train[..], &["--batch", "32", "--epochs", "2", "-q"]].concat()).ok();
    world
}

/// The rows of a matrix of f32 of this width.
fn rows(world: &World, name: &str, width: usize) -> Vec<Vec<f32>> {
    let bytes = world.read(name);
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let numbers: Vec<f32> =
        bytes[header..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    numbers.chunks(width).map(<[f32]>::to_vec).collect()
}

fn answers(world: &World, text: &str, k: usize) -> Vec<(String, f64)> {
    let k = k.to_string();
    let found = world.lode(&["predict", "run", "--text", text, "--k", &k, "--json", "-q"]).ok().json();
    let label = |l: &Value| (l["title"].as_str().unwrap().to_owned(), l["score"].as_f64().unwrap());
    found["labels"].as_array().unwrap().iter().map(label).collect()
}

#[test]
fn texts_are_read_behind_the_prompts_of_the_data_set_wherever_they_come_from() {
    let world = world();
    // A query that is typed, and labels: as `encode` sees them with the prompts before them.
    let found = answers(&world, "oak chair", 40);
    world.write("query.txt", "oak chair\n");
    world.write("labels.txt", found.iter().map(|l| l.0.clone() + "\n").collect::<String>());
    for (texts, prompt) in [("query", "small: "), ("labels", "classic: ")] {
        let (from, to) = (format!("{texts}.txt"), format!("{texts}.npy"));
        world.lode(&["encode", "run", &from, "--out", &to, "--max-len", "32", "--prompt", prompt]).ok();
    }
    let query = &rows(&world, "query.npy", 32)[0];
    assert_eq!(found.len(), 40);
    for (label, (title, score)) in rows(&world, "labels.npy", 32).iter().zip(&found) {
        let cosine: f32 = query.iter().zip(label).map(|(a, b)| a * b).sum();
        assert!((f64::from(cosine) - score).abs() < 1e-5, "{title}: {cosine}, {score}");
    }
    // Another text stands in its place without the prompt.
    world.lode(&["encode", "run", "query.txt", "--out", "bare.npy", "--max-len", "32"]).ok();
    assert!(rows(&world, "bare.npy", 32)[0] != *query);
    // A label that is added later is one of them.
    world.write("new.jsonl", format!("{{\"id\": \"N\", \"text\": \"{}\"}}\n", found[0].0));
    world.lode(&["index", "run", "--add", "new.jsonl", "-q"]).ok();
    let with = answers(&world, "oak chair", 2);
    assert!(with[0].0 == with[1].0 && (with[0].1 - with[1].1).abs() < 1e-6, "{with:?}");
    let explained = world.lode(&["explain", "run", "--text", "oak chair", "--json", "-q"]).ok().stdout;
    assert!(explained.contains("\"small\""), "{explained}");
}

#[test]
fn prompts_go_from_a_data_set_into_the_model_and_from_a_model_into_a_data_set() {
    let world = world();
    world.lode(&["export", "run", "--to", "hf", "--out", "model", "-q"]).ok();
    let config = |folder: &str| -> Value {
        let name = format!("{folder}/config_sentence_transformers.json");
        serde_json::from_slice(&world.read(&name)).unwrap()
    };
    for folder in ["run/model", "model"] {
        let prompts = config(folder)["prompts"].clone();
        assert_eq!(prompts, serde_json::json!({"query": "small: ", "document": "classic: "}), "{folder}");
    }
    assert!(String::from_utf8(world.read("model/README.md")).unwrap().contains("prompt_name=\"query\""));
    // Whoever prepares for the run or for its directory gets them, and may say otherwise.
    let prepare = products::PREPARE;
    let at = prepare.iter().position(|word| *word == "--train-vocab").unwrap();
    let prepare = |model: &str, out: &str, more: &[&str]| {
        let mut words = [&prepare[..], more].concat();
        words.splice(at..at + 2, ["--tokenizer", model]);
        let place = words.iter().position(|word| *word == "shop.data").unwrap();
        words[place] = out;
        words.retain(|word| *word != "-q");
        world.lode(&words)
    };
    for model in ["run", "model"] {
        let told = prepare(model, "again.data", &[]).ok().stderr;
        assert!(told.contains("before queries stands `small: `, before labels `classic: `"), "{told}");
        assert!(world.read("again.data") == world.read("shop.data"));
    }
    let shown = world.lode(&["inspect", "data", "again.data"]).ok().stdout;
    assert!(shown.contains("before queries stands `small: `"), "{shown}");
    prepare("model", "bare.data", &["--query-prompt", "", "--label-prompt", ""]).ok();
    let told = world.lode(&["evaluate", "model", "bare.data"]).ok().stderr;
    assert!(told.contains("made for the prompts `small: ` and `classic: `"), "{told}");
    let told = world.lode(&["evaluate", "model", "shop.data"]).ok().stderr;
    assert!(!told.contains("made for the prompts"), "{told}");
    let train = ["train", "bare.data", "--model", "model", "--steps", "2", "--batch", "8", "--out", "bare"];
    let told = world.lode(&train).ok().stderr;
    assert_eq!(told.matches("made for the prompts").count(), 1, "{told}");
    assert_eq!(config("bare/model")["prompts"], serde_json::json!({}));

    let mine = |model: &str, data: &str, prompts: [&str; 2]| {
        let words = ["mine", model, data, "--out", "mined", "--query-prompt", prompts[0]];
        world.lode(&[&words[..], &["--corpus-prompt", prompts[1]]].concat()).ok().stderr
    };
    assert!(!mine("model", "bare.data", ["small: ", "classic: "]).contains("made for the prompts"));
    assert!(!mine("model", "shop.data", ["", ""]).contains("made for the prompts"));
    assert!(mine("model", "shop.data", ["red: ", ""]).contains("stand `red: ` and `classic: `"));
}

/// A model that reads its prompts and does not pool them (`include_prompt` of sentence-transformers' pooling).
#[test]
fn prompts_may_be_read_and_not_pooled() {
    let world = world();
    world.lode(&["export", "run", "--to", "hf", "--out", "pooled", "-q"]).ok();
    world.lode(&["export", "run", "--to", "hf", "--out", "apart", "-q"]).ok();
    let pooling = String::from_utf8(world.read("apart/1_Pooling/config.json")).unwrap();
    world.write("apart/1_Pooling/config.json", pooling.replace("prompt\": true", "prompt\": false"));
    world.write("texts.txt", "oak chair\nred lamp\n");
    let encode = |model: &str, prompt: &str, out: &str| {
        let words = ["encode", model, "texts.txt", "--out", out, "--max-len", "32", "--prompt", prompt];
        world.lode(&words)
    };
    let encoded = |model: &str, prompt: &str| {
        encode(model, prompt, "x.npy").ok();
        rows(&world, "x.npy", 32)
    };
    assert_eq!(encoded("apart", ""), encoded("pooled", ""), "without a prompt nothing is left out");
    let (apart, pooled) = (encoded("apart", "small: "), encoded("pooled", "small: "));
    assert!(apart != pooled && apart != encoded("apart", ""), "it is read, and not pooled");
    encode("apart", "red: ", "x.npy").fails(3, &["apart", "`small: `", "`red: ` is none of them"]);
    // What its labels are like, and what is answered, follow.
    let evaluated = |model: &str| world.lode(&["evaluate", model, "shop.data", "--json", "-q"]).ok().stdout;
    assert_ne!(evaluated("apart").replace("apart", ""), evaluated("pooled").replace("pooled", ""));
    world.lode(&["export", "apart", "--to", "onnx", "--out", "x.onnx"]).fails(5, &["does not pool them"]);
    world.lode(&["export", "apart", "--to", "hf", "--out", "again", "-q"]).ok();
    assert!(encoded("again", "classic: ") == encoded("apart", "classic: "));
    // A run goes on as its start pools, or as it is told; and it is its files that say so.
    let train = |model: &str, out: &str, more: &[&str]| {
        let words = ["train", "shop.data", "--model", model, "--out", out, "--steps", "4", "--batch", "8"];
        world.lode(&[&words[..], &["--seed", "3"], more].concat())
    };
    let pools = |run: &str| {
        let name = format!("{run}/model/1_Pooling/config.json");
        let config: Value = serde_json::from_slice(&world.read(&name)).unwrap();
        config["include_prompt"].as_bool().unwrap()
    };
    train("apart", "one", &[]).ok();
    train("pooled", "two", &["--set", "model.prompts=apart"]).ok();
    train("apart", "three", &["--set", "model.prompts=pooled"]).ok();
    train("pooled", "four", &[]).ok();
    assert_eq!(["one", "two", "three", "four"].map(pools), [false, false, true, true]);
    let all = ["one", "two", "three", "four"].map(|run| encoded(run, "small: "));
    assert!(all[0] == all[1] && all[2] == all[3] && all[0] != all[2]);
    let words = ["train", "shop.data", "--model", "tiny", "--out", "fresh", "--steps", "2", "--batch", "8"];
    world.lode(&[&words[..], &["--set", "model.width=32", "--set", "model.prompts=apart"]].concat()).ok();
    assert!(!pools("fresh"));
    train("bag", "bag", &["--set", "model.prompts=apart"]).fails(3, &["a bag is the mean of its tokens"]);
    train("pooled", "odd", &["--set", "model.prompts=odd"]).fails(3, &["pooled, apart"]);
    // A prompt that makes a word of its own with the beginning of a text has no tokens of its own.
    let half =
        |(i, line): (usize, &str)| if i % 2 == 1 { line.replace("small", "mall") } else { line.to_owned() };
    let lines: Vec<String> = products::csv(400).lines().enumerate().map(half).collect();
    world.write("products.csv", lines.join("\n") + "\n");
    let words = [&products::PREPARE[..], &["--query-prompt", "s"]].concat();
    world
        .lode(
            &words.into_iter().map(|w| if w == "shop.data" { "run-on.data" } else { w }).collect::<Vec<_>>(),
        )
        .ok();
    let words = ["train", "run-on.data", "--model", "tiny", "--out", "odd", "--set", "model.prompts=apart"];
    world.lode(&words).fails(3, &["run-on.data", "`s` runs on into", "end it with a space"]);
}
