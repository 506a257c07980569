//! The numbers of the summary, on a set small enough to count by hand.

use crate::world::World;
use data::{Example, Source, Spread};

#[test]
fn duplicates_leaks_and_reversed_pairs_are_counted() {
    let labels = ["red", "blue", "old shoe", "boot", "boots"];
    let lbl: String =
        labels.iter().enumerate().map(|(i, t)| format!("{{\"uid\": {i}, \"title\": \"{t}\"}}\n")).collect();
    let row = |uid: u32, title: &str, labels: &str| {
        format!("{{\"uid\": {uid}, \"title\": \"{title}\", \"target_ind\": [{labels}]}}\n")
    };
    let train = [
        row(0, "blue", "0"),
        row(1, "Blue", "2, 3"),
        row(2, "old  shoe", "0"),
        row(3, "something", "0, 1, 2"),
        row(4, "boot", "1"),
    ]
    .concat();
    // RED → blue, old shoe: both stand reversed in training. RED → boot does not: `boot` is under blue alone.
    // Another title that stands in training; and one of no label's name.
    let test = [row(0, "RED", "1, 2, 3"), row(1, "SOMETHING ", "0"), row(2, "new", "0, 1")].concat();
    let world = World::new(&[
        ("trn.jsonl", train.as_bytes()),
        ("tst.jsonl", test.as_bytes()),
        ("lbl.jsonl", lbl.as_bytes()),
    ]);
    let s = world.prepare(&Source::Jsonl(world.src())).unwrap();
    assert_eq!((s.train, s.test, s.labels), (5, 3, 5));
    assert_eq!(s.positives_train, Spread { mean: 8.0 / 5.0, median: 1, max: 3 });
    assert_eq!(s.positives_test, Spread { mean: 2.0, median: 2, max: 3 });
    assert_eq!(s.titles_per_label, Spread { mean: 8.0 / 5.0, median: 2, max: 3 });
    assert_eq!((s.labels_with_one_title, s.labels_with_no_title), (1, 1));
    assert_eq!((s.duplicate_titles_train, s.test_titles_in_train), (1, 1));
    assert_eq!((s.test_pairs, s.test_pairs_reversed_in_train), (6, 2));
    let tokens = ["[CLS]", "blue", "[SEP]"].map(str::to_owned).to_vec();
    let first = Example { title: "blue".into(), tokens, labels: vec!["red".into()] };
    assert_eq!((s.examples.len(), &s.examples[0]), (3, &first));
    // Specials: 2 × 13 texts. Words: 1 + 1 + 2 + 1 + 1, 1 + 1 + 1, 1 + 1 + 2 + 1 + 2.
    assert_eq!((s.tokens, s.vocabulary), (26 + 6 + 3 + 7, 12));
    assert_eq!(world.open().summary(), &s);
}
