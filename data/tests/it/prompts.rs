//! Prompts stand in the tokens and nowhere else.

use crate::world::World;
use data::{DataSet, PrepareOptions, Prompts, Source, Split, Verify};

const TRAIN: &str = r#"{"uid":"q","title":"red","target_ind":[0]}
{"uid":"r","title":"","target_ind":[1]}
"#;
const TEST: &str = "{\"uid\":\"t\",\"title\":\"blue\",\"content\":\"boot\",\"target_ind\":[1]}\n";
const LABELS: &str = "{\"uid\":\"a\",\"title\":\"shoe\"}\n{\"uid\":\"b\",\"title\":\"\"}\n";

fn prepared(prompts: [&str; 2]) -> (World, DataSet) {
    let files: [(&str, &[u8]); 3] =
        [("trn.jsonl", TRAIN.as_bytes()), ("tst.jsonl", TEST.as_bytes()), ("lbl.jsonl", LABELS.as_bytes())];
    let world = World::new(&files);
    let [query, label] = prompts.map(str::to_owned);
    let options = PrepareOptions { prompts: Prompts { query, label }, ..world.options() };
    data::prepare(&Source::Jsonl(world.src()), &options, &mut |_| {}).unwrap();
    let data = DataSet::open(&world.out(), Verify::Full).unwrap();
    (world, data)
}

#[test]
fn prompts_stand_before_queries_and_labels_that_have_a_text() {
    let (_world, data) = prepared(["old ", "a "]);
    let tokens = |texts: data::Texts<'_>, i: usize| texts.tokens(i).collect::<Vec<u32>>();
    let (train, test, labels) = (data.queries(Split::Train), data.queries(Split::Test), data.labels());
    // [CLS] is 2, [SEP] 3; red 5, blue 6, shoe 7, boot 8, old 10, a 11.
    assert_eq!(tokens(train, 0), [2, 10, 5, 3]);
    assert_eq!(tokens(train, 1), [2, 3], "no text, no prompt");
    assert_eq!(tokens(test, 0), [2, 10, 6, 8, 3]);
    assert_eq!(tokens(labels, 0), [2, 11, 7, 3]);
    assert_eq!(tokens(labels, 1), [2, 3]);
    assert_eq!((train.title(0), &*test.text(0), labels.title(0)), ("red", "blue boot", "shoe"));
    assert_eq!(data.summary().examples[0].tokens, ["[CLS]", "old", "red", "[SEP]"]);
    let prompts = data.prompts();
    assert_eq!((&*prompts.query, &*prompts.label), ("old ", "a "));
    assert_eq!((&*prompts.before_query("red"), &*prompts.before_label("shoe")), ("old red", "a shoe"));
}

#[test]
fn a_prompt_that_leaves_nothing_of_a_text_is_refused() {
    let (world, _) = prepared(["old ", ""]);
    let prepare = |query: &str, max_len| {
        let prompts = Prompts { query: query.to_owned(), label: String::new() };
        let options = PrepareOptions { prompts, max_len, ..world.options() };
        data::prepare(&Source::Jsonl(world.src()), &options, &mut |_| {})
    };
    let told = prepare("old a red ", 5).unwrap_err().to_string();
    assert!(told.contains("`old a red ` fills the 5 tokens") && told.contains("--max-len"), "{told}");
    assert!(prepare("old a red ", 6).is_ok() && prepare("", 3).is_ok());
}

#[test]
fn without_prompts_a_data_set_is_the_file_that_it_was() {
    let (world, data) = prepared(["", ""]);
    assert!(data.prompts().is_empty());
    let bytes = std::fs::read(world.out()).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("prompts"), "nothing is said where there is nothing");
    let (_other, with) = prepared(["old ", ""]);
    assert_ne!(data.fingerprint(), with.fingerprint());
}
