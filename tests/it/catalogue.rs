//! Many labels and few titles, of our own making: a step of a sampled loss then writes a small part of the label weights.

use crate::run::World;
use std::fmt::Write;

/// Titles that are trained on.
pub(crate) const TITLES: usize = 400;

/// `lode prepare`s so many labels of three words of their own each, and titles that name two of them, as `shop.data`.
pub(crate) fn prepare(world: &World, labels: usize) {
    let name = |label: usize| format!("r{} c{} k{}", label % 97, label / 97 % 89, label % 83);
    let title = |i: usize| {
        let (first, second) = (i * 7919 % labels, i * 104_729 % labels);
        let text = format!("{} and {}", name(first), name(second));
        format!("{{\"uid\":\"t{i}\",\"title\":\"{text}\",\"target_ind\":[{first},{second}]}}\n")
    };
    let mut all = String::new();
    for label in 0..labels {
        let _ = writeln!(all, "{{\"uid\":\"l{label}\",\"title\":\"{}\"}}", name(label));
    }
    world.write("shop/lbl.jsonl", all);
    world.write("shop/trn.jsonl", (0..TITLES).map(title).collect::<String>());
    world.write("shop/tst.jsonl", (TITLES..TITLES + 20).map(title).collect::<String>());
    world.lode(&["prepare", "shop", "--out", "shop.data", "--train-vocab", "400", "-q"]).ok();
}
