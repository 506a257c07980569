//! `--precision` and `--index-precision` from the command line.

use crate::products;
use crate::run::World;

fn run(model: &str) -> World {
    let world = World::new();
    world.write("products.csv", products::csv(80));
    world.lode(&products::PREPARE).ok();
    let train =
        ["train", "shop.data", "--out", "run", "--model", model, "--batch", "16", "--steps", "1", "-q"];
    world.lode(&train).ok();
    world
}

#[test]
fn vectors_in_fewer_bits_point_where_those_of_f32_do() {
    let world = run("tiny");
    world.write("texts.txt", "Kivi small oak chair\n\nAlba red wool blanket");
    let encode = |precision: &str| -> Vec<f32> {
        world.lode(&["encode", "run", "texts.txt", "--out", "x.npy", "-q", "--precision", precision]).ok();
        world.read("x.npy")[128..].as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
    };
    let want = encode("f32");
    for precision in ["int8", "bf16"] {
        let got = encode(precision);
        assert!(got != want && got.len() == want.len(), "{precision}");
        for (got, want) in got.chunks(128).zip(want.chunks(128)) {
            let cosine: f32 = got.iter().zip(want).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.999, "{precision}: {cosine}");
        }
    }
    world
        .lode(&["encode", "run", "texts.txt", "--out", "x.npy", "--precision", "f16"])
        .fails(2, &["int8", "bf16"]);
}

#[test]
fn measures_and_answers_in_bytes_are_about_those_of_f32() {
    let world = run("tiny");
    let measure = |more: &[&str]| -> f64 {
        let words = ["evaluate", "run", "shop.data", "--metrics", "R@10", "--json", "--knn", "3"];
        world.lode(&[&words, more].concat()).ok().json()["R@10"].as_f64().unwrap()
    };
    let want = measure(&[]);
    let predict = ["predict", "run", "--text", "Kivi small oak chair", "--json", "--knn", "3"];
    for index in ["int8", "int8-rescored"] {
        let bits = ["--precision", "int8", "--index-precision", index];
        assert!((measure(&bits) - want).abs() < 0.1, "{index}");
        let first = world.lode(&[&predict[..], &bits].concat()).ok().stdout;
        assert!(world.path("run/index-int8.lode").is_file());
        // From the index that is kept now.
        assert_eq!(world.lode(&[&predict[..], &bits].concat()).ok().stdout, first);
    }
}

#[test]
fn a_bag_has_no_product_to_round() {
    let world = run("bag");
    world.lode(&["evaluate", "run", "shop.data", "--precision", "int8"]).fails(3, &["no matrix", "run"]);
    world.lode(&["evaluate", "run", "shop.data", "--index-precision", "int8"]).ok();
}
