//! Files whose size or shape is the attack, rather than a byte.

use crate::kinds::{Sandbox, kind};
use crate::{BEGUN, HEAP};
use engine::container::{Container, Scalar, Verify, Writer};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

const MIB: usize = 1 << 20;

/// Runs all of them; gives how many failed, which the hook for panics has told.
pub(crate) fn all() -> usize {
    let begun = Instant::now();
    let tests: [fn(); 8] = [
        brackets_within_brackets_do_not_fill_the_stack,
        brackets_beside_brackets_do_not_fill_the_memory,
        sizes_that_are_promised_are_not_believed,
        a_line_of_a_gigabyte_is_refused_and_not_kept,
        a_large_file_of_json_is_not_read_to_its_end,
        numbers_of_rows_that_a_data_set_swears_to_are_compared,
        rows_of_an_index_are_those_of_the_data_set,
        an_overlay_fits_what_it_lies_over,
    ];
    let failed = tests.into_iter().filter(|test| std::panic::catch_unwind(test).is_err()).count();
    println!("{:<16}{:>55.1} s {failed:>6} failed", "hostile sizes", begun.elapsed().as_secs_f64());
    failed
}

/// Reads these bytes as a part of a kind, and demands an error with these words that took no more memory than that.
#[track_caller]
fn refused(sandbox: &Sandbox, part: usize, bytes: &[u8], most: usize, words: &str) {
    let name = sandbox.kind.name;
    BEGUN.fetch_add(1, Relaxed);
    let held = HEAP.bytes_in_use();
    HEAP.forget_peak();
    let told = sandbox.read(part, bytes).expect_err(name).to_string();
    let peak = HEAP.bytes_in_use_peak() - held;
    assert!(told.contains(words), "{name}, part {part}: {told}");
    assert!(peak <= most, "{name}, part {part}: held {peak} bytes, {most} are allowed");
}

fn brackets_within_brackets_do_not_fill_the_stack() {
    let deep = "[".repeat(1_000_000);
    for name in ["safetensors", "config_json", "tokenizer", "jsonl", "csv", "beir", "lists", "config_toml"] {
        let sandbox = Sandbox::new(kind(name));
        for part in 0..sandbox.kind.parts.len() {
            // Brackets are as good a first line of a table as any.
            if sandbox.kind.parts[part].ends_with(".tsv") {
                continue;
            }
            let before = match name {
                "safetensors" => (deep.len() as u64).to_le_bytes().to_vec(),
                "config_toml" => b"[train]\nlr = ".to_vec(),
                _ => vec![],
            };
            refused(&sandbox, part, &[&before, deep.as_bytes()].concat(), 96 * MIB, "");
            for key in ["uid", "x", "type", "labels", "model", "added_tokens", "normalizer", "post_processor"]
            {
                let inside = format!("{{\"{key}\":{deep}");
                let header = (inside.len() as u64).to_le_bytes();
                let before = if name == "safetensors" { &header[..] } else { &[] };
                refused(&sandbox, part, &[before, inside.as_bytes()].concat(), 96 * MIB, "");
            }
        }
    }
}

fn brackets_beside_brackets_do_not_fill_the_memory() {
    let many = "[],".repeat(5 * MIB);
    for (name, part, key) in [("jsonl", 0, "uid"), ("jsonl", 0, "labels"), ("lists", 0, "negatives")] {
        let line = format!("{{\"{key}\":[{many}1]}}\n");
        refused(&Sandbox::new(kind(name)), part, line.as_bytes(), 80 * MIB, "id");
    }
    let commas = format!("{}\n", ",".repeat(15 * MIB));
    refused(&Sandbox::new(kind("csv")), 0, commas.as_bytes(), 80 * MIB, "more than 65536 fields");
    let separators = format!("id,title,kind,more\n1,a,{}z,b\n", ";".repeat(15 * MIB));
    refused(&Sandbox::new(kind("csv")), 0, separators.as_bytes(), 130 * MIB, "`z` is not in the label file");
}

fn sizes_that_are_promised_are_not_believed() {
    let weights = Sandbox::new(kind("safetensors"));
    let mut bytes = weights.whole(1).to_vec();
    bytes[..8].copy_from_slice(&(1u64 << 63).to_le_bytes());
    refused(&weights, 1, &bytes, MIB, "this is not a safetensors file");
    let config = Sandbox::new(kind("config_json"));
    for key in
        ["hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size", "max_position_embeddings"]
    {
        for value in ["1000000000000", "18446744073709551615"] {
            let text = String::from_utf8(config.whole(0).to_vec()).expect("JSON");
            let at = text.find(&format!("\"{key}\"")).expect("the key") + key.len() + 2;
            let end = at + text[at..].find(',').expect("another key");
            let text = format!("{}: {value}{}", &text[..at], &text[end..]);
            refused(&config, 0, text.as_bytes(), MIB, key);
        }
    }
    // What is allowed by itself and is not there.
    let text = String::from_utf8(config.whole(0).to_vec()).expect("JSON");
    let text = text.replace("\"vocab_size\": 14", "\"vocab_size\": 2000000");
    refused(&config, 0, text.as_bytes(), MIB, "has shape [14, 2]");
    let matrix = Sandbox::new(kind("xc"));
    refused(&matrix, 0, b"3 4294967295\n0:1\n\n\n", 4 * MIB, "4294967295");
    refused(&matrix, 0, b"18446744073709551615 4\n0:1\n4:1\n\n", 4 * MIB, "out of range");
}

fn a_line_of_a_gigabyte_is_refused_and_not_kept() {
    for (name, length) in
        [("jsonl", 1u64 << 30), ("csv", 1 << 25), ("xc", 1 << 25), ("beir", 1 << 25), ("lists", 1 << 25)]
    {
        let told = sparse(&Sandbox::new(kind(name)), 0, length, 40 * MIB);
        assert!(
            told.contains(&format!(":1: the line is {length} bytes long, 16777216 are allowed")),
            "{told}"
        );
    }
}

fn a_large_file_of_json_is_not_read_to_its_end() {
    for (name, part, most) in
        [("tokenizer", 0, 140), ("tokenizer", 3, 140), ("config_json", 0, 140), ("config_toml", 0, 3)]
    {
        let told = sparse(&Sandbox::new(kind(name)), part, 1 << 40, most * MIB);
        assert!(told.contains("larger than"), "{told}");
    }
}

/// Reads a part that is so many zeros, of which the disk has none.
fn sparse(sandbox: &Sandbox, part: usize, length: u64, most: usize) -> String {
    let path = sandbox.path(part);
    File::create(&path).and_then(|file| file.set_len(length)).expect("a sparse file");
    BEGUN.fetch_add(1, Relaxed);
    let held = HEAP.bytes_in_use();
    HEAP.forget_peak();
    let told = sandbox.read_as_it_is(part).expect_err("refused").to_string();
    let peak = HEAP.bytes_in_use_peak() - held;
    assert!(peak <= most, "{}: held {peak} bytes, {most} are allowed", sandbox.kind.name);
    told
}

fn numbers_of_rows_that_a_data_set_swears_to_are_compared() {
    let data = Sandbox::new(kind("dataset"));
    for (from, to) in [
        (r#""train":3,"#, r#""train":18446744073709551615,"#),
        (r#""labels":3,"#, r#""labels":9223372036854775807,"#),
        (r#""vocabulary":14,"#, r#""vocabulary":4294967296,"#),
    ] {
        // Starts have an entry more than there are rows: with 2⁶⁴ − 1 of them, that would be none.
        for starts in ["meta", "train.starts"] {
            let bytes = rewritten(&data, &["meta", starts], |name, file, writer| {
                let meta = std::str::from_utf8(file.bytes("meta")?).expect("JSON").to_owned();
                assert!(meta.contains(from), "{meta}");
                match name {
                    "meta" => writer.section("meta", meta.replace(from, to).as_bytes()),
                    name => writer.section::<u64>(name, &[]),
                }
            });
            refused(&data, 0, &bytes, 4 * MIB, "section");
        }
    }
}

fn rows_of_an_index_are_those_of_the_data_set() {
    let index = Sandbox::new(kind("index"));
    for rows in [0, 2, 4] {
        let bytes =
            rewritten(&index, &["labels"], |_, _, writer| writer.section("labels", &vec![0.5f32; rows * 4]));
        refused(&index, 0, &bytes, 4 * MIB, "made anew");
    }
}

fn an_overlay_fits_what_it_lies_over() {
    let overlay = Sandbox::new(kind("overlay"));
    for rows in [&[3u32][..], &[1, 0], &[1, 1]] {
        let bytes = rewritten(&overlay, &["removed"], |_, _, writer| writer.section("removed", rows));
        refused(&overlay, 0, &bytes, 4 * MIB, "its rows are not those of labels");
    }
    // Vectors of another width are those of another model: they are made anew.
    let bytes = rewritten(&overlay, &["vectors"], |_, _, writer| writer.section("vectors", &[0.5f32; 2]));
    overlay.read(0, &bytes).expect("embedded again");
}

/// The container of a sample with other sections in place of some.
fn rewritten(
    sandbox: &Sandbox,
    changed: &[&str],
    by: impl Fn(&str, &Container, &mut Writer) -> engine::Result<()>,
) -> Vec<u8> {
    let (from, to) = (sandbox.path(0), sandbox.path(0).with_extension("rewritten"));
    let kind = sandbox.kind.container.expect("a container");
    let copy = |from: &Path| -> engine::Result<()> {
        let file = Container::open(from, kind, Verify::Full)?;
        let mut writer = Writer::create(&to, kind)?;
        for section in file.sections() {
            let name = &*section.name;
            match section.scalar {
                _ if changed.contains(&name) => by(name, &file, &mut writer)?,
                Scalar::U8 => writer.section(name, file.slice::<u8>(name)?)?,
                Scalar::U16 => writer.section(name, file.slice::<u16>(name)?)?,
                Scalar::U32 => writer.section(name, file.slice::<u32>(name)?)?,
                Scalar::U64 => writer.section(name, file.slice::<u64>(name)?)?,
                Scalar::F32 => writer.section(name, file.slice::<f32>(name)?)?,
            }
        }
        writer.commit()
    };
    // A sandbox that was used holds what it was given last.
    let _ = sandbox.read(0, sandbox.whole(0));
    copy(&from).expect("copied");
    std::fs::read(&to).expect("read")
}
