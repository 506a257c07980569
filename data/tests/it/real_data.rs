//! Real data sets, found through `LODE_SHARED`; the numbers are those published beside the data.

use crate::world::{World, shared};
use data::{PrepareOptions, Source, Split, Summary, TokenizerChoice};
use engine::Engine;
use std::path::Path;

fn prepare(world: &World, source: &Source, model: &Path) -> Summary {
    let options = PrepareOptions {
        tokenizer: TokenizerChoice::Directory(model.to_owned()),
        engine: Engine::new(2),
        ..PrepareOptions::new(world.out(), TokenizerChoice::Train(0))
    };
    data::prepare(source, &options, &mut |_| {}).unwrap()
}

/// `stats.json` of a data set was counted by another program.
fn check_stats(folder: &Path, s: &Summary) {
    let text = std::fs::read_to_string(folder.join("stats.json")).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    let whole = |name: &str| stats[name].as_u64().unwrap();
    let near = |name: &str, value: f64| (stats[name].as_f64().unwrap() - value).abs() <= 0.00051;
    assert_eq!((s.train, s.test, s.labels), (whole("N_train"), whole("N_test"), whole("L")));
    assert!(near("avg_labels_per_train_point", s.positives_train.mean), "{s}");
    assert!(near("avg_labels_per_test_point", s.positives_test.mean), "{s}");
    assert!(near("avg_train_points_per_label", s.titles_per_label.mean), "{s}");
    assert_eq!(s.titles_per_label.median, whole("median_train_points_per_label"));
    assert_eq!(s.titles_per_label.max, whole("max_train_points_per_label"));
    assert_eq!(s.labels_with_no_title, whole("labels_without_train_point"));
    assert_eq!(s.labels_with_one_title, whole("labels_with_1_train_point"));
    assert_eq!(s.filtered_pairs, [whole("filter_train"), whole("filter_test")]);
}

#[test]
fn library_titles_have_their_published_counts() {
    let Some(shared) = shared("") else { return };
    let folder = shared.join("data/finna-small");
    let world = World::new(&[]);
    let model = shared.join("models/all-MiniLM-L6-v2");
    let s = prepare(&world, &Source::Jsonl(folder.clone()), &model);
    check_stats(&folder, &s);
    println!("{s}");
    let set = world.open();
    assert_eq!(set.queries(Split::Train).title(0), "The Osamu Tezuka story : a life in manga and anime");
    assert_eq!(set.positives(Split::Train, 0), [3452, 6503]);
    assert_eq!(set.vocab_size(), 30_522);
    assert_eq!((s.dropped_without_labels, s.empty_texts), (0, 0));
}

#[test]
fn word_net_has_its_filters_and_its_tail() {
    let Some(shared) = shared("") else { return };
    let folder = shared.join("data/wordnet-104k");
    let world = World::new(&[]);
    let s = prepare(&world, &Source::Xc(folder.clone()), &shared.join("models/all-MiniLM-L6-v2"));
    check_stats(&folder, &s);
    let set = world.open();
    // The first lines of the filter file.
    assert_eq!([0, 1, 2].map(|q| set.filtered(Split::Test, q)[0]), [62035, 47933, 39450]);
    assert_eq!(s.test_pairs_reversed_in_train, 0);
}

#[test]
fn cranfield_has_only_test_queries() {
    let Some(shared) = shared("") else { return };
    let world = World::new(&[]);
    let s = prepare(
        &world,
        &Source::Beir(shared.join("data/cranfield")),
        &shared.join("models/all-MiniLM-L6-v2"),
    );
    assert_eq!((s.train, s.test, s.labels, s.test_pairs, s.labels_without_text), (0, 225, 1400, 1612, 2));
    let set = world.open();
    assert_eq!((set.labels().uid(183), set.queries(Split::Test).uid(0)), ("184", "1"));
    assert!(set.positives(Split::Test, 0).contains(&183));
}
