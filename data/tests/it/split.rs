//! Validation is taken from training titles; near-duplicates stay together.

use crate::world::World;
use data::{CsvSource, Holdout, Source, Split, holdout, main_title};
use engine::Stream;
use std::collections::HashSet;

/// 300 works in 2 or 3 editions each.
fn world_of_editions() -> (World, CsvSource) {
    let mut table = String::from("title,kind\n");
    for i in 0..300 {
        let name = format!("work {} {}", ["red", "blue", "old"][i % 3], "abcdefghij".repeat(1 + i / 3));
        for edition in 0..2 + i % 2 {
            table += &format!("\"{name}, vol. {edition}\",k{}\n", i % 7);
        }
    }
    let world = World::new(&[("t.csv", table.as_bytes())]);
    let source = CsvSource::new(world.src().join("t.csv"), "title", "kind");
    (world, source)
}

#[test]
fn a_split_keeps_editions_on_one_side() {
    let (world, mut source) = world_of_editions();
    source.split = "80/20".parse().unwrap();
    world.prepare(&Source::Csv(source)).unwrap();
    let set = world.open();
    let keys = |split| {
        let texts = set.queries(split);
        (0..texts.len()).map(|i| main_title(texts.title(i))).collect::<HashSet<_>>()
    };
    let (train, test) = (keys(Split::Train), keys(Split::Test));
    assert_eq!(train.len() + test.len(), 300);
    assert!(train.is_disjoint(&test));
    // Standard error 7; five of them.
    assert!((25..95).contains(&test.len()), "{}", test.len());
}

#[test]
fn a_holdout_is_a_partition_that_keeps_editions_together() {
    let (world, mut source) = world_of_editions();
    source.split = "100/0".parse().unwrap();
    world.prepare(&Source::Csv(source)).unwrap();
    let set = world.open();
    let n = set.queries(Split::Train).len();
    let stream = Stream::new(3, 9);
    for (size, wanted) in [
        (Holdout::PerMille(100), n / 10),
        (Holdout::Count(50), 50),
        (Holdout::Count(0), 0),
        (Holdout::PerMille(1000), n),
    ] {
        let (kept, held) = holdout(&set, size, stream);
        let mut all: Vec<u32> = [kept.clone(), held.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..n as u32).collect::<Vec<_>>());
        assert!(kept.is_sorted() && held.is_sorted());
        assert!(held.len() <= wanted && held.len() + 1 >= wanted, "{} of {wanted}", held.len());
        let key = |&q: &u32| main_title(set.queries(Split::Train).title(q as usize));
        let (a, b): (HashSet<_>, HashSet<_>) =
            (kept.iter().map(key).collect(), held.iter().map(key).collect());
        assert!(a.is_disjoint(&b));
    }
    let half = |stream| holdout(&set, Holdout::PerMille(500), stream).1;
    assert_eq!(half(stream), half(stream));
    for other in [Stream::new(4, 9), Stream::new(3, 8), stream.at_step(1)] {
        assert_ne!(half(stream), half(other));
    }
}
