//! The rules of the house, kept by a test: `cargo test -p lode --test tidy`.

mod lexer;
mod rules;
mod tree;
mod unsafe_blocks;

use rules::{Findings, RULES};
use tree::File;

#[test]
fn the_project_keeps_its_rules() {
    let files = tree::files();
    assert!(files.len() > 100, "only {} files were found: the walk is wrong", files.len());
    let mut broken = vec![];
    for rule in RULES {
        for file in &files {
            let findings = (rule.find)(file);
            broken.extend(findings.iter().map(|f| format!("{}:{f}\n    rule: {}", file.path, rule.wants)));
        }
    }
    assert!(broken.is_empty(), "{} places break the rules\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_folder_of_a_crate_is_walked() {
    let files = tree::files();
    let workspace = files.iter().find(|f| f.path == "Cargo.toml").unwrap();
    let table: toml::Table = workspace.text.parse().unwrap();
    for member in table["workspace"]["members"].as_array().unwrap() {
        let manifest = format!("{}/Cargo.toml", member.as_str().unwrap());
        assert!(files.iter().any(|f| f.path == manifest), "{manifest} was not found");
    }
}

/// `broken` breaks the rule in `times` places, `kept` in none.
#[track_caller]
fn check(find: fn(&File) -> Findings, broken: (&str, &str), times: usize, kept: (&str, &str)) {
    let found = find(&File::new(broken.0, broken.1));
    assert_eq!(found.len(), times, "{found:?}");
    let found = find(&File::new(kept.0, kept.1));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_long_file_is_found() {
    let (long, short) = ("x\n".repeat(501), "x\n".repeat(500));
    check(rules::length, ("a.rs", &long), 1, ("a.rs", &short));
    check(rules::length, ("a.rs", &long), 1, ("a.md", &long));
}

#[test]
fn a_wide_line_is_found_and_counted_in_characters() {
    let (wide, fits) = (format!("a\n{}\n", "ä".repeat(121)), "ä".repeat(120));
    check(rules::columns, ("a.rs", &wide), 1, ("a.rs", &fits));
}

#[test]
fn a_name_that_says_nothing_is_found() {
    check(rules::names, ("data/src/utils.rs", ""), 1, ("data/src/lines.rs", ""));
    check(rules::names, ("data/src/common/mod.rs", ""), 1, ("data/src/commons.rs", ""));
}

#[test]
fn what_is_left_to_be_written_is_found_and_a_word_about_it_is_not() {
    let broken = "fn f() {\n    todo!()\n}\nfn g() { dbg!(1); }\nfn h() { unimplemented!(); }\n";
    check(rules::unwritten, ("a.rs", broken), 3, ("a.rs", "// no todo!() here\nlet x = \"dbg!(x)\";\n"));
}

#[test]
fn unsafe_code_outside_engine_is_found() {
    let block = "fn f() { unsafe { g() } }\n";
    check(rules::unsafe_outside, ("data/src/a.rs", block), 1, ("engine/src/a.rs", block));
    check(
        rules::unsafe_outside,
        ("data/src/a.rs", block),
        1,
        ("data/src/lib.rs", "#![forbid(unsafe_code)] // unsafe\n"),
    );
}

#[test]
fn an_unsafe_block_without_its_reason_is_found() {
    let broken = "// SAFETY: far away.\n\nlet x =\n    unsafe { f() };\nunsafe impl Send for X {}\n";
    let kept = "// SAFETY: `x` is in bounds,\n// as asserted.\n#[cfg(unix)]\nlet y = unsafe { f() };\n\
                /// # Safety\nunsafe fn g() {}\n";
    check(rules::unsafe_unexplained, ("engine/src/a.rs", broken), 2, ("engine/src/a.rs", kept));
}

#[test]
fn an_unsafe_block_that_nobody_counted_is_found() {
    let one = "fn f() { unsafe { g() } }\n// unsafe { }\nlet x = \"unsafe { }\";\nunsafe fn h() {}\n";
    check(unsafe_blocks::uncounted, ("engine/src/a.rs", one), 1, ("engine/src/a.rs", "fn f() {}\n"));
    let (counted, blocks) = unsafe_blocks::COUNTED[0];
    let kept = "f(unsafe { g() });\n".repeat(blocks);
    check(unsafe_blocks::uncounted, (counted, "fn f() {}\n"), 1, (counted, &kept));
    check(
        unsafe_blocks::uncounted,
        (counted, &format!("{kept}unsafe impl Send for X {{}}\n")),
        1,
        (counted, &kept),
    );
}

#[test]
fn every_file_of_the_table_of_unsafe_blocks_is_there() {
    let files = tree::files();
    for (path, _) in unsafe_blocks::COUNTED {
        assert!(files.iter().any(|f| f.path == *path), "{path} has gone");
    }
}

#[test]
fn a_crate_that_does_not_forbid_unsafe_code_is_found() {
    let forbids = "//! Doc.\n#![forbid(unsafe_code)]\n";
    check(rules::unforbidden, ("data/src/lib.rs", "//! Doc.\n"), 1, ("data/src/lib.rs", forbids));
    check(rules::unforbidden, ("cli/src/main.rs", ""), 1, ("engine/src/lib.rs", ""));
}

#[test]
fn a_dependency_that_points_up_is_found() {
    let up = "[dependencies]\nsamplers.workspace = true\nserde = \"1\"\n[dev-dependencies]\ntrain.workspace = true\n";
    check(rules::dependencies, ("models/Cargo.toml", up), 2, ("cli/Cargo.toml", up));
    let anything = "[dependencies]\nengine.workspace = true\n";
    check(rules::dependencies, ("kitchen/Cargo.toml", anything), 1, ("data/Cargo.toml", anything));
}

#[test]
fn an_operation_that_is_not_registered_is_found() {
    let path = "autograd/src/ops/mod.rs";
    let all = "mod add;\nmod mul;\npub const OPS: &[Entry] = &[\n    add::ENTRY,\n    mul::ENTRY,\n];\n";
    check(rules::unregistered, (path, &all.replace("    mul::ENTRY,\n", "")), 1, (path, all));
}

#[test]
fn a_path_of_a_machine_is_found() {
    let broken = format!("see {}{}someone/x\n", "/ho", "me/");
    check(rules::places, ("README.md", &broken), 1, ("README.md", "see demo/finna-small and /tmp/x\n"));
}

#[test]
fn a_package_from_elsewhere_is_found() {
    let (broken, kept) = (
        "source = \"git+https://example.org/x\"\n",
        "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n",
    );
    check(rules::sources, ("Cargo.lock", broken), 1, ("Cargo.lock", kept));
}
