//! The rules. Each says what it wants and finds what breaks it.

use crate::lexer::code_only;
use crate::tree::File;
use crate::unsafe_blocks::uncounted;
use std::collections::BTreeMap;

/// What breaks a rule: a place and a few words.
pub(crate) type Findings = Vec<String>;

/// A rule over one file at a time.
pub(crate) struct Rule {
    pub(crate) wants: &'static str,
    pub(crate) find: fn(&File) -> Findings,
}

/// All rules. A new one is a line here and a test on a sample that breaks it in `main.rs`.
pub(crate) const RULES: &[Rule] = &[
    Rule { wants: "files of Rust have at most 500 lines", find: length },
    Rule { wants: "lines of Rust have at most 120 columns", find: columns },
    Rule { wants: "a file is named after what it does", find: names },
    Rule { wants: "nothing is left to be written", find: unwritten },
    Rule { wants: "unsafe code lives in engine", find: unsafe_outside },
    Rule { wants: "an unsafe block says above why it is sound", find: unsafe_unexplained },
    Rule { wants: "unsafe blocks are counted, so that a new one is seen", find: uncounted },
    Rule { wants: "every crate but engine forbids unsafe code", find: unforbidden },
    Rule { wants: "dependencies point down", find: dependencies },
    Rule { wants: "every operation is registered", find: unregistered },
    Rule { wants: "no path of a machine and no host of packages stands in the project", find: places },
    Rule { wants: "all packages come from crates.io", find: sources },
];

fn each_line(text: &str, breaks: impl Fn(&str) -> Option<String>) -> Findings {
    let numbered = text.lines().enumerate();
    numbered.filter_map(|(i, line)| Some(format!("{}: {}", i + 1, breaks(line)?))).collect()
}

pub(crate) fn length(file: &File) -> Findings {
    let lines = file.text.lines().count();
    if file.is_rust() && lines > 500 { vec![format!("{lines} lines")] } else { vec![] }
}

pub(crate) fn columns(file: &File) -> Findings {
    if !file.is_rust() {
        return vec![];
    }
    each_line(&file.text, |line| {
        let columns = line.chars().count();
        (columns > 120).then(|| format!("{columns} columns"))
    })
}

pub(crate) fn names(file: &File) -> Findings {
    let says_nothing = ["utils", "util", "helpers", "helper", "common", "misc"];
    let breaks = file.path.split(['/', '.']).any(|part| says_nothing.contains(&part));
    if breaks { vec!["a name that says nothing".into()] } else { vec![] }
}

pub(crate) fn unwritten(file: &File) -> Findings {
    if !file.is_rust() {
        return vec![];
    }
    let macros = ["todo!", "unimplemented!", "dbg!"];
    each_line(&code_only(&file.text), |line| {
        macros.iter().find(|m| line.contains(*m)).map(|m| (*m).to_owned())
    })
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

pub(crate) fn unsafe_outside(file: &File) -> Findings {
    if !file.is_rust() || file.room() == "engine" {
        return vec![];
    }
    each_line(&code_only(&file.text), |line| has_word(line, "unsafe").then(|| "unsafe".into()))
}

/// Looks upwards over attributes and comments, and over the lines of the statement that the block belongs to.
pub(crate) fn unsafe_unexplained(file: &File) -> Findings {
    if !file.is_rust() {
        return vec![];
    }
    let (code, lines) = (code_only(&file.text), file.text.lines().collect::<Vec<_>>());
    let code: Vec<&str> = code.lines().collect();
    let opens = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words
            .windows(2)
            .any(|w| w[0].ends_with("unsafe") && (w[1].starts_with('{') || w[1].starts_with("impl")))
    };
    let explained = |at: usize| {
        let above = lines[..at].iter().rev().map(|line| line.trim());
        let mut near = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
        near.any(|line| line.contains("SAFETY:"))
    };
    let broken = (0..code.len()).filter(|&at| opens(code[at]) && !explained(at));
    broken.map(|at| format!("{}: no SAFETY comment", at + 1)).collect()
}

pub(crate) fn unforbidden(file: &File) -> Findings {
    let parts: Vec<&str> = file.path.split('/').collect();
    let root = matches!(parts[..], [_, "src", "lib.rs" | "main.rs"]) && file.room() != "engine";
    let forbids = file.text.contains("#![forbid(unsafe_code)]");
    if root && !forbids { vec!["#![forbid(unsafe_code)] is missing".into()] } else { vec![] }
}

/// What each crate may stand on.
const BELOW: [(&str, &[&str]); 10] = [
    ("engine", &[]),
    ("autograd", &["engine"]),
    ("data", &["engine"]),
    ("samplers", &["engine", "data"]),
    ("models", &["engine", "autograd"]),
    ("train", &["engine", "autograd", "data", "samplers", "models"]),
    ("lode", &["engine", "autograd", "data", "samplers", "models", "train"]),
    ("cli", &["engine", "autograd", "data", "samplers", "models", "train", "lode"]),
    ("benches", &["engine", "autograd", "data", "samplers", "models"]),
    ("fuzz", &["engine", "autograd", "data", "samplers", "models", "train"]),
];

pub(crate) fn dependencies(file: &File) -> Findings {
    let Some(room) = file.path.strip_suffix("/Cargo.toml") else { return vec![] };
    let below: BTreeMap<&str, &[&str]> = BELOW.into_iter().collect();
    let Some(allowed) = below.get(room) else {
        return vec![format!("`{room}` has no place among the layers")];
    };
    let table: toml::Table = file.text.parse().expect("a manifest is TOML");
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let named = sections.iter().filter_map(|s| table.get(*s)?.as_table()).flat_map(|t| t.keys());
    let wrong = named.filter(|name| below.contains_key(name.as_str()) && !allowed.contains(&name.as_str()));
    wrong.map(|name| format!("`{room}` stands on `{name}`")).collect()
}

/// `ops/mod.rs` registers `<op>::ENTRY` for every module that it declares.
pub(crate) fn unregistered(file: &File) -> Findings {
    if file.path != "autograd/src/ops/mod.rs" {
        return vec![];
    }
    let code = code_only(&file.text);
    let modules = code.lines().filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';'));
    let missing = modules.filter(|op| !code.contains(&format!("    {op}::ENTRY")));
    missing.map(|op| format!("`{op}` is not in OPS")).collect()
}

/// Written in two halves, so that this file keeps the rule itself.
const PLACES: [(&str, &str); 9] = [
    ("/ro", "ot/"),
    ("/wo", "rk/"),
    ("/ho", "me/"),
    ("/Use", "rs/"),
    ("file", "://"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("static.", "crates.io"),
    ("index.", "crates.io"),
];

pub(crate) fn places(file: &File) -> Findings {
    let found = |line: &str| {
        let place = PLACES.iter().map(|(a, b)| format!("{a}{b}")).find(|place| line.contains(place))?;
        Some(format!("`{place}`"))
    };
    each_line(&file.text, found)
}

pub(crate) fn sources(file: &File) -> Findings {
    if file.path != "Cargo.lock" {
        return vec![];
    }
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    each_line(&file.text, |line| (line.starts_with("source = ") && line != registry).then(|| line.to_owned()))
}
