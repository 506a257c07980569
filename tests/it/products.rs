//! A shop of our own making: a thousand products in forty categories, the same on every machine.

use std::fmt::Write;

const MATERIALS: [&str; 8] = ["cotton", "steel", "oak", "leather", "wool", "glass", "bamboo", "ceramic"];
const ADJECTIVES: [&str; 10] =
    ["red", "small", "classic", "light", "heavy", "modern", "round", "folding", "large", "blue"];
const KINDS: [&str; 40] = [
    "shirts",
    "boots",
    "lamps",
    "chairs",
    "tables",
    "knives",
    "cups",
    "plates",
    "towels",
    "curtains",
    "carpets",
    "pillows",
    "blankets",
    "jackets",
    "gloves",
    "hats",
    "belts",
    "wallets",
    "bags",
    "umbrellas",
    "bottles",
    "pans",
    "spoons",
    "forks",
    "bowls",
    "vases",
    "mirrors",
    "clocks",
    "shelves",
    "desks",
    "drawers",
    "beds",
    "sofas",
    "stools",
    "brushes",
    "combs",
    "candles",
    "baskets",
    "ropes",
    "tents",
];

/// `title,category,sku` and `rows` lines. A title names its kind in other words than the category does.
pub(crate) fn csv(rows: usize) -> String {
    let mut text = String::from("title,category,sku\n");
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for sku in 0..rows {
        let kind = below(KINDS.len());
        let (adjective, material) = (ADJECTIVES[below(10)], MATERIALS[below(8)]);
        let singular = KINDS[kind].trim_end_matches('s');
        let maker = ["Nordwind", "Alba", "Kivi", "Terra", "Lumo", "Sava"][below(6)];
        let _ = writeln!(
            text,
            "\"{maker} {adjective} {material} {singular}, model {sku}\",{},s{sku:04}",
            KINDS[kind]
        );
    }
    text
}

/// The command that prepares it.
pub(crate) const PREPARE: [&str; 11] = [
    "prepare",
    "products.csv",
    "--text",
    "title",
    "--labels",
    "category",
    "--out",
    "shop.data",
    "--train-vocab",
    "400",
    "-q",
];
