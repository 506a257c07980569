//! Model directories with missing, misshapen or duplicate tensors.

use crate::products;
use crate::run::World;

/// Rewrites the header of a safetensors file.
fn edit(bytes: &[u8], change: impl Fn(String) -> String) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let before = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let mut header = change(before.clone());
    assert_ne!(header, before, "the change must change something");
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..]].concat()
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let world = World::new();
    world.write("products.csv", products::csv(80));
    world.lode(&products::PREPARE).ok();
    let train =
        ["train", "shop.data", "--out", "run", "--model", "tiny", "--batch", "16", "--steps", "1", "-q"];
    world.lode(&train).ok();
    world.lode(&["export", "run", "--to", "hf", "--out", "model"]).ok();
    world.write("texts.txt", "an oak chair\n");
    let file = "model/model.safetensors";
    let (whole, weight) = (world.read(file), "embeddings.LayerNorm.weight");
    let encode = || world.lode(&["encode", "model", "texts.txt", "--out", "x.npy"]);
    encode().ok();
    std::fs::remove_file(world.path("x.npy")).unwrap();
    let listing = world.listing();

    let missing = |header: String| header.replacen(weight, "embeddings.LayerNorm.strange", 1);
    world.write(file, edit(&whole, missing));
    encode().fails(3, &["model.safetensors", weight]);

    let duplicate = |header: String| header.replacen("embeddings.LayerNorm.bias", weight, 1);
    world.write(file, edit(&whole, duplicate));
    let ran = encode();
    assert!(matches!(ran.code, 3 | 4), "{}", ran.stderr);
    assert!(ran.stderr.contains(weight), "{}", ran.stderr);

    let misshapen = |header: String| {
        let at = header.find(&format!("\"{weight}\"")).unwrap();
        let shape = at + header[at..].find("\"shape\":[").unwrap() + "\"shape\":[".len();
        format!("{}1,{}", &header[..shape], &header[shape..])
    };
    world.write(file, edit(&whole, misshapen));
    encode().fails(3, &["model.safetensors", weight]);

    world.write(file, &whole[..whole.len() - 40]);
    let ran = encode();
    assert!(matches!(ran.code, 3 | 4), "{}", ran.stderr);
    std::fs::remove_file(world.path(file)).unwrap();
    encode().fails(3, &["model"]);
    world.write(file, &whole);
    assert_eq!(world.listing(), listing);
}
